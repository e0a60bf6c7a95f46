//! What the frames of seed 003's protocol say: JSON objects.
//!
//! ```text
//! request   {"url": str, "headers": {name: str or [str, ..]}, "post_data": str, ..}
//! response  {"status_code": int, "headers": {name: str}, "body": str, ..}
//! ```
//!
//! The seed has no more than this: GET, or POST if there are data, and text. What
//! else may be there is ours, and nobody who does not ask for it has to know it:
//!
//! | key of a request | meaning |
//! |---|---|
//! | `method` | any method but CONNECT |
//! | `post_data_encoding` | `base64` or `latin-1`: what the bytes of `post_data` are written in; else UTF-8 |
//! | `body_encoding` | `base64`: that the bytes of the answer are to be written so |
//! | `user`, `password` | the login; a header `Proxy-Authorization` does as well |
//!
//! | key of a response | meaning |
//! |---|---|
//! | `body_encoding` | there if the body is not UTF-8: `base64` if asked for, else `latin-1`, a character for each byte |
//! | `header_list` | there if a name is repeated: each line as `[name, value]`; in `headers` they are one, joined by commas |
//! | `request_id` | what the log and the target know the request by |
//! | `error` | there if the service itself answers: why |

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A request, as far as its JSON has been understood.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RequestText {
    /// Where to.
    pub url: Option<String>,
    /// Fields for the target: a text each, or a list of them.
    pub headers: Map<String, Value>,
    /// The body.
    pub post_data: Option<String>,
    /// The method, if it does not follow from the body.
    pub method: Option<String>,
    /// How `post_data` is written.
    pub post_data_encoding: Option<Encoding>,
    /// How the answer's body is to be written if it is not text.
    pub body_encoding: Option<Encoding>,
    /// Who asks.
    pub user: Option<String>,
    /// Their password.
    pub password: Option<String>,
}

/// How bytes are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Encoding {
    /// RFC 4648, with padding.
    #[serde(rename = "base64")]
    Base64,
    /// A character for each byte, U+0000 to U+00FF.
    #[serde(rename = "latin-1")]
    Latin1,
}

/// An answer, as its JSON has it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct ResponseText {
    /// The status of HTTP.
    pub status_code: u16,
    /// Fields: lines of one name are joined.
    pub headers: Map<String, Value>,
    /// The body.
    pub body: String,
    /// How it is written; `None`: as the text that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_encoding: Option<Encoding>,
    /// Every line, if some name stands more than once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_list: Option<Vec<(String, String)>>,
    /// What the log knows the request by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Why the service itself answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A text that is not written as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Not base64 with padding.
    #[error("is not base64")]
    Base64,
    /// A character beyond U+00FF.
    #[error("is not latin-1")]
    Latin1,
}

impl Encoding {
    /// The bytes that `text` stands for; without an encoding, its own.
    ///
    /// # Errors
    /// [`TextError`]
    pub fn bytes(encoding: Option<Self>, text: String) -> Result<Vec<u8>, TextError> {
        match encoding {
            None => Ok(text.into_bytes()),
            Some(Self::Base64) => STANDARD.decode(text).map_err(|_| TextError::Base64),
            Some(Self::Latin1) => text
                .chars()
                .map(|c| u8::try_from(u32::from(c)).map_err(|_| TextError::Latin1))
                .collect(),
        }
    }

    /// `bytes` as text: as they are where they are UTF-8 and nobody `asked` for
    /// something else.
    #[must_use]
    pub fn text(asked: Option<Self>, bytes: &[u8]) -> (String, Option<Self>) {
        match (asked, std::str::from_utf8(bytes)) {
            (Some(Self::Base64), _) => (STANDARD.encode(bytes), asked),
            (None, Ok(text)) => (text.to_owned(), None),
            (None | Some(Self::Latin1), _) => (latin1(bytes), Some(Self::Latin1)),
        }
    }
}

/// A character for each byte.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

impl ResponseText {
    /// Writes the fields: each line as text.
    pub(crate) fn set_headers<'a>(&mut self, lines: impl Iterator<Item = (&'a str, &'a [u8])>) {
        let lines: Vec<_> = lines
            .map(|(name, value)| (name.to_owned(), latin1(value)))
            .collect();
        let mut repeated = false;
        for (name, value) in &lines {
            match self.headers.get_mut(name) {
                Some(Value::String(known)) => {
                    repeated = true;
                    known.push_str(", ");
                    known.push_str(value);
                }
                _ => {
                    self.headers.insert(name.clone(), value.as_str().into());
                }
            }
        }
        self.header_list = repeated.then_some(lines);
    }

    /// Every line of the fields.
    #[must_use]
    pub fn header_lines(&self) -> Vec<(String, String)> {
        self.header_list.clone().unwrap_or_else(|| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let lines = self.headers.iter();
            lines
                .map(|(name, value)| (name.clone(), text(value)))
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn repeated_headers_are_kept() {
        let mut response = ResponseText::default();
        let lines = [
            ("set-cookie", &b"a=1"[..]),
            ("x", b"\xe9"),
            ("set-cookie", b"b=2"),
        ];
        response.set_headers(lines.into_iter());
        assert_eq!(response.headers["set-cookie"], "a=1, b=2");
        assert_eq!(response.headers["x"], "\u{e9}");
        let lines = response.header_lines();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2], ("set-cookie".into(), "b=2".into()));
    }

    #[test]
    fn an_answer_that_needs_nothing_of_ours_has_nothing_of_ours() {
        let plain = ResponseText {
            status_code: 503,
            ..ResponseText::default()
        };
        let text = serde_json::to_string(&plain).unwrap();
        assert_eq!(text, r#"{"status_code":503,"headers":{},"body":""}"#);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost(bytes in proptest::collection::vec(any::<u8>(), 0..64), base64: bool) {
            let asked = base64.then_some(Encoding::Base64);
            let (text, encoding) = Encoding::text(asked, &bytes);
            let json = serde_json::to_string(&text).unwrap();
            let heard = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(Encoding::bytes(encoding, heard).unwrap(), bytes);
        }
    }
}
