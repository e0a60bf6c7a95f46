//! How a TCP session begins.

use super::cipher::{Block, Cipher};
use super::stream::{LENGTH_LEN, Opener, Sealer};
use super::{IDENTITY_LEN, Key, Keys, Method, Refused, TAG_LEN, check_time};
use crate::protocol::cursor::Cursor;
use crate::protocol::socks5::address;
use crate::protocol::{Target, WireError};

/// The fixed part of a request of the 2022 edition: type, time, length.
const FIXED: usize = 1 + 8 + 2;
const FROM_CLIENT: u8 = 0;
const FROM_SERVER: u8 = 1;

/// The longest that stands before the first payload byte, once opened.
const LONGEST_ADDRESS: usize = 1 + 1 + 255 + 2;

/// How many bytes tell who a client is.
#[must_use]
pub const fn first_len(method: Method, has_identity: bool) -> usize {
    let sealed = if method.is_2022() {
        FIXED + TAG_LEN
    } else if method.is_cfb() {
        // Nothing does.
        0
    } else {
        LENGTH_LEN
    };
    before_sealed(method, has_identity) + sealed
}

const fn before_sealed(method: Method, has_identity: bool) -> usize {
    method.salt_len() + if has_identity { IDENTITY_LEN } else { 0 }
}

/// The salt that a session begins with.
#[must_use]
pub fn salt(method: Method, first: &[u8]) -> &[u8] {
    first.get(..method.salt_len()).unwrap_or_default()
}

/// Whom the identity header of `first` names, under the port's key.
///
/// # Errors
/// [`Refused::Malformed`] if `first` is too short.
pub fn identity(method: Method, port: &Key, first: &[u8]) -> Result<[u8; 16], Refused> {
    let header = first.get(method.salt_len()..).and_then(<[u8]>::first_chunk);
    let header = *header.ok_or(Refused::Malformed("no identity header"))?;
    let subkey = port.identity_subkey(method, salt(method, first));
    Ok(Block::new(&subkey)?.decrypt(header))
}

/// Tries to open the beginning of a session, [`first_len`] bytes, with a user's key.
///
/// # Errors
/// [`Refused::Authentication`] if it is not that user's; others if it is, and no good.
pub fn open_first(
    method: Method,
    user: &Key,
    has_identity: bool,
    first: &[u8],
    now: u64,
) -> Result<Opener, Refused> {
    let subkey = user.subkey(method, salt(method, first));
    open_under(method, &subkey, has_identity, first, now)
}

/// As [`open_first`], with the subkey.
pub(super) fn open_under(
    method: Method,
    subkey: &Key,
    has_identity: bool,
    first: &[u8],
    now: u64,
) -> Result<Opener, Refused> {
    let mut cipher = Cipher::new(method, subkey, salt(method, first))?;
    if method.is_cfb() {
        return Ok(Opener::new(method, cipher));
    }
    let mut sealed = [0; FIXED + TAG_LEN];
    let piece = first.get(before_sealed(method, has_identity)..first_len(method, has_identity));
    let piece = piece.ok_or(Refused::Authentication)?;
    let room = sealed.get_mut(..piece.len()).unwrap_or_default();
    room.copy_from_slice(piece);
    let len = cipher.open(room)?;
    let mut plain = Cursor(room.get(..len).unwrap_or_default());
    if method.is_2022() {
        let kind = plain.byte();
        if kind != Some(FROM_CLIENT) {
            return Err(Refused::Malformed("not from a client"));
        }
        check_time(plain.array().map_or(0, u64::from_be_bytes), now)?;
    }
    let mut opener = Opener::new(method, cipher);
    opener.expect(plain.u16().map_or(0, usize::from))?;
    Ok(opener)
}

/// What a client asks for: the target, and where the payload begins. `None` if
/// it is not all here, `plain` being what was opened so far.
///
/// # Errors
/// [`Refused::Malformed`]
pub fn request(method: Method, plain: &[u8]) -> Result<Option<(Target, usize)>, Refused> {
    let mut cursor = Cursor(plain);
    let target = match address::read(&mut cursor) {
        Ok(Some(target)) => target,
        Ok(None) if method.is_2022() || plain.len() >= LONGEST_ADDRESS => {
            return Err(Refused::Malformed("no address"));
        }
        Ok(None) => return Ok(None),
        Err(WireError::AddressType { .. }) => return Err(Refused::Malformed("an address type")),
        Err(_) => return Err(Refused::Malformed("a host")),
    };
    if method.is_2022() {
        let padding = cursor.u16().map_or(0, usize::from);
        let cut = cursor.slice(padding).is_none();
        if cut || (padding == 0 && cursor.0.is_empty()) {
            return Err(Refused::Malformed("padding"));
        }
    }
    if target.port == 0 {
        return Err(Refused::Malformed("port 0"));
    }
    Ok(Some((target, cursor.used(plain))))
}

/// The server's side of an answer: appends salt and header to `out`, then the
/// beginning of the payload, and says how the rest is sealed.
///
/// # Errors
/// [`Refused`] for a method without encryption.
pub fn answer(
    method: Method,
    user: &Key,
    own: &[u8],
    clients: &[u8],
    payload: &[u8],
    now: u64,
    out: &mut Vec<u8>,
) -> Result<Sealer, Refused> {
    let subkey = user.subkey(method, own);
    let mut sealer = Sealer::new(method, Cipher::new(method, &subkey, own)?);
    out.extend_from_slice(own);
    if !method.is_2022() {
        sealer.seal(payload, out);
        return Ok(sealer);
    }
    let len = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let (first, rest) = payload.split_at(usize::from(len));
    let mut fixed = vec![FROM_SERVER];
    fixed.extend(now.to_be_bytes());
    fixed.extend(clients);
    fixed.extend(len.to_be_bytes());
    sealer.seal_piece(&fixed, out);
    sealer.seal_piece(first, out);
    sealer.seal(rest, out);
    Ok(sealer)
}

/// The client's side: appends a request for `target` with the beginning of the
/// payload to `out`, and says how the rest is sealed.
///
/// # Errors
/// [`Refused`] if the target or the method cannot be sent.
pub fn ask(
    method: Method,
    keys: &Keys,
    salt: &[u8],
    target: &Target,
    payload: &[u8],
    now: u64,
    out: &mut Vec<u8>,
) -> Result<Sealer, Refused> {
    let subkey = keys.user.subkey(method, salt);
    let mut sealer = Sealer::new(method, Cipher::new(method, &subkey, salt)?);
    let mut plain = Vec::new();
    address::write_target(&mut plain, target).map_err(|_| Refused::Malformed("a host"))?;
    out.extend_from_slice(salt);
    if !method.is_2022() {
        plain.extend_from_slice(payload);
        sealer.seal(&plain, out);
        return Ok(sealer);
    }
    if let Some(port) = &keys.port {
        let subkey = port.identity_subkey(method, salt);
        out.extend(Block::new(&subkey)?.encrypt(keys.user.fingerprint()));
    }
    let first = payload.get(..0x3fff).unwrap_or(payload);
    // Without payload there must be padding.
    let padding: u16 = if first.is_empty() { 64 } else { 0 };
    plain.extend(padding.to_be_bytes());
    plain.resize(plain.len() + usize::from(padding), 0);
    plain.extend_from_slice(first);
    let len = u16::try_from(plain.len()).unwrap_or(u16::MAX);
    let mut fixed = vec![FROM_CLIENT];
    fixed.extend(now.to_be_bytes());
    fixed.extend(len.to_be_bytes());
    sealer.seal_piece(&fixed, out);
    sealer.seal_piece(&plain, out);
    sealer.seal(payload.get(first.len()..).unwrap_or_default(), out);
    Ok(sealer)
}

/// How many bytes of an answer say how the rest is opened.
#[must_use]
pub const fn answer_len(method: Method) -> usize {
    let fixed = if method.is_2022() {
        1 + 8 + method.salt_len() + 2 + TAG_LEN
    } else {
        0
    };
    method.salt_len() + fixed
}

/// Opens the beginning of an answer, [`answer_len`] bytes, at the client.
///
/// # Errors
/// [`Refused`]
pub fn open_answer(
    method: Method,
    user: &Key,
    clients: &[u8],
    first: &[u8],
    now: u64,
) -> Result<Opener, Refused> {
    let salt = salt(method, first);
    let mut cipher = Cipher::new(method, &user.subkey(method, salt), salt)?;
    if !method.is_2022() {
        return Ok(Opener::new(method, cipher));
    }
    let sealed = first.get(method.salt_len()..answer_len(method));
    let mut sealed = sealed.ok_or(Refused::Authentication)?.to_vec();
    let len = cipher.open(&mut sealed)?;
    let mut plain = Cursor(sealed.get(..len).unwrap_or_default());
    if plain.byte() != Some(FROM_SERVER) {
        return Err(Refused::Malformed("not from a server"));
    }
    check_time(plain.array().map_or(0, u64::from_be_bytes), now)?;
    if plain.slice(method.salt_len()) != Some(clients) {
        return Err(Refused::Malformed("an answer to another request"));
    }
    let mut opener = Opener::new(method, cipher);
    opener.expect(plain.u16().map_or(0, usize::from))?;
    Ok(opener)
}

#[cfg(test)]
mod tests;
