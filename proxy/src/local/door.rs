//! The applications' side: SOCKS5 without a password (CONNECT and UDP ASSOCIATE), and
//! HTTP: CONNECT, and requests with `http://` URLs, of which a connection carries one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use proxy::protocol::http::{self, Forward, Kind, Status, answer};
use proxy::protocol::opening::{self, Opening, Openings};
use proxy::protocol::socks5::{self, Code, Command};
use proxy::protocol::{Target, WireError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::message;
use crate::remote::{Remote, RemoteError};

/// From the first byte of an application to its request.
const DEADLINE: Duration = Duration::from_secs(10);
/// Applications at once; those beyond wait.
const MOST: usize = 4_096;
/// After accepting has failed, as for want of descriptors.
const PAUSE: Duration = Duration::from_millis(50);
/// After a refusal: how long an application may take to read it.
const LINGER: Duration = Duration::from_secs(1);

/// Serves applications for ever.
pub(crate) async fn serve(listener: TcpListener, remote: Remote) {
    let (remote, places) = (Arc::new(remote), Arc::new(Semaphore::new(MOST)));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((application, _)) => {
                let remote = Arc::clone(&remote);
                tokio::spawn(async move {
                    let _place = place;
                    if let Err(error) = Door::new(application).serve(&remote).await {
                        tracing::debug!(%error, "an application went away");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an application");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// What an application wants: with or from where, and what.
type Asked = (Speech, Target, Wish);

/// What is to be done with a target.
enum Wish {
    /// A stream to it.
    Stream,
    /// One message passed on to it, and its answer back.
    Message(Forward),
    /// Datagrams from it.
    Datagrams,
}

/// One application.
struct Door {
    application: TcpStream,
    heard: Vec<u8>,
}

/// What it speaks.
#[derive(Clone, Copy)]
enum Speech {
    Socks5,
    Http,
}

impl Door {
    const fn new(application: TcpStream) -> Self {
        let heard = Vec::new();
        Self { application, heard }
    }

    async fn serve(mut self, remote: &Remote) -> io::Result<()> {
        self.application.set_nodelay(true)?;
        let asked = tokio::time::timeout(DEADLINE, self.request()).await;
        let Some((speech, target, wish)) = asked?? else {
            return self.linger().await;
        };
        let served = match wish {
            #[cfg(feature = "shadowsocks")]
            Wish::Datagrams if remote.carries_datagrams() => {
                return self.datagrams(remote).await;
            }
            Wish::Datagrams => match remote.associate().await {
                Ok(datagrams) => return datagrams.serve(&mut self.application, &target).await,
                Err(error) => Err(error),
            },
            Wish::Stream => remote.open(&target).await.map(|tunnel| (tunnel, None)),
            Wish::Message(message) => {
                let opened = remote.open(&target).await;
                opened.map(|tunnel| (tunnel, Some(message)))
            }
        };
        match served {
            Ok((tunnel, Some(message))) => {
                let (application, heard) = (&mut self.application, &mut self.heard);
                message::pass_on(application, heard, tunnel, &message).await?;
                self.linger().await
            }
            Ok((mut tunnel, None)) => {
                let mut words = speech.connected();
                words.append(&mut tunnel.early);
                self.application.write_all(&words).await?;
                tunnel.stream.write_all(&self.heard).await?;
                tunnel.stream.flush().await?;
                copy_bidirectional(&mut self.application, &mut tunnel.stream).await?;
                Ok(())
            }
            Err(error) => {
                tracing::warn!(target = %target.to_string().escape_debug(), %error, "not connected");
                self.application.write_all(&speech.refused(&error)).await?;
                self.linger().await
            }
        }
    }

    /// What the application wants; `None` if it has been told that it cannot have it.
    async fn request(&mut self) -> io::Result<Option<Asked>> {
        let accepted = Openings::NONE.with(Opening::Socks5).with(Opening::Http);
        let recognise =
            |bytes: &[u8]| Ok(opening::recognise(bytes, accepted)?.map(|opening| (opening, 0)));
        match self.hear(recognise).await? {
            Ok(Opening::Socks5) => self.socks5().await,
            Ok(_) => self.http().await,
            Err(_) => Ok(None),
        }
    }

    async fn socks5(&mut self) -> io::Result<Option<Asked>> {
        let greeting = self.hear(socks5::greeting).await?;
        if !greeting.is_ok_and(|greeting| greeting.offers_free) {
            self.application.write_all(&socks5::METHOD_NONE).await?;
            return Ok(None);
        }
        self.application.write_all(&socks5::METHOD_FREE).await?;
        let accepted = [Command::Connect, Command::UdpAssociate];
        let request = |bytes: &[u8]| socks5::request_among(bytes, &accepted);
        match self.hear(request).await? {
            Ok(request) => {
                let wish = match request.command {
                    Command::Connect => Wish::Stream,
                    Command::UdpAssociate => Wish::Datagrams,
                };
                Ok(Some((Speech::Socks5, request.target, wish)))
            }
            Err(error) => {
                let reply = socks5::reply(Code::of(error), socks5::UNBOUND);
                self.application.write_all(&reply).await?;
                Ok(None)
            }
        }
    }

    async fn http(&mut self) -> io::Result<Option<Asked>> {
        let status = match self.hear(http::request).await? {
            Ok(request) => {
                let wish = match request.kind {
                    Kind::Connect => Wish::Stream,
                    Kind::Forward(message) => Wish::Message(message),
                };
                return Ok(Some((Speech::Http, request.target, wish)));
            }
            Err(error) => Status::of(error),
        };
        self.application.write_all(&status.answer(false)).await?;
        Ok(None)
    }

    /// Serves the application's datagrams until it closes the connection.
    #[cfg(feature = "shadowsocks")]
    async fn datagrams(mut self, remote: &Remote) -> io::Result<()> {
        let association = match remote.associate_encrypted(&self.application).await {
            Ok(association) => association,
            Err(error) => {
                tracing::warn!(%error, "no way for datagrams");
                let refused = Speech::Socks5.refused(&error);
                self.application.write_all(&refused).await?;
                return self.linger().await;
            }
        };
        let reply = socks5::reply(Code::Succeeded, association.address()?);
        self.application.write_all(&reply).await?;
        association.run(self.application).await
    }

    /// The next message; the inner error is the application's own.
    async fn hear<T>(
        &mut self,
        parser: impl Fn(&[u8]) -> Result<Option<(T, usize)>, WireError>,
    ) -> io::Result<Result<T, WireError>> {
        loop {
            match parser(&self.heard) {
                Err(error) => return Ok(Err(error)),
                Ok(Some((message, used))) => {
                    self.heard.drain(..used.min(self.heard.len()));
                    return Ok(Ok(message));
                }
                Ok(None) => {}
            }
            if self.application.read_buf(&mut self.heard).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Lets the application read what it was told.
    async fn linger(mut self) -> io::Result<()> {
        self.application.shutdown().await?;
        let mut ignored = [0; 1024];
        let read = async { while let Ok(1..) = self.application.read(&mut ignored).await {} };
        // Whoever goes on talking is cut off.
        let _ = tokio::time::timeout(LINGER, read).await;
        Ok(())
    }
}

impl Speech {
    fn connected(self) -> Vec<u8> {
        match self {
            // Our own address towards the target is the remote's business.
            Self::Socks5 => socks5::reply(Code::Succeeded, socks5::UNBOUND),
            Self::Http => answer::ESTABLISHED.to_vec(),
        }
    }

    fn refused(self, error: &RemoteError) -> Vec<u8> {
        let code = match error {
            RemoteError::Target(code) => *code,
            RemoteError::Timeout => Code::HostUnreachable,
            RemoteError::NoDatagrams(_) => Code::CommandNotSupported,
            _ => Code::GeneralFailure,
        };
        match self {
            Self::Socks5 => socks5::reply(code, socks5::UNBOUND),
            Self::Http => match error {
                RemoteError::Timeout => Status::GatewayTimeout,
                RemoteError::Target(Code::NotAllowed) => Status::Forbidden,
                _ => Status::BadGateway,
            }
            .answer(false),
        }
    }
}
