//! Answers as text: what the target says, or the service itself, and what quotas have left.

use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Response};
use hyper::body::Bytes;

use super::Fault;
use super::message::{Encoding, ResponseText};
use super::quota::{self, Left};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What quotas have left to a request.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) left: Vec<Left>,
}

impl Limits {
    /// The answer as its target has given it.
    pub(super) fn text(&self, response: Response<Bytes>, asked: Option<Encoding>) -> ResponseText {
        let (mut parts, bytes) = response.into_parts();
        self.write(&self.left, &mut parts.headers);
        let (body, body_encoding) = Encoding::text(asked, &bytes);
        let mut text = ResponseText {
            status_code: parts.status.as_u16(),
            body,
            body_encoding,
            ..ResponseText::default()
        };
        let lines = parts.headers.iter();
        text.set_headers(lines.map(|(name, value)| (name.as_str(), value.as_bytes())));
        text
    }

    /// What the service itself says.
    pub(super) fn fault(&self, fault: &Fault) -> ResponseText {
        let mut headers = HeaderMap::new();
        if let Fault::Quota(_, left) = fault {
            let known = self.left.iter().copied();
            let all: Vec<_> = known.chain([*left]).collect();
            self.write(&all, &mut headers);
            headers.insert(RETRY_AFTER, left.reset_seconds.into());
        }
        let mut text = ResponseText {
            status_code: fault.status(),
            error: Some(fault.to_string()),
            ..ResponseText::default()
        };
        let lines = headers.iter();
        text.set_headers(lines.map(|(name, value)| (name.as_str(), value.as_bytes())));
        text
    }

    fn write(&self, left: &[Left], headers: &mut HeaderMap) {
        if left.is_empty() {
            return;
        }
        let (policy, limit) = quota::fields(left);
        let fields = [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, limit)];
        for (name, value) in fields {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.append(name, value);
            }
        }
    }
}
