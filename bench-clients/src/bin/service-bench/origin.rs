//! An HTTP/1.1 origin on loopback that answers every GET after a time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Serves for as long as the program runs; where.
pub(crate) async fn start(after: Duration) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, after));
        }
    });
    Ok(address)
}

async fn serve(mut client: TcpStream, after: Duration) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut heard = Vec::new();
    loop {
        while !heard.ends_with(b"\r\n\r\n") {
            if client.read_buf(&mut heard).await? == 0 {
                return Ok(());
            }
        }
        heard.clear();
        if !after.is_zero() {
            tokio::time::sleep(after).await;
        }
        client
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nhello, world\n")
            .await?;
    }
}
