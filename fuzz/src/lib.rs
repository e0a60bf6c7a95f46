//! The oracles that the fuzz targets share.

use std::fmt::Debug;

use proxy::protocol::WireError;

pub mod origin;

/// What a parser says of whole messages.
pub type Parsed<T> = Result<Option<(T, usize)>, WireError>;

/// Checks that `parser` says of `bytes` what it says of every shorter prefix
/// that it has decided on, and that it uses no byte that is not there. Returns
/// what it says.
///
/// # Panics
/// If it does not.
pub fn settled<T: PartialEq + Debug>(
    parser: impl Fn(&[u8]) -> Parsed<T>,
    bytes: &[u8],
) -> Parsed<T> {
    let whole = parser(bytes);
    // All cuts of a short input, some of a long one.
    let stride = bytes.len() / 48 + 1;
    for cut in (0..bytes.len()).step_by(stride) {
        let part = parser(&bytes[..cut]);
        if let Ok(Some((_, used))) = &part {
            assert!(*used <= cut, "{used} of {cut} bytes used");
        }
        assert!(
            part == Ok(None) || part == whole,
            "{cut}: {part:?}, then {whole:?}"
        );
    }
    if let Ok(Some((_, used @ 1..))) = &whole {
        assert_eq!(&parser(&bytes[..*used]), &whole, "its own bytes suffice");
    }
    whole
}
