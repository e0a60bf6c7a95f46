//! Downloads as fast as they go.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::origin::{self, Ask};
use crate::windows::Series;

/// Before anything counts: windows and pipes have grown then.
const WARM_UP: Duration = Duration::from_millis(500);

pub(crate) fn run(bench: &Bench, connections: usize, duration: Duration) -> io::Result<()> {
    let streams = (0..connections)
        .map(|_| {
            let mut stream = bench.via.dial(bench.origin)?;
            stream.write_all(&[Ask::Download as u8])?;
            Ok(stream)
        })
        .collect::<io::Result<Vec<_>>>()?;
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
    let cpu = bench.server.cpu().saturating_sub(before).as_secs_f64();
    let gigabytes = bytes as f64 / 1e9;
    let rate = gigabytes * 8.0 / duration.as_secs_f64();
    let row = format!(
        "relay, {connections} download{}",
        if connections == 1 { "" } else { "s" }
    );
    bench.say(&format!("{row}, Gbit/s"), &format!("{rate:.1}"))?;
    bench.say(
        &format!("{row}, CPU s/GB"),
        &format!("{:.3}", cpu / gigabytes),
    )
}
