//! There and back, beside the same without the server.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use flow::ByteSize;

use crate::Bench;
use crate::origin::Ask;
use crate::via::Via;

/// The two are measured by turns in so many parts, so that both see the same machine.
const PARTS: usize = 20;

pub(crate) fn run(bench: &Bench, size: ByteSize, rounds: usize) -> io::Result<()> {
    let len = usize::try_from(size.get())
        .map_err(io::Error::other)?
        .max(1);
    let open = |via: &Via| {
        let mut stream = via.dial(bench.origin)?;
        stream.write_all(&[Ask::Echo as u8])?;
        Ok::<_, io::Error>(stream)
    };
    let mut through = open(&bench.via)?;
    let mut straight = open(&Via::Forward(bench.origin))?;
    let mut times = [Vec::with_capacity(rounds), Vec::with_capacity(rounds)];
    for _ in 0..PARTS {
        for (stream, times) in [&mut through, &mut straight].into_iter().zip(&mut times) {
            for _ in 0..rounds.div_ceil(PARTS) {
                times.push(round(stream, len)?);
            }
        }
    }
    let [through, straight] = times.map(|mut times| {
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    });
    // A round goes through the server twice.
    let added = (through.as_secs_f64() - straight.as_secs_f64()) / 2.0 * 1e6;
    bench.say(
        &format!("added latency, {len} B, us"),
        &format!("{added:.1}"),
    )?;
    let whole = straight.as_secs_f64() / 2.0 * 1e6;
    bench.say(
        &format!("latency without a proxy, {len} B, us"),
        &format!("{whole:.1}"),
    )
}

fn round(stream: &mut TcpStream, len: usize) -> io::Result<Duration> {
    let mut buffer = vec![0x5a; len];
    let start = Instant::now();
    stream.write_all(&buffer)?;
    stream.read_exact(&mut buffer)?;
    Ok(start.elapsed())
}
