//! Connections that do nothing.

use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use crate::Bench;
use crate::origin::Ask;

/// What each connection carries each way between the two looks.
const SOME: usize = 64 << 10;

pub(crate) fn run(bench: &Bench, connections: usize) -> io::Result<()> {
    // The first ones bring what is there once.
    let _first = (0..16)
        .map(|_| bench.via.dial(bench.origin))
        .collect::<io::Result<Vec<_>>>()?;
    thread::sleep(Duration::from_millis(300));
    let (memory, descriptors) = (bench.server.memory(), bench.server.descriptors());
    let mut streams = Vec::with_capacity(connections);
    while streams.len() < connections {
        match bench.via.dial(bench.origin) {
            Ok(stream) => streams.push(stream),
            Err(error) if streams.len() > connections / 2 => {
                bench.say(
                    "connections until the first refusal",
                    &streams.len().to_string(),
                )?;
                let _ = writeln!(io::stderr(), "{error}");
                break;
            }
            Err(error) => return Err(error),
        }
    }
    let say = |row: &str| {
        thread::sleep(Duration::from_millis(500));
        let grown = bench.server.memory().saturating_sub(memory) as f64;
        let each = grown / 1_000.0 / streams.len() as f64;
        bench.say(
            &format!("memory per idle connection, {row}, kB"),
            &format!("{each:.1}"),
        )
    };
    say("fresh")?;
    let opened = bench.server.descriptors().saturating_sub(descriptors);
    bench.say(
        "descriptors per idle connection",
        &format!("{:.1}", opened as f64 / streams.len() as f64),
    )?;
    let (block, mut back) = (vec![0x5a; SOME], vec![0; SOME]);
    for mut stream in &streams {
        stream.write_all(&[Ask::Echo as u8])?;
        stream.write_all(&block)?;
        stream.read_exact(&mut back)?;
    }
    say("after 64 KiB each way")
}
