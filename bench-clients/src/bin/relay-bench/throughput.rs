//! Downloads, or uploads, as fast as they go.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::origin::{self, Ask};
use crate::windows::Series;

/// Before anything counts: windows and pipes have grown then.
const WARM_UP: Duration = Duration::from_millis(500);

pub(crate) fn run(
    bench: &Bench,
    connections: usize,
    duration: Duration,
    upload: bool,
) -> io::Result<()> {
    let streams = (0..connections)
        .map(|_| bench.via.dial(bench.origin))
        .collect::<io::Result<Vec<_>>>()?;
    let measured = match upload {
        true => uploads(bench, streams, duration),
        false => downloads(bench, streams, duration),
    };
    let (bytes, cpu) = measured?;
    let gigabytes = bytes as f64 / 1e9;
    let rate = gigabytes * 8.0 / duration.as_secs_f64();
    let row = format!(
        "relay, {connections} {}{}",
        if upload { "upload" } else { "download" },
        if connections == 1 { "" } else { "s" }
    );
    bench.say(&format!("{row}, Gbit/s"), &format!("{rate:.1}"))?;
    bench.say(
        &format!("{row}, CPU s/GB"),
        &format!("{:.3}", cpu.as_secs_f64() / gigabytes),
    )
}

/// Bytes that have come, and what the server spent meanwhile.
fn downloads(
    bench: &Bench,
    streams: Vec<TcpStream>,
    duration: Duration,
) -> io::Result<(u64, Duration)> {
    for mut stream in &streams {
        stream.write_all(&[Ask::Download as u8])?;
    }
    let start = Instant::now() + WARM_UP;
    let end = start + duration;
    let readers: Vec<_> = streams
        .into_iter()
        .map(|stream| {
            thread::spawn(move || {
                origin::take(&stream, Some(start), |_, _| ())?;
                let mut series = Series::default();
                origin::take(&stream, Some(end), |at, bytes| series.add(at, bytes))?;
                Ok::<_, io::Error>(series.until(end))
            })
        })
        .collect();
    thread::sleep(start.saturating_duration_since(Instant::now()));
    let before = bench.server.cpu();
    let mut bytes = 0;
    for reader in readers {
        let read = reader
            .join()
            .map_err(|_| io::Error::other("a reader panicked"))?;
        bytes += read?;
    }
    Ok((bytes, bench.server.cpu().saturating_sub(before)))
}

/// Bytes that have come to the origin, and what the server spent meanwhile.
fn uploads(
    bench: &Bench,
    streams: Vec<TcpStream>,
    duration: Duration,
) -> io::Result<(u64, Duration)> {
    let mut closers = Vec::new();
    for (mut stream, number) in streams.into_iter().zip(0_u64..) {
        stream.write_all(&[Ask::Upload as u8])?;
        stream.write_all(&number.to_be_bytes())?;
        closers.push(stream.try_clone()?);
        // Ends, with an error, when the connection is shut.
        thread::spawn(move || origin::pour(&stream));
    }
    thread::sleep(WARM_UP);
    let (start, before) = (Instant::now(), bench.server.cpu());
    thread::sleep(duration);
    let (end, after) = (Instant::now(), bench.server.cpu());
    for stream in closers {
        // One that is broken already is not missed.
        let _ = stream.shutdown(Shutdown::Both);
    }
    let records = bench.records.lock().unwrap_or_else(PoisonError::into_inner);
    let arrived = records
        .values()
        .map(|series| series.until(end) - series.until(start));
    Ok((arrived.sum(), after.saturating_sub(before)))
}
