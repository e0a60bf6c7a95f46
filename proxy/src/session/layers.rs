//! What may stand round a dialect: the PROXY header of a load balancer that is
//! on the listener's list, and TLS.

use std::net::SocketAddr;

use super::SessionError;
use super::inbox::Inbox;
use crate::protocol::opening::{self, Opening};
use crate::protocol::proxy_v2::{self, Header, Transport};
use crate::server::Rules;

/// Takes off what stands in front of the dialect, and says which that is.
/// `source` becomes the address that a believed header names.
pub(super) async fn take_off(
    inbox: &mut Inbox,
    source: &mut SocketAddr,
    rules: &Rules,
) -> Result<Opening, SessionError> {
    let mut accepted = rules.accepted(source.ip());
    loop {
        let recognise =
            |bytes: &[u8]| Ok(opening::recognise(bytes, accepted)?.map(|opening| (opening, 0)));
        match inbox.parse(recognise).await? {
            Opening::ProxyV2 => {
                if let Some(named) = named(inbox.parse(proxy_v2::header).await?) {
                    *source = named;
                }
                accepted = accepted.without(Opening::ProxyV2);
            }
            Opening::Tls => {
                // Boxed: whoever does without does not carry its memory.
                Box::pin(inbox.secure(rules.certificates())).await?;
                accepted = rules.under_tls();
            }
            dialect => return Ok(dialect),
        }
    }
}

/// The client that a header names, if it names one.
fn named(header: Header) -> Option<SocketAddr> {
    match header {
        Header::Proxied {
            transport: Transport::Stream,
            source,
            ..
        } => Some(SocketAddr::new(source.ip().to_canonical(), source.port())),
        _ => None,
    }
}
