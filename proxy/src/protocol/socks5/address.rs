//! The address of RFC 1928, sections 4 to 7: `type | address | port`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::protocol::cursor::Cursor;
use crate::protocol::{Host, Target, WireError};

const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Reads one; `None` if it is not all here.
pub(in crate::protocol) fn read(cursor: &mut Cursor<'_>) -> Result<Option<Target>, WireError> {
    let Some(host) = host(cursor)? else {
        return Ok(None);
    };
    Ok(cursor.u16().map(|port| Target { host, port }))
}

fn host(cursor: &mut Cursor<'_>) -> Result<Option<Host>, WireError> {
    let Some(kind) = cursor.byte() else {
        return Ok(None);
    };
    match kind {
        IPV4 => Ok(cursor
            .array::<4>()
            .map(|octets| Host::Address(Ipv4Addr::from(octets).into()))),
        IPV6 => Ok(cursor
            .array::<16>()
            .map(|octets| Host::Address(Ipv6Addr::from(octets).into()))),
        NAME => cursor.counted().map(Host::parse).transpose(),
        got => Err(WireError::AddressType { got }),
    }
}

/// Writes one with its true type: an IPv4 address mapped into IPv6 is IPv4.
pub(in crate::protocol) fn write(out: &mut Vec<u8>, address: SocketAddr) {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            out.push(IPV4);
            out.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(IPV6);
            out.extend(ip.octets());
        }
    }
    out.extend(address.port().to_be_bytes());
}

/// Writes one as its owner named it.
///
/// # Errors
/// [`WireError::Host`] if a name is empty or longer than 255 bytes: its length
/// must never wrap round in the one byte it has.
pub(in crate::protocol) fn write_target(
    out: &mut Vec<u8>,
    target: &Target,
) -> Result<(), WireError> {
    match &target.host {
        Host::Address(address) => write(out, SocketAddr::new(*address, target.port)),
        Host::Name(name) => {
            let len = u8::try_from(name.len()).map_err(|_| WireError::Host)?;
            if len == 0 {
                return Err(WireError::Host);
            }
            out.extend([NAME, len]);
            out.extend(name.as_bytes());
            out.extend(target.port.to_be_bytes());
        }
    }
    Ok(())
}
