//! The fields of a head: which may stand how often, and what they say together.

use std::fmt::Write as _;

use super::head::trim;
use super::{Framing, Malformed, PSEUDONYM};
use crate::protocol::is_token;

/// The fields of one head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'h, 'b>(&'h [httparse::Header<'b>]);

/// The most options that Connection may name.
const MAX_OPTIONS: usize = 32;

impl<'h, 'b> Fields<'h, 'b> {
    /// # Errors
    /// [`Malformed::Disguised`].
    pub(super) fn new(fields: &'h [httparse::Header<'b>]) -> Result<Self, Malformed> {
        if fields.iter().any(|field| is_disguised(field.name)) {
            return Err(Malformed::Disguised);
        }
        Ok(Self(fields))
    }

    pub(super) fn iter(self) -> impl Iterator<Item = (&'b str, &'b [u8])> + use<'h, 'b> {
        self.0.iter().map(|field| (field.name, trim(field.value)))
    }

    fn all(self, name: &'static str) -> impl Iterator<Item = &'b [u8]> + use<'h, 'b> {
        self.iter()
            .filter(move |(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The value of a field that may stand once.
    pub(super) fn only(self, name: &'static str) -> Result<Option<&'b [u8]>, Malformed> {
        let mut values = self.all(name);
        let value = values.next();
        if values.next().is_some() {
            return Err(Malformed::Repeated { name });
        }
        Ok(value)
    }

    /// A field that holds a number: digits alone, and no more than 2^63 - 1.
    pub(super) fn number(self, name: &'static str) -> Result<Option<u64>, Malformed> {
        let Some(value) = self.only(name)? else {
            return Ok(None);
        };
        let digits = value.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(value)
            .ok()
            .filter(|_| digits)
            .and_then(|value| value.parse::<i64>().ok())
            .and_then(|value| u64::try_from(value).ok());
        number.map(Some).ok_or(Malformed::Value { name })
    }

    /// How the body is framed as far as the fields say (RFC 9112, section 6):
    /// [`Framing::None`] if they say nothing. `old` is an HTTP/1.0 message,
    /// which has no transfer codings.
    pub(super) fn framing(self, old: bool) -> Result<Framing, Malformed> {
        let length = self.number("Content-Length")?;
        let coding = self.only("Transfer-Encoding")?;
        match (length, coding) {
            (None, None) => Ok(Framing::None),
            (Some(length), None) => Ok(Framing::Length(length)),
            (Some(_), Some(_)) => Err(Malformed::TwoFramings),
            (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") && !old => {
                Ok(Framing::Chunked)
            }
            (None, Some(_)) => Err(Malformed::Coding),
        }
    }

    /// What Connection and Proxy-Connection say.
    pub(super) fn connection(self) -> Result<Options<'b>, Malformed> {
        let values = self.all("Connection").chain(self.all("Proxy-Connection"));
        let options: Vec<_> = values
            .flat_map(|value| value.split(|&byte| byte == b','))
            .map(trim)
            .filter(|option| !option.is_empty())
            .take(MAX_OPTIONS + 1)
            .collect();
        let sound = |option: &&[u8]| option.iter().all(|&byte| is_token(byte));
        if options.len() > MAX_OPTIONS || !options.iter().all(sound) {
            return Err(Malformed::Value { name: "Connection" });
        }
        Ok(Options(options))
    }

    /// Writes the fields that go on to the next hop: those that `goes_on` lets
    /// pass, without those for this connection and those that frame the message.
    pub(super) fn write_onward(
        self,
        out: &mut Vec<u8>,
        options: &Options<'_>,
        goes_on: impl Fn(&str) -> bool,
    ) {
        for (name, value) in self.iter() {
            if goes_on(name) && !is_for_one_hop(name) && !options.contains(name.as_bytes()) {
                write_field(out, name, value);
            }
        }
    }
}

/// The options of a connection.
#[derive(Debug)]
pub(super) struct Options<'b>(Vec<&'b [u8]>);

impl Options<'_> {
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.0
            .iter()
            .any(|option| option.eq_ignore_ascii_case(name))
    }
}

/// Writes `name: value` and CR LF.
pub(super) fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend(name.as_bytes());
    out.extend(b": ");
    out.extend(value);
    out.extend(b"\r\n");
}

/// Writes the one field that frames the body, if there is one.
pub(super) fn write_framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Length(length) => {
            let mut digits = String::new();
            let _infallible = write!(digits, "{length}");
            write_field(out, "Content-Length", digits.as_bytes());
        }
        Framing::Chunked => write_field(out, "Transfer-Encoding", b"chunked"),
    }
}

/// The fields that every head of ours ends with, and the empty line.
pub(super) fn finish(head: &mut Vec<u8>, via: bool, keep_alive: bool) {
    if via {
        write_field(head, "Via", format!("1.1 {PSEUDONYM}").as_bytes());
    }
    if !keep_alive {
        write_field(head, "Connection", b"close");
    }
    head.extend(b"\r\n");
}

/// Fields for one connection whether Connection names them or not, and the two
/// that frame a message, which are written anew. Trailer announces what
/// [`Body`](super::Body) drops.
pub(crate) fn is_for_one_hop(name: &str) -> bool {
    const NAMES: [&str; 12] = [
        "Connection",
        "Content-Length",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authentication-Info",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "HTTP2-Settings",
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Whether `name` is that of a field which decides where a message goes, ends
/// or whose it is, with `_` for `-`: some origins take the two for the same.
fn is_disguised(name: &str) -> bool {
    const NAMES: [&str; 4] = [
        "Content-Length",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Transfer-Encoding",
    ];
    let same = |known: &str| {
        known.len() == name.len()
            && known.bytes().zip(name.bytes()).all(|(known, given)| {
                known.eq_ignore_ascii_case(&given) || (known == b'-' && given == b'_')
            })
    };
    name.contains('_') && NAMES.into_iter().any(same)
}
