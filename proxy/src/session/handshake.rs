//! The server's side of each dialect up to the whole request. Only a login
//! that succeeded leads out of here with a target.

use std::net::IpAddr;

use super::inbox::Inbox;
use super::{Opened, SessionError};
use crate::protocol::{self, Dialect, line, socks5};
use crate::users::Users;

/// Recognises the dialect and speaks it.
pub(super) async fn run(
    inbox: &mut Inbox,
    users: &Users,
    source: IpAddr,
) -> Result<Opened, SessionError> {
    let recognise = |bytes: &[u8]| Ok(protocol::recognise(bytes)?.map(|dialect| (dialect, 0)));
    match inbox.parse(recognise).await? {
        Dialect::Socks5 => socks5(inbox, users, source).await,
        Dialect::Line => line(inbox, users, source).await,
    }
}

async fn line(inbox: &mut Inbox, users: &Users, source: IpAddr) -> Result<Opened, SessionError> {
    let request = inbox.parse(line::request).await?;
    let user = users.authenticate(&request.credentials, source).await?;
    Ok(Opened {
        dialect: Dialect::Line,
        user,
        target: request.target,
    })
}

async fn socks5(inbox: &mut Inbox, users: &Users, source: IpAddr) -> Result<Opened, SessionError> {
    if !inbox.parse(socks5::greeting).await?.offers_password {
        inbox.write(&socks5::METHOD_NONE).await?;
        return Err(SessionError::NoPassword);
    }
    inbox.write(&socks5::METHOD_PASSWORD).await?;
    let credentials = inbox.parse(socks5::credentials).await?;
    let user = match users.authenticate(&credentials, source).await {
        Ok(user) => user,
        Err(error) => {
            inbox.write(&socks5::PASSWORD_WRONG).await?;
            return Err(error.into());
        }
    };
    inbox.write(&socks5::PASSWORD_RIGHT).await?;
    match inbox.parse(socks5::request).await {
        Ok(target) => Ok(Opened {
            dialect: Dialect::Socks5,
            user,
            target,
        }),
        Err(SessionError::Wire(error)) => {
            inbox
                .write(&socks5::reply(socks5::Code::of(error), socks5::UNBOUND))
                .await?;
            Err(error.into())
        }
        Err(error) => Err(error),
    }
}
