//! The server's side of each dialect up to the whole request. Only a login
//! that succeeded leads out of here with a target.

use std::net::IpAddr;

use super::answer::known_as;
use super::inbox::Inbox;
use super::{Message, Opened, Peer, RequestId, SessionError, Wish, turn};
use crate::causes::chain;
use crate::protocol::auth_target::{self, Operation, Reply};
use crate::protocol::http::{self, Framing, Kind, Status};
use crate::protocol::opening::Opening;
use crate::protocol::socks5::Command;
use crate::protocol::{Credentials, Dialect, Target, WireError, line, socks5};
use crate::server::Shared;
use crate::users::{Authenticated, LoginError, NewUser, Revocation, StoreError, UserError};

/// Speaks the dialect of `opening`. `None` is a client that wanted an account,
/// has it, and wants no more.
pub(super) async fn run(
    inbox: &mut Inbox,
    opening: Opening,
    peer: &Peer,
    shared: &Shared,
) -> Result<Option<Opened>, SessionError> {
    let source = peer.source.ip();
    match opening {
        Opening::Socks5 => socks5(inbox, source, shared).await.map(Some),
        Opening::Line => line(inbox, source, shared).await.map(Some),
        Opening::Http => Box::pin(http(inbox, peer, shared)).await.map(Some),
        Opening::AuthTarget => auth_target(inbox, source, shared).await,
        // Layers have been taken off already.
        Opening::Tls | Opening::ProxyV2 | Opening::HttpsRelay => Err(WireError::Unrecognised {
            first: opening as u8,
        }
        .into()),
    }
}

async fn line(inbox: &mut Inbox, source: IpAddr, shared: &Shared) -> Result<Opened, SessionError> {
    let request = inbox.parse(line::request).await?;
    let user = shared
        .users
        .authenticate(&request.credentials, source)
        .await?;
    Ok(tunnel(Dialect::Line, user, request.target))
}

const fn tunnel(dialect: Dialect, user: Authenticated, target: Target) -> Opened {
    Opened {
        dialect,
        user,
        target,
        wish: Wish::Tunnel,
        request: None,
    }
}

async fn socks5(
    inbox: &mut Inbox,
    source: IpAddr,
    shared: &Shared,
) -> Result<Opened, SessionError> {
    if !inbox.parse(socks5::greeting).await?.offers_password {
        inbox.write(&socks5::METHOD_NONE).await?;
        return Err(SessionError::NoPassword);
    }
    inbox.write(&socks5::METHOD_PASSWORD).await?;
    let credentials = inbox.parse(socks5::credentials).await?;
    let user = match shared.users.authenticate(&credentials, source).await {
        Ok(user) => user,
        Err(error) => {
            inbox.write(&socks5::PASSWORD_WRONG).await?;
            return Err(error.into());
        }
    };
    inbox.write(&socks5::PASSWORD_RIGHT).await?;
    match inbox.parse(socks5_request).await {
        Ok(request) => {
            let mut opened = tunnel(Dialect::Socks5, user, request.target);
            if request.command == Command::UdpAssociate {
                opened.wish = Wish::Datagrams;
            }
            Ok(opened)
        }
        Err(SessionError::Wire(error)) => {
            inbox
                .write(&socks5::reply(socks5::Code::of(error), socks5::UNBOUND))
                .await?;
            Err(error.into())
        }
        Err(error) => Err(error),
    }
}

fn socks5_request(bytes: &[u8]) -> Result<Option<(socks5::Request, usize)>, WireError> {
    socks5::request_among(bytes, &[Command::Connect, Command::UdpAssociate])
}

/// The next request of a connection that speaks HTTP. Each is let in by its own
/// credentials; what was let in before says nothing.
pub(super) async fn http(
    inbox: &mut Inbox,
    peer: &Peer,
    shared: &Shared,
) -> Result<Opened, SessionError> {
    let source = peer.source.ip();
    loop {
        let request = match inbox.parse_lines(http::request, http::MAX_HEAD).await {
            Err(SessionError::Wire(error)) => {
                let id = peer.next_request();
                let words = known_as(Status::of(error).answer(false), Some(id));
                inbox.write(&words).await?;
                return Err(error.into());
            }
            request => request?,
        };
        let id = peer.next_request();
        let Some(credentials) = &request.credentials else {
            // Many clients ask without them first and repeat the request with them.
            let stays = request.keep_alive && is_all_here(&request.kind);
            challenge(inbox, stays, id).await?;
            if stays {
                continue;
            }
            return Err(SessionError::NoPassword);
        };
        let user = match shared.users.authenticate(credentials, source).await {
            Ok(user) => user,
            Err(error) => {
                let status = match error {
                    LoginError::Refused => Status::ProxyAuthenticationRequired,
                    LoginError::Barred(Revocation::Unknown) => Status::ServiceUnavailable,
                    LoginError::Barred(_) => Status::Forbidden,
                    _ => Status::ServiceUnavailable,
                };
                inbox
                    .write(&known_as(status.answer(false), Some(id)))
                    .await?;
                return Err(error.into());
            }
        };
        let wish = match request.kind {
            Kind::Connect => Wish::Tunnel,
            Kind::Forward(mut forward) => {
                turn::introduce(peer, id, &mut forward);
                Wish::Answer(Box::new(Message {
                    forward,
                    keep_alive: request.keep_alive,
                }))
            }
        };
        return Ok(Opened {
            dialect: Dialect::Http,
            user,
            target: request.target,
            wish,
            request: Some(id),
        });
    }
}

async fn challenge(inbox: &mut Inbox, stays: bool, id: RequestId) -> Result<(), SessionError> {
    let answer = Status::ProxyAuthenticationRequired.answer(stays);
    Ok(inbox.write(&known_as(answer, Some(id))).await?)
}

/// Whether nothing of the request follows its head, so that the next one does.
fn is_all_here(kind: &Kind) -> bool {
    match kind {
        Kind::Connect => true,
        Kind::Forward(forward) => matches!(forward.framing(), Framing::None | Framing::Length(0)),
    }
}

async fn auth_target(
    inbox: &mut Inbox,
    source: IpAddr,
    shared: &Shared,
) -> Result<Option<Opened>, SessionError> {
    let auth = inbox.parse(auth_target::auth).await?;
    if auth.operation == Operation::Register {
        register(shared, auth.credentials).await?;
        inbox.write(&Reply::Registered.bytes()).await?;
        return Ok(None);
    }
    let user = match shared.users.authenticate(&auth.credentials, source).await {
        Ok(user) => user,
        Err(error) => {
            if let LoginError::Refused = error {
                let reply = refusal(shared, &auth.credentials.name);
                inbox.write(&reply.bytes()).await?;
            }
            return Err(error.into());
        }
    };
    inbox.write(&Reply::LoggedIn.bytes()).await?;
    let request = inbox.parse(auth_target::target).await?;
    if !request.is_of(user.name().as_bytes()) {
        return Err(SessionError::OtherUser);
    }
    Ok(Some(tunnel(Dialect::AuthTarget, user, request.target)))
}

/// This dialect alone tells an unknown name from a wrong password; the work for
/// either was the same.
fn refusal(shared: &Shared, name: &[u8]) -> Reply {
    let known = std::str::from_utf8(name).is_ok_and(|name| shared.users.get(name).is_some());
    if known {
        Reply::WrongPassword
    } else {
        Reply::UnknownUser
    }
}

/// Makes an account, if the config lets anybody do so.
async fn register(shared: &Shared, credentials: Credentials) -> Result<(), SessionError> {
    let refused = |why| Err(SessionError::Registration(why));
    let Some(registration) = &shared.registration else {
        return refused("it is off");
    };
    let Ok(name) = String::from_utf8(credentials.name) else {
        return refused("the name is not text");
    };
    if shared.users.count() >= registration.most_users {
        return refused("there are as many users as there may be");
    }
    let user = NewUser {
        name,
        password: credentials.password,
        rules: registration.limits.into(),
    };
    match shared.users.add(user).await {
        Ok(()) => Ok(()),
        Err(UserError::Store(StoreError::Exists { .. })) => refused("the name is taken"),
        Err(UserError::Name { .. }) => refused("the name cannot be one"),
        Err(UserError::Password(_)) => refused("the password cannot be one"),
        Err(error) => {
            tracing::error!(error = chain(&error), "cannot register a user");
            refused("the database fails")
        }
    }
}
