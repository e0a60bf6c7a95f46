//! The other side of the dialects: what a client sends, and what it reads back.
//!
//! | dialect | what goes to the server | what comes back |
//! |---|---|---|
//! | `socks5` | greeting, password, request | method, status, reply |
//! | `http` | CONNECT with its credentials | a status |
//! | `line` | a line | a line |
//! | `auth_target` | AUTH, TARGET | a byte, nothing |
//!
//! Whatever is too long for its field or would end it early is refused before
//! a byte is sent: a length never wraps round, and a password never becomes a
//! second line.

pub mod auth_target;
pub mod http;
pub mod line;
pub mod socks5;

/// What a dialect cannot say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// A field that is empty where the dialect needs one.
    #[error("{field} must not be empty")]
    Empty {
        /// Which.
        field: Field,
    },
    /// A field that is too long.
    #[error("{field} is longer than {most} bytes")]
    TooLong {
        /// Which.
        field: Field,
        /// The most bytes there may be.
        most: usize,
    },
    /// A field with a byte that means something else there.
    #[error("{field} has a character that this dialect cannot carry")]
    Character {
        /// Which.
        field: Field,
    },
    /// Port 0.
    #[error("the port must not be 0")]
    Port,
}

/// A part of what a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// The target's host.
    Host,
    /// The user's name.
    Name,
    /// The password.
    Password,
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Host => "the host",
            Self::Name => "the name",
            Self::Password => "the password",
        })
    }
}

/// Writes a length byte and as many bytes.
fn write_counted(out: &mut Vec<u8>, bytes: &[u8], field: Field) -> Result<(), Unsendable> {
    let most = usize::from(u8::MAX);
    let len = u8::try_from(bytes.len()).map_err(|_| Unsendable::TooLong { field, most })?;
    out.push(len);
    out.extend(bytes);
    Ok(())
}

/// Checks that a field is there, is at most `most` bytes long, and has only
/// bytes that are `allowed`.
fn check(
    bytes: &[u8],
    field: Field,
    most: usize,
    allowed: impl Fn(u8) -> bool,
) -> Result<(), Unsendable> {
    if bytes.is_empty() {
        return Err(Unsendable::Empty { field });
    }
    if bytes.len() > most {
        return Err(Unsendable::TooLong { field, most });
    }
    if bytes.iter().all(|&byte| allowed(byte)) {
        Ok(())
    } else {
        Err(Unsendable::Character { field })
    }
}
