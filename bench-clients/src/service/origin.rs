//! An HTTP/1.1 origin on loopback that takes for every request the time that it is told.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flow::{Nanos, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::Clock;
use crate::pace::{Pacer, Wait};
use crate::task::Task;

/// The longest head of a request.
const HEAD: usize = 16 << 10;
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nhello, world\n";

/// Serves until it is dropped.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    state: Arc<State>,
    _serving: Task<()>,
}

#[derive(Debug)]
struct State {
    clock: Clock,
    /// By number of the request; the last one goes for all beyond.
    times: Arc<[Nanos]>,
    /// When each has come, and one nanosecond; 0: it has not.
    began: Box<[AtomicU64]>,
}

impl Origin {
    /// Listens on a free port of the loopback address. A request of the path `/n`
    /// takes the n-th of `times`.
    ///
    /// # Errors
    /// The system gives no port.
    pub async fn start(clock: Clock, times: Arc<[Nanos]>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let began = times.iter().map(|_| AtomicU64::new(0)).collect();
        let state = Arc::new(State {
            clock,
            times,
            began,
        });
        let serving = Task::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self {
            address,
            state,
            _serving: serving,
        })
    }

    /// The URL of request number `number`.
    #[must_use]
    pub fn url(&self, number: usize) -> String {
        format!("http://{}/{number}", self.address)
    }

    /// When request number `number` has come; `None` if it has not.
    #[must_use]
    pub fn began(&self, number: usize) -> Option<Timestamp> {
        let nanos = self.state.began.get(number)?.load(Ordering::Relaxed);
        nanos.checked_sub(1).map(Timestamp::from_nanos)
    }
}

impl State {
    /// Marks that request number `number` has come; when it will be done.
    fn begin(&self, number: usize) -> Timestamp {
        let now = self.clock.now();
        if let Some(began) = self.began.get(number) {
            began.store(now.as_nanos().saturating_add(1), Ordering::Relaxed);
        }
        let time = self.times.get(number).or(self.times.last());
        now + time.copied().unwrap_or(Nanos::ZERO)
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut clients = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        clients.spawn(serve(client, Arc::clone(&state)));
        while clients.try_join_next().is_some() {}
    }
}

async fn serve(mut client: TcpStream, state: Arc<State>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut pacer = Pacer::new(state.clock, Wait::Timer)?;
    let mut heard = Vec::new();
    loop {
        while !heard.ends_with(b"\r\n\r\n") {
            if client.read_buf(&mut heard).await? == 0 || heard.len() > HEAD {
                return Ok(());
            }
        }
        let done = state.begin(number(&heard));
        heard.clear();
        pacer.until(done).await?;
        client.write_all(ANSWER).await?;
    }
}

/// That of `GET /12 HTTP/1.1`; 0 of any other path.
fn number(head: &[u8]) -> usize {
    let path = head.split(|&byte| byte == b' ').nth(1);
    let digits = path.and_then(|path| str::from_utf8(path.strip_prefix(b"/")?).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_number() {
        assert_eq!(number(b"GET /12 HTTP/1.1\r\n\r\n"), 12);
        for head in [&b"GET / HTTP/1.1\r\n"[..], b"GET", b"", b"GET /x y\r\n"] {
            assert_eq!(number(head), 0);
        }
    }

    #[tokio::test]
    async fn each_request_takes_its_time() {
        let clock = Clock::starting_now();
        let times = Arc::from([Nanos::ZERO, Nanos::from_millis(20)]);
        let origin = Origin::start(clock, times).await.unwrap();
        let mut client = TcpStream::connect(origin.address).await.unwrap();
        for number in [0, 1, 7] {
            let head = format!("GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n");
            client.write_all(head.as_bytes()).await.unwrap();
            let mut answer = vec![0; ANSWER.len()];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, ANSWER);
        }
        let began = origin.began(1).unwrap();
        // The one beyond takes as long as the last.
        assert!(clock.now() >= began + Nanos::from_millis(40));
        assert_eq!(origin.began(7), None);
    }
}
