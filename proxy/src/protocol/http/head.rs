//! Where a head ends, and what may stand in its lines.

use super::{MAX_FIELDS, MAX_HEAD, Malformed};

/// The length of the head at the front, its empty line included; `None` if it
/// is not all here. `start_line` judges the first line, its CR LF included, as
/// soon as that is here.
///
/// Lines are judged in order and whole, so that the verdict does not depend on
/// how the bytes were split.
pub(super) fn len(
    bytes: &[u8],
    start_line: impl Fn(&[u8]) -> Result<(), Malformed>,
) -> Result<Option<usize>, Malformed> {
    let window = bytes.get(..MAX_HEAD).unwrap_or(bytes);
    let mut used = 0;
    for (number, line) in window.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let Some(ended) = line.strip_suffix(b"\n") else {
            break;
        };
        let content = ended.strip_suffix(b"\r").ok_or(Malformed::LineEnd)?;
        used += line.len();
        if content.is_empty() {
            return match number {
                0 => Err(Malformed::StartLine),
                _ => Ok(Some(used)),
            };
        }
        check_bytes(content)?;
        match number {
            0 => start_line(line)?,
            1..=MAX_FIELDS => {}
            _ => return Err(Malformed::TooManyFields),
        }
    }
    if window.len() < MAX_HEAD {
        Ok(None)
    } else {
        Err(Malformed::TooLong)
    }
}

fn check_bytes(line: &[u8]) -> Result<(), Malformed> {
    if line.contains(&b'\r') {
        return Err(Malformed::LineEnd);
    }
    if line.iter().any(|&byte| is_control(byte)) {
        return Err(Malformed::Control);
    }
    if line.first().is_some_and(|&byte| is_space(byte)) {
        return Err(Malformed::Folded);
    }
    Ok(())
}

/// A control character other than the tab, which is white space here.
const fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

/// SP or HTAB: OWS of RFC 9110, section 5.6.3.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Without the white space around it.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_space(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_space(*last)
    {
        text = rest;
    }
    text
}

/// What `httparse` says about a start line, in our words.
pub(super) fn start_line_error(error: httparse::Error, named_version: bool) -> Malformed {
    match error {
        httparse::Error::Version if named_version => Malformed::Version,
        _ => Malformed::StartLine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any_line(_: &[u8]) -> Result<(), Malformed> {
        Ok(())
    }

    fn of(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        len(bytes, any_line)
    }

    #[test]
    fn ends_at_the_empty_line() {
        assert_eq!(of(b""), Ok(None));
        assert_eq!(of(b"a\r\nb\r\n"), Ok(None));
        assert_eq!(of(b"a\r\nb\r\n\r"), Ok(None));
        assert_eq!(of(b"a\r\nb\r\n\r\nbody\n\0"), Ok(Some(8)));
        assert_eq!(of(b"a\r\n\r\n"), Ok(Some(5)));
        assert_eq!(of(b"\r\n"), Err(Malformed::StartLine));
    }

    #[test]
    fn lines_are_strict() {
        assert_eq!(of(b"a\n"), Err(Malformed::LineEnd));
        assert_eq!(of(b"a\r\nb\n"), Err(Malformed::LineEnd));
        assert_eq!(of(b"a\r\n\n"), Err(Malformed::LineEnd));
        assert_eq!(of(b"a\rb\r\n"), Err(Malformed::LineEnd));
        assert_eq!(of(b"a\r\r\n"), Err(Malformed::LineEnd));
        for control in (0..0x20).chain([0x7f]).filter(|c| !b"\t\r\n".contains(c)) {
            let line = [b'a', control, b'\r', b'\n'];
            assert_eq!(of(&line), Err(Malformed::Control), "{control:#x}");
        }
        assert_eq!(of(b" a\r\n"), Err(Malformed::Folded));
        assert_eq!(of(b"a\r\n\tb\r\n"), Err(Malformed::Folded));
        assert_eq!(of(b"a\r\n \r\n"), Err(Malformed::Folded));
        assert_eq!(of(b"a\r\nb: \t \xff\r\n\r\n"), Ok(Some(13)));
    }

    #[test]
    fn heads_are_bounded() {
        let mut head = b"a\r\nb: ".to_vec();
        head.resize(MAX_HEAD - 4, b'c');
        head.extend(b"\r\n\r\nbody");
        assert_eq!(of(&head), Ok(Some(MAX_HEAD)));
        assert_eq!(of(&head[..MAX_HEAD - 1]), Ok(None));
        head.insert(6, b'c');
        assert_eq!(of(&head), Err(Malformed::TooLong));
        assert_eq!(of(&head[..MAX_HEAD]), Err(Malformed::TooLong));
        let fields = |count| [b"a\r\n".to_vec(), b"b:\r\n".repeat(count)].concat();
        assert_eq!(of(&fields(MAX_FIELDS)), Ok(None));
        assert_eq!(of(&fields(MAX_FIELDS + 1)), Err(Malformed::TooManyFields));
    }

    #[test]
    fn trims_tabs_and_spaces_only() {
        assert_eq!(trim(b" \ta b\t "), b"a b");
        assert_eq!(trim(b" \t"), b"");
        assert_eq!(trim(b"\x0ba"), b"\x0ba");
    }
}
