//! What quotas leave to a request, and the answers that say so.

use std::net::IpAddr;

use flow::Timestamp;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Response};
use hyper::body::Bytes;

use super::message::{Encoding, ResponseText};
use super::quota::{self, Left};
use super::{Fault, Service};
use crate::users::Network;

/// What quotas have left to a request.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    left: Vec<Left>,
    /// In so many seconds the quota that refuses begins anew.
    retry_after: Option<u64>,
}

impl Service {
    /// Counts a request with the quota of its address.
    ///
    /// # Errors
    /// [`Fault::Quota`]
    pub(super) fn ask_for_address(&self, source: IpAddr, limits: &mut Limits) -> Result<(), Fault> {
        let asked = self.addresses.as_ref();
        let asked = asked.map(|all| all.lock().ask(Network::of(source), self.now()));
        asked.map_or(Ok(()), |asked| limits.take(asked, "address"))
    }

    /// Counts a request with the quota of its user's account.
    ///
    /// # Errors
    /// [`Fault::Quota`]
    pub(super) fn ask_for_user(&self, account: i64, limits: &mut Limits) -> Result<(), Fault> {
        let asked = self.users.as_ref();
        let asked = asked.map(|all| all.lock().ask(account, self.now()));
        asked.map_or(Ok(()), |asked| limits.take(asked, "user"))
    }

    /// Counts a request of HTTP with both quotas.
    ///
    /// # Errors
    /// Whose quota is used up.
    pub(crate) fn ask(
        &self,
        source: IpAddr,
        account: i64,
        limits: &mut Limits,
    ) -> Result<(), Fault> {
        self.ask_for_address(source, limits)?;
        self.ask_for_user(account, limits)
    }

    /// Bytes have moved for a client and its user's account.
    pub(crate) fn moved(&self, source: IpAddr, account: i64, bytes: u64) {
        let now = self.now();
        if let Some(quotas) = &self.addresses {
            quotas.lock().moved(Network::of(source), bytes, now);
        }
        if let Some(quotas) = &self.users {
            quotas.lock().moved(account, bytes, now);
        }
    }

    fn now(&self) -> Timestamp {
        let nanos = self.since.elapsed().as_nanos();
        Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl Limits {
    fn take(&mut self, (may, left): (bool, Left), whose: &'static str) -> Result<(), Fault> {
        self.left.push(left);
        if may {
            return Ok(());
        }
        self.retry_after = Some(left.reset_seconds);
        Err(Fault::Quota(whose))
    }

    /// The answer as its target has given it.
    pub(super) fn text(&self, response: Response<Bytes>, asked: Option<Encoding>) -> ResponseText {
        let (mut parts, bytes) = response.into_parts();
        self.write(&mut parts.headers);
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

    /// What the service itself says: fields with refusals alone.
    pub(super) fn fault(&self, fault: &Fault) -> ResponseText {
        let mut headers = HeaderMap::new();
        if self.retry_after.is_some() {
            self.write(&mut headers);
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

    /// The fields of an answer; none without quotas.
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        if self.left.is_empty() {
            return Vec::new();
        }
        let (policy, limit) = quota::fields(&self.left);
        let mut fields = vec![("RateLimit-Policy", policy), ("RateLimit", limit)];
        let seconds = self.retry_after.map(|seconds| seconds.to_string());
        fields.extend(seconds.map(|seconds| ("Retry-After", seconds)));
        fields
    }

    fn write(&self, headers: &mut HeaderMap) {
        for (name, value) in self.fields() {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                headers.append(name, value);
            }
        }
    }
}
