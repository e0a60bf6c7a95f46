//! What is wrong with a request, as a problem document (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::users::{PasswordError, StoreError, UserError};

/// A problem document.
#[derive(Clone, Debug, Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// What kind it is: `urn:weirgate:problem:` and one of a closed set of words.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The status code.
    pub status: u16,
    /// What is wrong with this request.
    pub detail: String,
}

/// The kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Malformed,
    Unauthorised,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Exists,
    Unavailable,
    Stale,
    TooLarge,
    MediaType,
    Misdirected,
    Upgrade,
    Meaningless,
    NoPrecondition,
    Database,
}

impl Kind {
    const fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Unauthorised => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Exists | Self::Unavailable => StatusCode::CONFLICT,
            Self::Stale => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Upgrade => StatusCode::UPGRADE_REQUIRED,
            Self::Meaningless => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NoPrecondition => StatusCode::PRECONDITION_REQUIRED,
            Self::Database => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Malformed => ("malformed", "The request cannot be read"),
            Self::Unauthorised => ("unauthorised", "A token is required"),
            Self::Forbidden => ("forbidden", "The request must not come from there"),
            Self::NotFound => ("not-found", "There is no such thing"),
            Self::MethodNotAllowed => ("method-not-allowed", "That cannot be done with it"),
            Self::Exists => ("exists", "The name is taken"),
            Self::Unavailable => ("unavailable", "The server cannot do that as it is run"),
            Self::Stale => ("stale", "It has been changed meanwhile"),
            Self::TooLarge => ("too-large", "The request is too large"),
            Self::MediaType => ("media-type", "The body is of another type"),
            Self::Misdirected => ("misdirected", "The server does not go by that name"),
            Self::Upgrade => ("upgrade", "It is a WebSocket"),
            Self::Meaningless => ("meaningless", "The request means nothing"),
            Self::NoPrecondition => ("no-precondition", "If-Match is required"),
            Self::Database => ("database", "The database does not answer"),
        }
    }

    /// The problem with `detail`.
    pub(crate) fn with(self, detail: impl Into<String>) -> Problem {
        let (word, title) = self.words();
        Problem {
            kind: format!("urn:weirgate:problem:{word}"),
            title: title.to_owned(),
            status: self.status().as_u16(),
            detail: detail.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        let mut response = (status, axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<UserError> for Problem {
    fn from(error: UserError) -> Self {
        let kind = match &error {
            UserError::Store(StoreError::Exists { .. }) => Kind::Exists,
            UserError::Store(StoreError::Unknown { .. }) => Kind::NotFound,
            UserError::Store(StoreError::Stale { .. }) => Kind::Stale,
            UserError::Password(PasswordError::Unfit) => Kind::Meaningless,
            UserError::Store(_) | UserError::Password(_) => {
                let error = crate::causes::chain(&error);
                tracing::error!(error, "the admin API cannot do what it was asked");
                return Kind::Database.with("the log says why");
            }
            // A name, a password or a rule that is none.
            _ => Kind::Meaningless,
        };
        kind.with(error.to_string())
    }
}

/// There is no such route.
pub(super) async fn not_found() -> Problem {
    Kind::NotFound.with("there is no such route")
}

/// There is, but not with this method.
pub(super) async fn method_not_allowed() -> Problem {
    Kind::MethodNotAllowed.with("the field Allow says which methods there are")
}
