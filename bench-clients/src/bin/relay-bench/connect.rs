//! Connections with login: one thread, many under way, each followed by the next.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::Bench;
use crate::origin;
use crate::via::Step;

/// Nothing for so long means that something is stuck.
const STUCK: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

pub(crate) fn run(bench: &Bench, under_way: usize, duration: Duration) -> io::Result<()> {
    let mut client = Client {
        server: bench.via.address(),
        script: bench.via.script(origin::brief(bench.origin))?,
        epoll: epoll::create(CreateFlags::CLOEXEC)?,
        slots: Vec::new(),
        times: Vec::new(),
        failed: 0,
    };
    // The first login is the slow one.
    client.serve(
        under_way.min(1),
        Instant::now() + Duration::from_millis(200),
    )?;
    (client.times, client.failed) = (Vec::new(), 0);
    let before = bench.server.cpu();
    let start = Instant::now();
    client.serve(under_way, start + duration)?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = bench.server.cpu().saturating_sub(before).as_secs_f64();
    client.times.sort_unstable();
    let count = client.times.len();
    let row = format!("connections with login, {under_way} under way");
    bench.say(
        &format!("{row}, 1/s"),
        &format!("{:.0}", count as f64 / seconds),
    )?;
    bench.say(
        &format!("{row}, CPU us each"),
        &format!("{:.1}", cpu * 1e6 / count as f64),
    )?;
    let p99 = client
        .times
        .get(count * 99 / 100)
        .copied()
        .unwrap_or_default();
    bench.say(
        &format!("{row}, p99 ms"),
        &format!("{:.2}", p99.as_secs_f64() * 1e3),
    )?;
    bench.say(&format!("{row}, failed"), &client.failed.to_string())
}

struct Client {
    server: SocketAddr,
    script: Vec<Step>,
    epoll: OwnedFd,
    slots: Vec<Option<Slot>>,
    /// From the first packet to the whole reply.
    times: Vec<Duration>,
    failed: usize,
}

struct Slot {
    stream: TcpStream,
    since: Instant,
    /// The step whose reply is awaited; behind the last one, the end.
    step: usize,
    heard: Vec<u8>,
}

impl Client {
    /// Keeps `under_way` connections going until `end`, then lets them finish.
    fn serve(&mut self, under_way: usize, end: Instant) -> io::Result<()> {
        self.slots.clear();
        for index in 0..under_way {
            let slot = self.open(index)?;
            self.slots.push(slot);
        }
        let mut events = Vec::with_capacity(64);
        while self.slots.iter().any(Option::is_some) {
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&STUCK))?;
            if events.is_empty() {
                return Err(io::Error::other("no connection gets on any more"));
            }
            for event in &events {
                self.step(event.data.u64(), end)?;
            }
        }
        Ok(())
    }

    fn step(&mut self, index: u64, end: Instant) -> io::Result<()> {
        let index = usize::try_from(index).map_err(io::Error::other)?;
        let Some(place) = self.slots.get_mut(index) else {
            return Ok(());
        };
        let Some(slot) = place else { return Ok(()) };
        match slot.advance(&self.script, &mut self.times) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(_) => self.failed += 1,
        }
        *place = None;
        if Instant::now() < end {
            let next = self.open(index)?;
            if let Some(place) = self.slots.get_mut(index) {
                *place = next;
            }
        }
        Ok(())
    }

    fn open(&mut self, index: usize) -> io::Result<Option<Slot>> {
        let since = Instant::now();
        let Ok(stream) = TcpStream::connect(self.server) else {
            self.failed += 1;
            return Ok(None);
        };
        stream.set_nodelay(true)?;
        let flags = EventFlags::IN | EventFlags::ET;
        epoll::add(
            &self.epoll,
            &stream,
            EventData::new_u64(index as u64),
            flags,
        )?;
        let slot = Slot {
            stream,
            since,
            step: 0,
            heard: Vec::with_capacity(256),
        };
        slot.say(&self.script)?;
        Ok(Some(slot))
    }
}

impl Slot {
    fn say(&self, script: &[Step]) -> io::Result<()> {
        if let Some(step) = script.get(self.step) {
            rustix::net::send(&self.stream, &step.say, SendFlags::NOSIGNAL)?;
        }
        Ok(())
    }

    /// Takes what is there; true at the end.
    fn advance(&mut self, script: &[Step], times: &mut Vec<Duration>) -> io::Result<bool> {
        loop {
            let mut buffer = [0; 256];
            match rustix::net::recv(self.stream.as_fd(), &mut buffer[..], RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
                Ok((_, 0)) if self.step >= script.len() => {
                    if script.is_empty() {
                        times.push(self.since.elapsed());
                    }
                    let _ = self.stream.shutdown(Shutdown::Both);
                    return Ok(true);
                }
                Ok((_, 0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((_, len)) => self.heard.extend(buffer.get(..len).unwrap_or_default()),
            }
            if let Some(step) = script.get(self.step)
                && step.hear.whole(&self.heard)?
            {
                self.heard.clear();
                self.step += 1;
                if self.step == script.len() {
                    times.push(self.since.elapsed());
                }
                self.say(script)?;
            }
        }
    }
}
