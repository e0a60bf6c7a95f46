//! A server under test as processes: started, watched, ended.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bench_clients::dial::Endpoint;
use bench_clients::process;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::{ExternalError, LOOK};
use crate::driver::real::{Used, io_error};
use crate::scenario::{External, Process};

/// How long its port may take to open.
const STARTS_WITHIN: Duration = Duration::from_secs(20);
/// How long it may take to end when it is asked to.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// What is shown of what it said.
const SHOWN: u64 = 600;

/// A server, started here or running already.
pub(super) struct Server {
    started: Option<Started>,
    processes: process::Server,
}

/// A program and all that it starts, ended when it is dropped.
struct Started {
    child: Child,
    said: File,
    command: String,
}

impl Server {
    /// The server of `external`, which listens when this returns.
    pub(super) async fn start(external: &External) -> Result<Self, ExternalError> {
        let command = external.command.join(" ");
        let may = external.start && !external.command.is_empty();
        let address = external.via.proxy();
        let shown = address.map_or_else(String::new, Endpoint::to_string);
        if may && listens(address).await {
            return Err(ExternalError::Taken {
                address: shown,
                command,
            });
        }
        let mut started = if may {
            Some(Started::spawn(external, command)?)
        } else {
            None
        };
        let give_up = Instant::now() + STARTS_WITHIN;
        while !listens(address).await {
            if let Some(started) = &mut started {
                started.still_runs()?;
            }
            if started.is_none() || Instant::now() > give_up {
                return Err(ExternalError::Silent {
                    address: shown,
                    seconds: started.as_ref().map_or(0, |_| STARTS_WITHIN.as_secs()),
                    said: started.as_mut().map_or_else(String::new, Started::said),
                });
            }
            sleep(LOOK).await;
        }
        let pid = match &started {
            Some(started) => Some(started.child.id()),
            None => number(external)?,
        };
        Ok(Self {
            started,
            processes: process::Server(pid),
        })
    }

    pub(super) fn used(&self) -> Used {
        if self.processes.0.is_none() {
            return Used::default();
        }
        Used {
            cpu_seconds: Some(self.processes.cpu().as_secs_f64()),
            memory_bytes: Some(self.processes.memory()),
        }
    }

    /// Ends what was started here.
    pub(super) async fn stop(self) {
        let Some(mut started) = self.started else {
            return;
        };
        started.signal(Signal::TERM);
        let give_up = Instant::now() + ENDS_WITHIN;
        while matches!(started.child.try_wait(), Ok(None)) && Instant::now() < give_up {
            sleep(LOOK).await;
        }
    }
}

/// Whether `address` takes connections.
async fn listens(address: Option<&Endpoint>) -> bool {
    match address {
        Some(Endpoint::Address(address)) => TcpStream::connect(address).await.is_ok(),
        Some(Endpoint::Name(name, port)) => {
            TcpStream::connect((name.as_str(), *port)).await.is_ok()
        }
        None => false,
    }
}

/// The process that a running server is.
fn number(external: &External) -> Result<Option<u32>, ExternalError> {
    let name = match &external.process {
        None => return Ok(None),
        Some(Process::Number(pid)) => return Ok(Some(*pid)),
        Some(Process::File(name)) => name,
    };
    let path = external.folder.clone().unwrap_or_default().join(name);
    let text = std::fs::read_to_string(&path);
    let read = text.and_then(|text| text.trim().parse().map_err(io::Error::other));
    read.map(Some)
        .map_err(|source| ExternalError::Process { path, source })
}

impl Started {
    fn spawn(external: &External, command: String) -> Result<Self, ExternalError> {
        let said = tempfile::tempfile().map_err(io_error("keep what a server says"))?;
        let copy = || {
            said.try_clone()
                .map_err(io_error("keep what a server says"))
        };
        let (out, err) = (copy()?, copy()?);
        let mut words = external.command.iter();
        let folder = external.folder.clone().unwrap_or_default();
        let program = words.next().map_or("", String::as_str);
        // A path is meant from the scenario's folder, a name is looked for as a shell does.
        let program = if program.contains('/') {
            std::path::absolute(folder.join(program))
                .unwrap_or_else(|_| folder.join(program))
                .into_os_string()
        } else {
            program.into()
        };
        let mut start = Command::new(program);
        start
            .args(words)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err);
        if !folder.as_os_str().is_empty() {
            start.current_dir(&folder);
        }
        // A group of its own, so that all it starts can be ended, and Ctrl-C is ours.
        start.process_group(0);
        match start.spawn() {
            Ok(child) => Ok(Self {
                child,
                said,
                command,
            }),
            Err(source) => Err(ExternalError::Start { command, source }),
        }
    }

    fn still_runs(&mut self) -> Result<(), ExternalError> {
        match self.child.try_wait() {
            Ok(Some(status)) => Err(ExternalError::Ended {
                command: self.command.clone(),
                status,
                said: self.said(),
            }),
            _ => Ok(()),
        }
    }

    /// The end of what it said, on one line.
    fn said(&mut self) -> String {
        let mut bytes = Vec::new();
        let length = self.said.metadata().map_or(0, |data| data.len());
        let from = SeekFrom::Start(length.saturating_sub(SHOWN));
        // What cannot be read is not shown.
        let _ = self.said.seek(from);
        let _ = (&self.said).take(SHOWN).read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let words = text.split(|c: char| c.is_whitespace() || c.is_control());
        words
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = Pid::from_raw(self.child.id().cast_signed()) {
            // It may be gone.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}
