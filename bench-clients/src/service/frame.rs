//! Frames of seed 003, after their description.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest answer, as in the seed's client.
const LONGEST: u32 = 10 << 20;

/// What a service has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The whole answer: an object of JSON.
    pub json: String,
}

/// The frame of a GET of `url`, with a login if there is one: the same bytes each time.
#[must_use]
pub fn request(url: &str, login: Option<&(String, String)>) -> Vec<u8> {
    let login = login.map_or_else(String::new, |(user, password)| {
        format!(",\"user\":{user:?},\"password\":{password:?}")
    });
    let json = format!("{{\"url\":{url:?},\"headers\":{{}}{login}}}");
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

/// Asks once, on a connection of its own.
///
/// # Errors
/// The connection breaks, or what comes is no answer.
pub async fn ask(service: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let mut client = TcpStream::connect(service).await?;
    client.set_nodelay(true)?;
    client.write_all(request).await?;
    let len = client.read_u32().await?;
    if len > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut blob = vec![0; usize::try_from(len).unwrap_or(0)];
    client.read_exact(&mut blob).await?;
    answer(&blob).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What a blob says: `{"status_code":200,..`.
fn answer(blob: &[u8]) -> Option<Answer> {
    let (&len, rest) = blob.split_first()?;
    let (key, data) = rest.split_at_checked(usize::from(len))?;
    let data = data.iter().zip(key.iter().cycle());
    let json: Vec<u8> = data.map(|(data, key)| data ^ key).collect();
    let json = String::from_utf8_lossy(&json).into_owned();
    let digits = json.strip_prefix("{\"status_code\":")?.get(..3)?;
    let status = digits.parse().ok()?;
    Some(Answer { status, json })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_magic_and_an_answer() {
        let frame = request("http://127.0.0.1:1/", None);
        assert_eq!(frame[..8], [1, 2, 3, 4, 0x5b, 0x6f, 0x87, 0xa3]);
        let data: Vec<u8> = b"{\"status_code\":503,".iter().map(|b| b ^ 7).collect();
        let blob = [&[40][..], &[7; 40], &data].concat();
        assert_eq!(answer(&blob).unwrap().status, 503);
        assert_eq!(answer(&[200; 8]), None);
    }
}
