//! What a limit lets through, by when and by whom.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::PoisonError;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flow::{ByteRate, ByteSize};

use crate::Bench;
use crate::origin::{self, Ask};
use crate::windows::Series;

pub(crate) struct Plan {
    pub(crate) rate: ByteRate,
    pub(crate) burst: ByteSize,
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
    pub(crate) upload: bool,
    pub(crate) users: usize,
}

/// Bytes per second below which the origin keeps little ready.
const SLOW: u64 = 1_000_000;

/// What was sent before the end arrives until then, if the limit lets it.
const TAIL: Duration = Duration::from_millis(200);

pub(crate) fn run(bench: &Bench, plan: &Plan) -> io::Result<()> {
    let mut streams = Vec::new();
    for user in 0..plan.users {
        let via = bench.via.numbered(user);
        for _ in 0..plan.connections {
            streams.push(via.dial(bench.origin)?);
        }
    }
    thread::sleep(Duration::from_millis(200));
    let before = bench.server.cpu();
    let start = Instant::now();
    let end = start + plan.duration;
    let running: Vec<_> = streams
        .into_iter()
        .zip(0..)
        .map(|(stream, number)| {
            let run = match plan.upload {
                true => upload,
                false if plan.rate.get() < SLOW => trickle,
                false => download,
            };
            thread::Builder::new()
                .stack_size(64 << 10)
                .spawn(move || run(stream, number, end))
        })
        .collect::<io::Result<Vec<_>>>()?;
    thread::sleep(plan.duration);
    let cpu = bench.server.cpu().saturating_sub(before);
    let mut series = joined(running)?;
    if plan.upload {
        thread::sleep(TAIL);
        let mut records = bench.records.lock().unwrap_or_else(PoisonError::into_inner);
        series = (0..series.len() as u64)
            .map(|number| records.remove(&number).unwrap_or_default())
            .collect();
    }
    report(bench, plan, &series, end, cpu)
}

fn download(stream: TcpStream, _: u64, end: Instant) -> io::Result<Series> {
    ask(stream, Ask::Download, end)
}

fn trickle(stream: TcpStream, _: u64, end: Instant) -> io::Result<Series> {
    ask(stream, Ask::Trickle, end)
}

fn ask(mut stream: TcpStream, what: Ask, end: Instant) -> io::Result<Series> {
    let mut series = Series::default();
    stream.write_all(&[what as u8])?;
    origin::take(&stream, Some(end), |at, bytes| series.add(at, bytes))?;
    Ok(series)
}

/// Sends until the end; the origin keeps the record.
fn upload(mut stream: TcpStream, number: u64, end: Instant) -> io::Result<Series> {
    stream.write_all(&[Ask::Upload as u8])?;
    stream.write_all(&number.to_be_bytes())?;
    let closer = stream.try_clone()?;
    let pouring = thread::spawn(move || origin::pour(&stream));
    thread::sleep(end.saturating_duration_since(Instant::now()));
    let closed = closer.shutdown(Shutdown::Both);
    let _ = pouring.join();
    closed.map(|()| Series::default())
}

fn joined(running: Vec<JoinHandle<io::Result<Series>>>) -> io::Result<Vec<Series>> {
    let join = |handle: JoinHandle<io::Result<Series>>| {
        handle
            .join()
            .map_err(|_| io::Error::other("a connection's thread panicked"))?
    };
    running.into_iter().map(join).collect()
}

fn report(
    bench: &Bench,
    plan: &Plan,
    series: &[Series],
    end: Instant,
    cpu: Duration,
) -> io::Result<()> {
    let way = if plan.upload { "up" } else { "down" };
    let head = format!("{} {way}, {} x {}", plan.rate, plan.users, plan.connections);
    let say = |what: &str, value: String| bench.say(&format!("{head}: {what}"), &value);
    let rate = plan.rate.get() as f64;
    let seconds = plan.duration.as_secs_f64();
    let burst = plan.burst.get() as f64;
    let percent = |bytes: f64| (bytes / (rate * seconds) - 1.0) * 100.0;
    let users: Vec<Series> = series
        .chunks(plan.connections)
        .map(Series::merged)
        .collect();
    let sums: Vec<f64> = users.iter().map(|user| user.until(end) as f64).collect();
    let mean = sums.iter().sum::<f64>() / sums.len() as f64;
    say(
        "average with the start, %",
        format!("{:+.2}", percent(mean)),
    )?;
    say(
        "average after the burst, %",
        format!("{:+.2}", percent(mean - burst)),
    )?;
    if plan.users > 1 {
        let errors = sums.iter().map(|sum| percent(sum - burst));
        let worst = errors.fold(0.0, |worst: f64, error| {
            if error.abs() > worst.abs() {
                error
            } else {
                worst
            }
        });
        say("worst user after the burst, %", format!("{worst:+.2}"))?;
    }
    for (length, name) in [(100, "100 ms"), (1_000, "1 s")] {
        let length = Duration::from_millis(length);
        let most = users
            .iter()
            .map(|user| user.most_in(length))
            .max()
            .unwrap_or(0) as f64;
        let allowed = rate * length.as_secs_f64();
        say(
            &format!("worst {name}, % of rate x window"),
            format!("{:+.1}", (most / allowed - 1.0) * 100.0),
        )?;
        say(
            &format!("worst {name}, bytes above rate x window + burst"),
            format!("{:.0}", (most - allowed - burst).max(0.0)),
        )?;
    }
    if plan.connections > 1 {
        let shares: Vec<f64> = series.iter().map(|one| one.until(end) as f64).collect();
        fairness(&say, &shares)?;
    }
    if plan.connections == 1 {
        let gap = users
            .iter()
            .map(Series::longest_gap)
            .max()
            .unwrap_or_default();
        let firsts = users.iter().filter_map(Series::first);
        let start = end - plan.duration;
        let first = firsts.max().map_or(plan.duration, |at| at - start);
        say(
            "first byte after, ms",
            format!("{:.1}", first.as_secs_f64() * 1e3),
        )?;
        say("longest gap, ms", format!("{:.1}", gap.as_secs_f64() * 1e3))?;
        let piece = users.first().map_or(0, Series::median_piece);
        say("median piece, B", piece.to_string())?;
    }
    say(
        "CPU, % of a core",
        format!("{:.1}", cpu.as_secs_f64() / seconds * 100.0),
    )
}

fn fairness(say: &impl Fn(&str, String) -> io::Result<()>, shares: &[f64]) -> io::Result<()> {
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(sum, squares), share| {
        (sum + share, squares + share * share)
    });
    let count = shares.len() as f64;
    say("Jain", format!("{:.4}", sum * sum / (count * squares)))?;
    let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
    say("smallest share", format!("{:.2}", least / (sum / count)))
}
