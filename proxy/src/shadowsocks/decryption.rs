//! Reading what a client has sent, for whoever operates the server.

use crate::protocol::shadowsocks::stream::Opener;
use crate::protocol::shadowsocks::{Keys, Method, Refused, handshake};

use super::unix_now;

/// The most that is kept of what is not whole.
const MOST: usize = 1 << 20;

/// One direction of a session, read piece by piece.
#[derive(Debug)]
pub(super) struct Decryption {
    method: Method,
    keys: Keys,
    opener: Option<Opener>,
    bytes: Vec<u8>,
}

impl Decryption {
    pub(super) const fn new(method: Method, keys: Keys) -> Self {
        Self {
            method,
            keys,
            opener: None,
            bytes: Vec::new(),
        }
    }

    /// What else is opened now that there is `data` too.
    ///
    /// # Errors
    /// [`Refused`]: nothing more will be opened.
    pub(super) fn open(&mut self, data: &[u8]) -> Result<Vec<u8>, Refused> {
        if self.method == Method::None {
            return Ok(data.to_vec());
        }
        if self.bytes.len().saturating_add(data.len()) > MOST {
            return Err(Refused::Malformed("too much at once"));
        }
        self.bytes.extend_from_slice(data);
        let opener = match &mut self.opener {
            Some(opener) => opener,
            None => {
                let with_port = self.keys.port.is_some();
                let len = handshake::first_len(self.method, with_port);
                let Some(first) = self.bytes.get(..len) else {
                    return Ok(Vec::new());
                };
                let (user, now) = (&self.keys.user, unix_now());
                let opener = handshake::open_first(self.method, user, with_port, first, now)?;
                self.bytes.drain(..len);
                self.opener.insert(opener)
            }
        };
        let mut plain = Vec::new();
        while let Some((payload, used)) = opener.open(&mut self.bytes)? {
            plain.extend_from_slice(self.bytes.get(payload).unwrap_or_default());
            self.bytes.drain(..used);
        }
        Ok(plain)
    }
}
