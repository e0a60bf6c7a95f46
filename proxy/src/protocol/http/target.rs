//! Where a request goes: authority-form and absolute-form (RFC 9112, section 3.2).

use crate::protocol::{Host, Target, parse_port};

/// `http://host[:port]` and what follows it: a path and a query, or nothing.
pub(super) fn absolute(url: &[u8]) -> Option<(Target, &[u8])> {
    const SCHEME: &[u8] = b"http://";
    let (scheme, rest) = url.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
    let (host, path) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
    let sound = path
        .iter()
        .all(|&byte| byte.is_ascii_graphic() && byte != b'#');
    let target = authority(host, Some(80))?;
    sound.then_some((target, path))
}

/// `host[:port]`; the port may be missing or empty if there is a `default`.
/// Names are letters, digits, `-`, `.` and `_`: user names and percent signs
/// are refused.
pub(super) fn authority(text: &[u8], default: Option<u16>) -> Option<Target> {
    let bracketed = text.first() == Some(&b'[');
    let end = if bracketed {
        text.iter().position(|&byte| byte == b']')? + 1
    } else {
        let colon = text.iter().position(|&byte| byte == b':');
        colon.unwrap_or(text.len())
    };
    let (host, port) = text.split_at_checked(end)?;
    let named = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !bracketed && !host.iter().all(named) {
        return None;
    }
    let port = match port {
        b"" | b":" => default?,
        [b':', digits @ ..] => parse_port(digits).ok()?,
        _ => return None,
    };
    let host = Host::parse(host).ok()?;
    Some(Target { host, port })
}

/// The value of Host for a target of the `http` scheme.
pub(super) fn host_field(target: &Target) -> String {
    let mut host = target.to_string();
    if target.port == 80 {
        host.truncate(host.len() - ":80".len());
    }
    host
}
