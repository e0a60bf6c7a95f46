//! Datagrams.

use super::cipher::{Block, Cipher};
use super::{IDENTITY_LEN, Key, Keys, Method, Refused, TAG_LEN, check_time};
use crate::protocol::cursor::Cursor;
use crate::protocol::socks5::address;
use crate::protocol::{Target, WireError};

const FROM_CLIENT: u8 = 0;
const FROM_SERVER: u8 = 1;

/// The bytes of a session and a number.
const SEPARATE: usize = 16;

/// The most that is added to the data of an answer.
pub const MOST_ADDED: usize = 64 + 19 + TAG_LEN;

/// The session of a datagram of the 2022 edition, and its number in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Separate {
    /// Chosen at random by the sender.
    pub session: u64,
    /// Grows with every datagram of the session.
    pub number: u64,
}

/// What was in a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Where to, or where from.
    pub target: Target,
    /// Which one of the 2022 edition.
    pub separate: Separate,
    /// The data.
    pub data: Vec<u8>,
}

impl Separate {
    fn bytes(self) -> [u8; SEPARATE] {
        let both = u128::from(self.session) << 64 | u128::from(self.number);
        both.to_be_bytes()
    }

    fn read(bytes: [u8; SEPARATE]) -> Self {
        let both = u128::from_be_bytes(bytes);
        let low = |half: u128| u64::try_from(half & u128::from(u64::MAX)).unwrap_or_default();
        Self {
            session: low(both >> 64),
            number: low(both),
        }
    }

    fn nonce(self) -> [u8; 12] {
        let bytes = self.bytes();
        bytes.last_chunk().copied().unwrap_or_default()
    }
}

/// What no two datagrams have in common: a salt, or an encrypted session and number.
#[must_use]
pub fn unique(datagram: &[u8]) -> Option<[u8; 16]> {
    datagram.first_chunk().copied()
}

/// Whom the identity header of a datagram names, under the port's key.
///
/// # Errors
/// [`Refused`] if it is too short.
pub fn identity(port: &Key, datagram: &[u8]) -> Result<[u8; 16], Refused> {
    let short = Refused::Malformed("no identity header");
    let header = *datagram.first_chunk::<SEPARATE>().ok_or(short)?;
    let identity = datagram.get(SEPARATE..).and_then(<[u8]>::first_chunk);
    let identity: [u8; IDENTITY_LEN] = *identity.ok_or(short)?;
    let aes = Block::new(port)?;
    let mask = u128::from_be_bytes(aes.decrypt(header));
    let masked = u128::from_be_bytes(aes.decrypt(identity));
    Ok((mask ^ masked).to_be_bytes())
}

/// Opens a datagram of a client with a user's keys.
///
/// # Errors
/// [`Refused::Authentication`] if it is not that user's; others if it is, and no good.
pub fn open(method: Method, keys: &Keys, datagram: &[u8], now: u64) -> Result<Opened, Refused> {
    if method.is_2022() {
        let around = if keys.port.is_some() { IDENTITY_LEN } else { 0 };
        let header = keys.port.as_ref().unwrap_or(&keys.user);
        let (separate, plain) = open_2022(method, header, &keys.user, around, datagram)?;
        let mut cursor = Cursor(&plain);
        if cursor.byte() != Some(FROM_CLIENT) {
            return Err(Refused::Malformed("not from a client"));
        }
        check_time(cursor.array().map_or(0, u64::from_be_bytes), now)?;
        return body(cursor, separate);
    }
    let plain = open_salted(method, &keys.user, datagram)?;
    addressed(Cursor(&plain), Separate::default())
}

/// Opens a datagram of the server at the client that has `session`.
///
/// # Errors
/// As [`open`].
pub fn open_answer(
    method: Method,
    user: &Key,
    session: u64,
    datagram: &[u8],
    now: u64,
) -> Result<Opened, Refused> {
    if method.is_2022() {
        let (separate, plain) = open_2022(method, user, user, 0, datagram)?;
        let mut cursor = Cursor(&plain);
        if cursor.byte() != Some(FROM_SERVER) {
            return Err(Refused::Malformed("not from a server"));
        }
        check_time(cursor.array().map_or(0, u64::from_be_bytes), now)?;
        if cursor.array().map(u64::from_be_bytes) != Some(session) {
            return Err(Refused::Malformed("an answer to another session"));
        }
        return body(cursor, separate);
    }
    let plain = open_salted(method, user, datagram)?;
    addressed(Cursor(&plain), Separate::default())
}

/// A session towards a peer: what each datagram costs only once.
#[derive(Debug)]
pub struct Sender {
    method: Method,
    user: Key,
    /// 2022: the separate header's key, the body's, and what stands between.
    session: Option<(Block, Cipher, Option<Block>)>,
    next: Separate,
}

impl Sender {
    /// A session under a user's key; `session` is a fresh random number.
    ///
    /// # Errors
    /// [`Refused`] for a method without encryption.
    pub fn server(method: Method, keys: &Keys, session: u64) -> Result<Self, Refused> {
        Self::new(method, keys, &keys.user, session, false)
    }

    /// The same at a client.
    ///
    /// # Errors
    /// [`Refused`] for a method without encryption.
    pub fn client(method: Method, keys: &Keys, session: u64) -> Result<Self, Refused> {
        let header = keys.port.as_ref().unwrap_or(&keys.user);
        Self::new(method, keys, header, session, true)
    }

    fn new(
        method: Method,
        keys: &Keys,
        header: &Key,
        session: u64,
        client: bool,
    ) -> Result<Self, Refused> {
        let parts = if method.is_2022() {
            let subkey = keys.user.subkey(method, &session.to_be_bytes());
            let identity = keys.port.as_ref().filter(|_| client);
            let identity = identity.map(Block::new).transpose()?;
            let body = Cipher::new(method, &subkey, &[])?;
            Some((Block::new(header)?, body, identity))
        } else {
            None
        };
        Ok(Self {
            method,
            user: keys.user.clone(),
            session: parts,
            next: Separate { session, number: 0 },
        })
    }

    /// The session's number.
    #[must_use]
    pub const fn session(&self) -> u64 {
        self.next.session
    }

    /// Seals one datagram of the server: `clients` is the session that it
    /// answers, `salt` as many random bytes as the method has, unused in the 2022 edition.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn answer(
        &mut self,
        clients: u64,
        salt: &[u8],
        source: std::net::SocketAddr,
        data: &[u8],
        now: u64,
    ) -> Result<Vec<u8>, Refused> {
        let mut head = Vec::with_capacity(MOST_ADDED + data.len());
        if self.session.is_some() {
            head.push(FROM_SERVER);
            head.extend(now.to_be_bytes());
            head.extend(clients.to_be_bytes());
            head.extend([0, 0]);
        }
        address::write(&mut head, source);
        head.extend_from_slice(data);
        self.seal(salt, &head)
    }

    /// Seals one datagram of the client.
    ///
    /// # Errors
    /// [`Refused`] if the target cannot be sent.
    pub fn ask(
        &mut self,
        salt: &[u8],
        target: &Target,
        data: &[u8],
        now: u64,
    ) -> Result<Vec<u8>, Refused> {
        let mut head = Vec::with_capacity(MOST_ADDED + 256 + data.len());
        if self.session.is_some() {
            head.push(FROM_CLIENT);
            head.extend(now.to_be_bytes());
            head.extend([0, 0]);
        }
        address::write_target(&mut head, target).map_err(|_| Refused::Malformed("a host"))?;
        head.extend_from_slice(data);
        self.seal(salt, &head)
    }

    fn seal(&mut self, salt: &[u8], plain: &[u8]) -> Result<Vec<u8>, Refused> {
        let mut out = Vec::with_capacity(SEPARATE * 2 + IDENTITY_LEN + plain.len() + TAG_LEN);
        let separate = self.next;
        self.next.number = self.next.number.wrapping_add(1);
        match &self.session {
            None if self.method == Method::None => out.extend_from_slice(plain),
            None => {
                out.extend_from_slice(salt);
                let from = out.len();
                out.extend_from_slice(plain);
                let subkey = self.user.subkey(self.method, salt);
                Cipher::new(self.method, &subkey, salt)?.seal(&mut out, from);
            }
            Some((header, body, identity)) => {
                out.extend(header.encrypt(separate.bytes()));
                if let Some(port) = identity {
                    let mask = u128::from_be_bytes(separate.bytes());
                    let hash = u128::from_be_bytes(self.user.fingerprint());
                    out.extend(port.encrypt((mask ^ hash).to_be_bytes()));
                }
                let from = out.len();
                out.extend_from_slice(plain);
                body.seal_with(separate.nonce(), &mut out, from);
            }
        }
        Ok(out)
    }
}

fn open_salted(method: Method, user: &Key, datagram: &[u8]) -> Result<Vec<u8>, Refused> {
    if method == Method::None {
        return Ok(datagram.to_vec());
    }
    let least = if method.authenticates() { TAG_LEN } else { 1 };
    let (salt, sealed) = datagram
        .split_at_checked(method.salt_len())
        .filter(|(_, sealed)| sealed.len() >= least)
        .ok_or(Refused::Authentication)?;
    let mut cipher = Cipher::new(method, &user.subkey(method, salt), salt)?;
    let mut plain = sealed.to_vec();
    let len = cipher.open(&mut plain)?;
    plain.truncate(len);
    Ok(plain)
}

fn open_2022(
    method: Method,
    header: &Key,
    user: &Key,
    around: usize,
    datagram: &[u8],
) -> Result<(Separate, Vec<u8>), Refused> {
    let first = *datagram
        .first_chunk::<SEPARATE>()
        .ok_or(Refused::Authentication)?;
    let separate = Separate::read(Block::new(header)?.decrypt(first));
    let sealed = datagram.get(SEPARATE + around..);
    let mut plain = sealed.ok_or(Refused::Authentication)?.to_vec();
    let subkey = user.subkey(method, &separate.session.to_be_bytes());
    let cipher = Cipher::new(method, &subkey, &[])?;
    let len = cipher.open_with(separate.nonce(), &mut plain)?;
    plain.truncate(len);
    Ok((separate, plain))
}

/// Padding, address, data.
fn body(mut cursor: Cursor<'_>, separate: Separate) -> Result<Opened, Refused> {
    let padding = cursor.u16().map_or(0, usize::from);
    if cursor.slice(padding).is_none() {
        return Err(Refused::Malformed("padding"));
    }
    addressed(cursor, separate)
}

fn addressed(mut cursor: Cursor<'_>, separate: Separate) -> Result<Opened, Refused> {
    let target = match address::read(&mut cursor) {
        Ok(Some(target)) if target.port != 0 => target,
        Ok(_) => return Err(Refused::Malformed("no address")),
        Err(WireError::AddressType { .. }) => return Err(Refused::Malformed("an address type")),
        Err(_) => return Err(Refused::Malformed("a host")),
    };
    Ok(Opened {
        target,
        separate,
        data: cursor.0.to_vec(),
    })
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Host;

    const NOW: u64 = 1_700_000_000;

    fn unhex(text: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    }

    fn keys(method: Method, with_port: bool) -> Keys {
        if !method.is_2022() {
            return Keys::parse(method, "hellotheworld2").unwrap();
        }
        let key = if method.key_len() == 16 {
            "AAECAwQFBgcICQoLDA0ODw=="
        } else {
            "AAECAwQFBgcICQoLDA0ODwABAgMEBQYHCAkKCwwNDg8="
        };
        let both = format!("{key}:{key}");
        Keys::parse(method, if with_port { &both } else { key }).unwrap()
    }

    #[test]
    fn the_seeds_golden_opens_and_is_what_we_seal() {
        let method = Method::Aes256Gcm;
        let salt: Vec<u8> = (0..32).collect();
        let sealed = unhex("e5871ce2abfe164311b2d60e34250266416f183e0f3dccc36009732e");
        let golden = [&salt[..], &sealed].concat();
        let opened = open(method, &keys(method, false), &golden, NOW).unwrap();
        assert_eq!(opened.target.to_string(), "127.0.0.1:80");
        assert_eq!(opened.data, b"hello");
        let mut sender = Sender::client(method, &keys(method, false), 0).unwrap();
        let ours = sender.ask(&salt, &opened.target, b"hello", NOW).unwrap();
        assert_eq!(ours, golden);
    }

    #[test]
    fn both_ways_by_every_method() {
        for method in Method::ALL.into_iter().skip(1) {
            for with_port in [false, true] {
                let keys = keys(method, with_port);
                let salt = vec![9; method.salt_len()];
                let target = Target {
                    host: Host::Name("a.example".into()),
                    port: 53,
                };
                let mut client = Sender::client(method, &keys, 7).unwrap();
                for number in 0..3 {
                    let sent = client.ask(&salt, &target, b"data", NOW).unwrap();
                    let opened = open(method, &keys, &sent, NOW + 30).unwrap();
                    assert_eq!((&opened.target, &opened.data[..]), (&target, &b"data"[..]));
                    if method.is_2022() {
                        assert_eq!(opened.separate, Separate { session: 7, number });
                        let late = open(method, &keys, &sent, NOW + 31);
                        assert!(matches!(late, Err(Refused::Time { .. })));
                        if let Some(port) = &keys.port {
                            assert_eq!(identity(port, &sent), Ok(keys.user.fingerprint()));
                        }
                    }
                    let mut flipped = sent.clone();
                    *flipped.last_mut().unwrap() ^= 1;
                    let flipped = open(method, &keys, &flipped, NOW);
                    if !method.authenticates() {
                        assert!(flipped.is_ok_and(|opened| opened.data != b"data"));
                        continue;
                    }
                    assert_eq!(flipped, Err(Refused::Authentication));
                    for cut in 0..sent.len() {
                        assert!(open(method, &keys, &sent[..cut], NOW).is_err());
                    }
                }
                let mut server = Sender::server(method, &keys, 8).unwrap();
                let source = "[2001:db8::1]:53".parse().unwrap();
                let sent = server.answer(7, &salt, source, b"back", NOW).unwrap();
                let opened = open_answer(method, &keys.user, 7, &sent, NOW).unwrap();
                assert_eq!(opened.target.to_string(), "[2001:db8::1]:53");
                assert_eq!(opened.data, b"back");
                if method.is_2022() {
                    assert!(open_answer(method, &keys.user, 6, &sent, NOW).is_err());
                    // Ours, sent back to us.
                    assert!(open(method, &keys, &sent, NOW).is_err());
                }
            }
        }
    }
}
