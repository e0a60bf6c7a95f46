//! One HTTP message to its origin through a tunnel, and its answer back.

use std::io;
use std::pin::pin;

use proxy::protocol::WireError;
use proxy::protocol::http::{Body, Forward, MAX_INTERIM, Malformed, Step, response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::remote::Tunnel;

/// Sends `message`, its body beginning with what was `heard`, and passes the
/// answer back. The application and the origin are told that no other follows:
/// nothing that the origin sends too much is taken for an answer.
pub(crate) async fn pass_on(
    application: &mut TcpStream,
    heard: &mut Vec<u8>,
    tunnel: Tunnel,
    message: &Forward,
) -> io::Result<()> {
    let (mut source, mut sink) = tokio::io::split(tunnel.stream);
    let (mut from, mut to) = application.split();
    let upload = async {
        sink.write_all(&message.head(true, false)).await?;
        pass_body(&mut from, heard, &mut sink, message.body()).await
    };
    let download = pass_answer(&mut source, tunnel.early, &mut to, message);
    let (mut upload, mut download) = (pin!(upload), pin!(download));
    tokio::select! {
        // An origin may answer before it has heard everything.
        answered = &mut download => return answered,
        sent = &mut upload => sent?,
    }
    download.await
}

async fn pass_answer(
    source: &mut (impl AsyncRead + Unpin),
    mut bytes: Vec<u8>,
    sink: &mut (impl AsyncWrite + Unpin),
    message: &Forward,
) -> io::Result<()> {
    for _ in 0..=MAX_INTERIM {
        let answer = loop {
            let parsed = response(&bytes, message.asked()).map_err(io::Error::other)?;
            if let Some((answer, used)) = parsed {
                bytes.drain(..used);
                break answer;
            }
            read(source, &mut bytes).await?;
        };
        if answer.is_interim() {
            sink.write_all(&answer.head(true, true)).await?;
            continue;
        }
        sink.write_all(&answer.head(true, false)).await?;
        return pass_body(source, &mut bytes, sink, answer.body()).await;
    }
    Err(io::Error::other(WireError::from(Malformed::Interim)))
}

/// One body, of which `bytes` is what was read already.
async fn pass_body(
    source: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
    sink: &mut (impl AsyncWrite + Unpin),
    mut body: Body,
) -> io::Result<()> {
    loop {
        match body.step(bytes).map_err(io::Error::other)? {
            Some(Step::End) => return sink.flush().await,
            Some(Step::Forward(len)) => {
                sink.write_all(bytes.get(..len).unwrap_or_default()).await?;
                bytes.drain(..len);
            }
            Some(Step::Skip(len)) => drop(bytes.drain(..len)),
            None => {
                sink.flush().await?;
                match read(source, bytes).await {
                    Err(error)
                        if error.kind() == io::ErrorKind::UnexpectedEof && body.may_end() =>
                    {
                        return Ok(());
                    }
                    read => read?,
                }
            }
        }
    }
}

async fn read(source: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> io::Result<()> {
    match source.read_buf(bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
