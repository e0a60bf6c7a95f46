//! Real flows from the namespace at the far end of a cable to this one.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use kernel::engine::{Counts, Engine};
use kernel::netns::{Cable, Namespace};

/// Longer than any wait below should be.
const PATIENCE: Duration = Duration::from_millis(200);

/// Which protocol, and where its receiver listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Udp,
}

/// One sender and one receiver, at work until they are dropped.
pub(crate) struct Flow {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
    /// The sender's socket, of a TCP flow.
    pub(crate) stream: Option<TcpStream>,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// The far side, so that packets come in here.
    Far,
    /// This side.
    Here,
}

/// Bytes of the payload of a datagram.
pub(crate) const DATAGRAM: usize = 1_000;

impl Flow {
    /// As much as goes through, from `from` to the other side's `port`.
    pub(crate) fn flood(far: &Namespace, kind: Kind, from: From, port: u16, ipv6: bool) -> Self {
        let pick = |end: kernel::netns::End| if ipv6 { end.ipv6 } else { end.ipv4 };
        let (here, there) = (pick(Cable::LEFT), pick(Cable::RIGHT));
        match kind {
            Kind::Tcp => Self::tcp(far, from, here, there, port),
            Kind::Udp => Self::udp(far, from, here, there, port),
        }
    }

    fn new() -> Self {
        Self {
            stop: Arc::default(),
            sent: Arc::default(),
            received: Arc::default(),
            threads: Vec::new(),
            stream: None,
        }
    }

    fn tcp(far: &Namespace, from: From, here: IpAddr, there: IpAddr, port: u16) -> Self {
        let mut flow = Self::new();
        let (receiver, sender) = match from {
            From::Far => {
                let listener = TcpListener::bind((here, port)).unwrap();
                let sender = far.run(move || TcpStream::connect((here, port)).unwrap());
                (listener.accept().unwrap().0, sender.unwrap())
            }
            From::Here => {
                let listener = far.run(move || TcpListener::bind((there, port)).unwrap());
                let sender = TcpStream::connect((there, port)).unwrap();
                (listener.unwrap().accept().unwrap().0, sender)
            }
        };
        sender.set_write_timeout(Some(PATIENCE)).unwrap();
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        flow.stream = Some(sender.try_clone().unwrap());
        let (stop, sent) = (Arc::clone(&flow.stop), Arc::clone(&flow.sent));
        flow.threads.push(std::thread::spawn(move || {
            let block = [7; 16 << 10];
            while !stop.load(Ordering::Relaxed) {
                if let Ok(count) = (&sender).write(&block) {
                    sent.fetch_add(count as u64, Ordering::Relaxed);
                }
            }
        }));
        let (stop, received) = (Arc::clone(&flow.stop), Arc::clone(&flow.received));
        flow.threads.push(std::thread::spawn(move || {
            let mut block = [0; 64 << 10];
            while !stop.load(Ordering::Relaxed) {
                if let Ok(count) = (&receiver).read(&mut block) {
                    received.fetch_add(count as u64, Ordering::Relaxed);
                }
            }
        }));
        flow
    }

    fn udp(far: &Namespace, from: From, here: IpAddr, there: IpAddr, port: u16) -> Self {
        let mut flow = Self::new();
        let bind = |at: SocketAddr| move || UdpSocket::bind(at).unwrap();
        // Unconnected, on any address: the hardest to tell whose it is.
        let any = |like: IpAddr| -> SocketAddr {
            if like.is_ipv4() {
                ([0; 4], port).into()
            } else {
                ([0_u16; 8], port).into()
            }
        };
        let (receiver, sender, to) = match from {
            From::Far => {
                let sender = far.run(bind((there, 0).into())).unwrap();
                (bind(any(here))(), sender, SocketAddr::new(here, port))
            }
            From::Here => {
                let receiver = far.run(bind(any(there))).unwrap();
                (
                    receiver,
                    bind((here, 0).into())(),
                    SocketAddr::new(there, port),
                )
            }
        };
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        let (stop, sent) = (Arc::clone(&flow.stop), Arc::clone(&flow.sent));
        flow.threads.push(std::thread::spawn(move || {
            let datagram = [7; DATAGRAM];
            while !stop.load(Ordering::Relaxed) {
                // 40 MB/s: far above every limit here, and gentle with the machine.
                for _ in 0..40 {
                    let count = sender
                        .send_to(&datagram, to)
                        .expect("no error to the sender");
                    sent.fetch_add(count as u64, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }));
        let (stop, received) = (Arc::clone(&flow.stop), Arc::clone(&flow.received));
        flow.threads.push(std::thread::spawn(move || {
            let mut datagram = [0; 2 * DATAGRAM];
            let mut stopping = false;
            // What is still in the socket's buffer at the end counts too.
            loop {
                match receiver.recv_from(&mut datagram) {
                    Ok((count, _)) => {
                        received.fetch_add(count as u64, Ordering::Relaxed);
                    }
                    Err(_) if stopping => break,
                    Err(_) => stopping = stop.load(Ordering::Relaxed),
                }
            }
        }));
        flow
    }

    /// Bytes that the sender has handed over.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes that have arrived.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Ends both sides; what was sent and received in all.
    pub(crate) fn end(mut self) -> (u64, u64) {
        self.finish();
        (self.sent(), self.received())
    }

    fn finish(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.finish();
        }
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The counts of rule number `index`.
pub(crate) fn counts(engine: &Engine, index: usize) -> Counts {
    engine.counts().unwrap()[index].counts
}

/// Bytes a second that rule number `index` let through for a while, by the kernel's clock.
pub(crate) fn passed_rate(engine: &Engine, index: usize, span: Duration) -> f64 {
    let before = counts(engine, index);
    std::thread::sleep(span);
    let after = counts(engine, index);
    let bytes = after.passed.bytes - before.passed.bytes;
    let nanos = after.seen_at.saturating_sub(before.seen_at).max(1);
    bytes as f64 * 1e9 / nanos as f64
}
