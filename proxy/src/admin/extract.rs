//! Requests as values; what cannot be read is a [`Problem`].

use std::borrow::Cow;

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::{Kind, Problem};
use crate::users::Tag;

/// The largest body, in bytes.
pub(super) const MAX_BODY: usize = 64 * 1024;

/// A body of JSON.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

/// The part of a URL behind the `?`.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

/// A part of a path.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

/// A text of at most 255 characters: a name is not longer.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Short(String);

/// What must still hold for a change to be made.
#[derive(Debug)]
pub(super) struct IfMatch(Vec<String>);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(error) => Err(match &error {
                JsonRejection::JsonDataError(_) => Kind::Meaningless,
                JsonRejection::MissingJsonContentType(_) => Kind::MediaType,
                JsonRejection::BytesRejection(_)
                    if error.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE =>
                {
                    Kind::TooLarge
                }
                _ => Kind::Malformed,
            }
            .with(error.body_text())),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        match query {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(error) => Err(Kind::Malformed.with(error.body_text())),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path =
            <axum::extract::Path<T> as FromRequestParts<S>>::from_request_parts(parts, state);
        match path.await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(error) => Err(Kind::Malformed.with(error.body_text())),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let found = <Self as OptionalFromRequestParts<S>>::from_request_parts(parts, state);
        let required = || {
            Kind::NoPrecondition.with(
                "send If-Match with the ETag of what is to be changed, or * for whatever it is",
            )
        };
        found.await?.ok_or_else(required)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        tags(&parts.headers).map(|tags| tags.map(Self))
    }
}

impl Short {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl TryFrom<String> for Short {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.chars().count() > crate::users::MAX_NAME_LEN {
            return Err("longer than any name");
        }
        Ok(Self(text))
    }
}

impl IfMatch {
    /// The tag that must still be that of the settings; `None`: any will do.
    ///
    /// # Errors
    /// [`Kind::Stale`]: none of those given can be, or there are several.
    pub(super) fn expected(&self, current: &Tag) -> Result<Option<Tag>, Problem> {
        if self.0.iter().any(|tag| tag == "*") {
            return Ok(None);
        }
        if self.0.iter().any(|tag| tag == current.as_str()) {
            return Ok(Some(current.clone()));
        }
        Err(Kind::Stale.with("its ETag is not one of those in If-Match"))
    }
}

/// The entity tags in If-Match (RFC 9110, section 13.1.1).
fn tags(headers: &HeaderMap) -> Result<Option<Vec<String>>, Problem> {
    let malformed = || Kind::Malformed.with("If-Match is neither * nor a list of quoted tags");
    let mut found: Option<Vec<String>> = None;
    for field in headers.get_all(header::IF_MATCH) {
        let text = field.to_str().map_err(|_| malformed())?;
        for tag in text.split(',').map(str::trim) {
            let tag = match tag {
                "*" => tag,
                tag => tag
                    .strip_prefix('"')
                    .and_then(|tag| tag.strip_suffix('"'))
                    .filter(|tag| *tag != "*" && !tag.contains('"'))
                    .ok_or_else(malformed)?,
            };
            found.get_or_insert_default().push(tag.to_owned());
        }
    }
    Ok(found)
}

/// The field ETag for a tag.
pub(super) fn etag(tag: &Tag) -> [(header::HeaderName, String); 1] {
    [(header::ETAG, format!("\"{}\"", tag.as_str()))]
}

/// A name as one segment of a path.
pub(super) fn segment(name: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if name.bytes().all(plain) {
        return name.into();
    }
    name.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect::<String>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_quoted_or_a_star() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, text.parse().unwrap());
            tags(&headers)
        };
        assert_eq!(tags(&HeaderMap::new()).unwrap(), None);
        assert_eq!(read("*").unwrap(), Some(vec!["*".to_owned()]));
        let two = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(read("\"a\", \"b\"").unwrap(), Some(two));
        for none in ["", "a", "\"a", "W/\"a\"", "\"*\"", "\"a\"b\""] {
            assert!(read(none).is_err(), "{none}");
        }
    }

    #[test]
    fn names_fit_into_a_path() {
        assert_eq!(segment("ada"), "ada");
        assert_eq!(segment("a/b?ü"), "a%2Fb%3F%C3%BC");
    }
}
