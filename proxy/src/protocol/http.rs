//! HTTP/1.1 as a proxy speaks it (RFC 9110, RFC 9112, RFC 7617).
//!
//! ```text
//! CONNECT host:port HTTP/1.1             -> HTTP/1.1 200 Connection established, then raw bytes
//! GET http://host[:port]/path HTTP/1.1   -> the origin's answer
//! Proxy-Authorization: Basic base64(name ":" password)
//! ```
//!
//! | codec | of |
//! |---|---|
//! | [`mod@request`] | a head from the client, and the head that the origin gets instead |
//! | [`body`] | where a body ends, and which of its bytes go on |
//! | [`mod@response`] | a head from the origin, and the head that the client gets instead |
//! | [`answer`] | what the proxy itself says |
//!
//! No message may mean two things to two readers, so nothing is repaired. A
//! head is refused for a line not ended by CR LF, a control character, a folded
//! line, a space before a colon, and whatever the tokens of RFC 9112 do not
//! allow; its body for Content-Length beside Transfer-Encoding, for either
//! more than once, for a length that is not digits alone, for a coding that is
//! not "chunked" alone, and for names that turn into one of these where `_`
//! counts as `-`. What passes is written anew: request line and Host from the
//! target, one framing field, no field that is meant for us or for this
//! connection only (RFC 9110, section 7.6.1).
//!
//! Upgrade is such a field: it does not reach the origin, so that nothing but
//! CONNECT makes a tunnel.

pub mod answer;
pub mod body;
pub mod request;
pub mod response;

pub(crate) mod basic;
mod fields;
mod forward;
mod head;
mod target;

pub use answer::Status;
#[cfg(feature = "https-service")]
pub(crate) use fields::is_for_one_hop;

pub use body::{Body, Framing, Step};
pub use forward::Forward;
pub use request::{Kind, Request, request};
pub use response::{Asked, Response, response};

/// The longest head: start line, fields and the empty line.
pub const MAX_HEAD: usize = 64 * 1024;

/// The most fields that a head may have.
pub const MAX_FIELDS: usize = 128;

/// The most interim (1xx) responses that anybody should read before a final one.
pub const MAX_INTERIM: usize = 16;

/// The pseudonym in Via (RFC 9110, section 7.6.3).
pub const PSEUDONYM: &str = "weirgate";

/// Why bytes are not an HTTP message that a proxy can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than [`MAX_HEAD`].
    #[error("the head is longer than {MAX_HEAD} bytes")]
    TooLong,
    /// More than [`MAX_FIELDS`].
    #[error("the head has more than {MAX_FIELDS} fields")]
    TooManyFields,
    /// A line not ended by CR LF, or a CR elsewhere.
    #[error("a line does not end in CR LF")]
    LineEnd,
    /// A control character.
    #[error("a control character in the head")]
    Control,
    /// A line that continues the one before it.
    #[error("a folded line")]
    Folded,
    /// Not `method target HTTP/1.1`, or not `HTTP/1.1 status reason`.
    #[error("no start line")]
    StartLine,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    #[error("neither HTTP/1.1 nor HTTP/1.0")]
    Version,
    /// A line that is not `name: value`.
    #[error("a line is not \"name: value\"")]
    Field,
    /// A field that may stand once stands more often.
    #[error("{name} stands more than once")]
    Repeated {
        /// Its name.
        name: &'static str,
    },
    /// A field whose value is impossible.
    #[error("{name} has an impossible value")]
    Value {
        /// Its name.
        name: &'static str,
    },
    /// A request without Host.
    #[error("no Host")]
    NoHost,
    /// Neither `host:port` after CONNECT nor an `http://` URL after another method.
    #[error("the target is neither host:port for CONNECT nor an http:// URL")]
    Target,
    /// Content-Length together with Transfer-Encoding.
    #[error("both Content-Length and Transfer-Encoding")]
    TwoFramings,
    /// A transfer coding other than chunked.
    #[error("a transfer coding other than chunked")]
    Coding,
    /// A field that some would take for another, such as `Content_Length`.
    #[error("a field with _ in its name looks like one that frames or authenticates")]
    Disguised,
    /// A CONNECT request with a body.
    #[error("CONNECT with a body")]
    ConnectBody,
    /// A request that may not be forwarded once more.
    #[error("Max-Forwards is 0")]
    MaxForwards,
    /// A chunk that is not `size CR LF data CR LF`.
    #[error("an impossible chunk")]
    Chunk,
    /// Too many bytes in chunk extensions and trailers.
    #[error(
        "chunk extensions and trailers of more than {} bytes",
        body::MAX_SKIPPED
    )]
    Skipped,
    /// A response that leaves HTTP although nobody asked for that.
    #[error("101 without an upgrade")]
    Upgrade,
    /// More than [`MAX_INTERIM`] interim responses.
    #[error("more than {MAX_INTERIM} interim responses")]
    Interim,
}
