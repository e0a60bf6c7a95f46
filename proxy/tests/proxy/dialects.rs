//! The two dialects byte by byte, over sockets.

use proxy::Limits;
use tokio::io::AsyncWriteExt;

use crate::support::*;

#[tokio::test]
async fn the_line_handshake_connects_and_names_the_bound_address() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    // The target tells us who came.
    let target = target(|mut client| async move {
        let peer = client.peer_addr().unwrap();
        let _ = client
            .write_all(format!("{} {}\r\n", peer.ip(), peer.port()).as_bytes())
            .await;
    })
    .await;
    let mut client = proxy.connect().await;
    let line = format!("127.0.0.1 {} {NAME} {PASSWORD}\r\n", target.port());
    client.write_all(line.as_bytes()).await.unwrap();
    let bound = read_line(&mut client).await;
    assert_eq!(read_line(&mut client).await, bound);
    assert_eq!(read_to_end(&mut client).await, b"");
}
