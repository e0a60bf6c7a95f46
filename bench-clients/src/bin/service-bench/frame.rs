//! Frames of seed 003, after their description.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request's frame: the same bytes each time.
pub(crate) fn request(origin: SocketAddr, login: Option<&(String, String)>) -> Vec<u8> {
    let login = login.map_or_else(String::new, |(user, password)| {
        format!(",\"user\":{user:?},\"password\":{password:?}")
    });
    let json = format!("{{\"url\":\"http://{origin}/\",\"headers\":{{}}{login}}}");
    let p = [1_u8, 2, 3, 4];
    let mut frame = p.to_vec();
    for (p, step) in p.into_iter().zip([0_u8, 0x17, 0x2e, 0x45]) {
        frame.push((p ^ 0x5a).wrapping_add(step));
    }
    let key = [0x33_u8; 33];
    let len = u32::try_from(1 + key.len() + json.len()).unwrap_or(u32::MAX);
    frame.extend(len.to_be_bytes());
    frame.push(33);
    frame.extend(key);
    frame.extend(json.bytes().map(|byte| byte ^ 0x33));
    frame
}

/// Asks once, on a connection of its own: the status.
pub(crate) async fn ask(service: SocketAddr, request: &[u8]) -> io::Result<u16> {
    let mut client = TcpStream::connect(service).await?;
    client.set_nodelay(true)?;
    client.write_all(request).await?;
    let len = client.read_u32().await?;
    let mut blob = vec![0; usize::try_from(len).unwrap_or(0)];
    client.read_exact(&mut blob).await?;
    status(&blob).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The status in a blob: `{"status_code":200,..`.
fn status(blob: &[u8]) -> Option<u16> {
    let (&len, rest) = blob.split_first()?;
    let (key, data) = rest.split_at_checked(usize::from(len))?;
    let text: Vec<u8> = data
        .iter()
        .zip(key.iter().cycle())
        .take(32)
        .map(|(data, key)| data ^ key)
        .collect();
    let text = String::from_utf8_lossy(&text);
    let digits = text.strip_prefix("{\"status_code\":")?;
    digits.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_magic_and_an_answer() {
        let frame = request("127.0.0.1:1".parse().unwrap(), None);
        assert_eq!(frame[..8], [1, 2, 3, 4, 0x5b, 0x6f, 0x87, 0xa3]);
        let data: Vec<u8> = b"{\"status_code\":503,".iter().map(|b| b ^ 7).collect();
        let blob = [&[40][..], &[7; 40], &data].concat();
        assert_eq!(status(&blob), Some(503));
        assert_eq!(status(&[200; 8]), None);
    }
}
