//! What every incremental parser promises.

use std::fmt::Debug;

use super::WireError;

/// Checks that what `parser` says about a prefix of `bytes` it says about every
/// longer one, and that it uses no byte that is not there.
pub(super) fn settled<T: PartialEq + Debug>(
    parser: impl Fn(&[u8]) -> Result<Option<(T, usize)>, WireError>,
    bytes: &[u8],
) {
    let whole = parser(bytes);
    let mut decided = false;
    for cut in 0..=bytes.len() {
        let part = parser(&bytes[..cut]);
        assert!(
            !(decided && part == Ok(None)),
            "undecided again after {cut} bytes"
        );
        if let Ok(Some((_, used))) = &part {
            assert!(*used <= cut, "{used} bytes used of {cut}");
        }
        if part != Ok(None) {
            assert_eq!(part, whole, "after {cut} bytes");
            decided = true;
        }
    }
}
