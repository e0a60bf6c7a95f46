//! Network namespaces of our own, two ends of a cable between them: a place to try rules in.
//!
//! A namespace lives as long as its thread; nothing is named, so nothing stays behind.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{setsockopt, sockopt};

/// Why there is no namespace.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The kernel does not give one.
    #[error("cannot make a network namespace: it needs CAP_SYS_ADMIN")]
    Unshare(#[source] io::Error),
    /// A thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// `ip` or `tc` is not installed.
    #[error("cannot run {program}: install iproute2")]
    Run {
        /// Which program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// It refused.
    #[error("{command}: {said}")]
    Refused {
        /// As it was called.
        command: String,
        /// What it said.
        said: String,
    },
    /// The namespace's thread is gone.
    #[error("the thread of the network namespace has ended")]
    Gone,
}

type Job = Box<dyn FnOnce() + Send>;

/// One namespace, with its loopback up.
#[derive(Debug)]
pub struct Namespace {
    /// Taken away to end the thread.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// The kernel's number of the thread.
    id: i32,
}

/// Addresses of one end of a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// IPv4.
    pub ipv4: IpAddr,
    /// IPv6.
    pub ipv6: IpAddr,
    /// Ethernet.
    pub hardware: &'static str,
}

/// Two namespaces and a cable: the interface is called [`Cable::INTERFACE`] in both.
#[derive(Debug)]
pub struct Cable {
    /// One side.
    pub left: Namespace,
    /// The other side.
    pub right: Namespace,
}

/// Moves the calling thread to a namespace of its own, with its loopback up.
///
/// # Errors
/// [`NetnsError`]
pub fn enter_fresh() -> Result<(), NetnsError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| NetnsError::Unshare(error.into()))?;
    command("ip", &["link", "set", "lo", "up"])
}

/// Runs a program in the namespace of the calling thread.
///
/// # Errors
/// It is not there, or says no.
pub fn command(program: &str, arguments: &[&str]) -> Result<(), NetnsError> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|source| NetnsError::Run {
        program: program.to_owned(),
        source,
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(NetnsError::Refused {
        command: format!("{program} {}", arguments.join(" ")),
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Makes `stream` use the congestion control `name`.
///
/// # Errors
/// The kernel has none of that name.
pub fn use_congestion_control(stream: &TcpStream, name: &str) -> io::Result<()> {
    let name = std::ffi::OsString::from(name);
    Ok(setsockopt(stream, sockopt::TcpCongestion, &name)?)
}

impl Namespace {
    /// A fresh one.
    ///
    /// # Errors
    /// [`NetnsError`]
    pub fn new() -> Result<Self, NetnsError> {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("netns".to_owned())
            .spawn(move || {
                let entered = enter_fresh().map(|()| nix::unistd::gettid().as_raw());
                let failed = entered.is_err();
                if tell.send(entered).is_err() || failed {
                    return;
                }
                for job in todo {
                    job();
                }
            })
            .map_err(NetnsError::Thread)?;
        let id = told.recv().map_err(|_| NetnsError::Gone)??;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            id,
        })
    }

    /// Runs `job` inside and waits for it. Sockets that it makes belong to the namespace
    /// wherever they are used later.
    ///
    /// # Errors
    /// [`NetnsError::Gone`] if an earlier job panicked.
    pub fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NetnsError> {
        let (tell, told) = mpsc::channel();
        let job = Box::new(move || {
            // Nobody waits any more if the caller is gone.
            let _ = tell.send(job());
        });
        let jobs = self.jobs.as_ref().ok_or(NetnsError::Gone)?;
        jobs.send(job).map_err(|_| NetnsError::Gone)?;
        told.recv().map_err(|_| NetnsError::Gone)
    }

    /// Runs a program inside.
    ///
    /// # Errors
    /// It is not there, or says no.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Result<(), NetnsError> {
        let program = program.to_owned();
        let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        self.run(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            command(&program, &arguments)
        })?
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A job that panicked was told to its caller.
            let _ = thread.join();
        }
    }
}

impl Cable {
    /// Name of the interface at both ends.
    pub const INTERFACE: &str = "wg0";
    /// Addresses at the left end.
    pub const LEFT: End = end(1, "02:00:00:00:00:01");
    /// Addresses at the right end.
    pub const RIGHT: End = end(2, "02:00:00:00:00:02");

    /// Two fresh namespaces with a cable between them.
    ///
    /// # Errors
    /// [`NetnsError`]
    pub fn new() -> Result<Self, NetnsError> {
        let (left, right) = (Namespace::new()?, Namespace::new()?);
        lay(|arguments| left.command("ip", arguments), &right)?;
        Ok(Self { left, right })
    }
}

impl Namespace {
    /// A fresh one at the right end of a cable, of which the calling thread's namespace has
    /// the left one.
    ///
    /// # Errors
    /// [`NetnsError`]
    pub fn connected() -> Result<Self, NetnsError> {
        let right = Self::new()?;
        lay(|arguments| command("ip", arguments), &right)?;
        Ok(right)
    }
}

/// Lays a cable to `right`; `ip` runs that program at the left end.
fn lay(
    ip: impl Fn(&[&str]) -> Result<(), NetnsError>,
    right: &Namespace,
) -> Result<(), NetnsError> {
    let (name, peer) = (Cable::INTERFACE, right.id.to_string());
    ip(&[
        "link", "add", name, "type", "veth", "peer", "name", name, "netns", &peer,
    ])?;
    set_up(&ip, Cable::LEFT, Cable::RIGHT)?;
    let right = |arguments: &[&str]| right.command("ip", arguments);
    set_up(&right, Cable::RIGHT, Cable::LEFT)
}

/// The neighbour is written down rather than asked for: nobody waits a second for an answer
/// from a cable that is just coming up, and nothing but our own packets crosses it.
fn set_up(
    ip: &impl Fn(&[&str]) -> Result<(), NetnsError>,
    own: End,
    other: End,
) -> Result<(), NetnsError> {
    let name = Cable::INTERFACE;
    let (ipv4, ipv6) = (format!("{}/24", own.ipv4), format!("{}/64", own.ipv6));
    ip(&["link", "set", name, "address", own.hardware])?;
    ip(&["link", "set", name, "addrgenmode", "none"])?;
    ip(&["addr", "add", &ipv4, "dev", name])?;
    ip(&["addr", "add", &ipv6, "dev", name, "nodad"])?;
    ip(&["link", "set", name, "up"])?;
    for address in [other.ipv4, other.ipv6] {
        let address = address.to_string();
        ip(&[
            "neigh",
            "replace",
            &address,
            "lladdr",
            other.hardware,
            "dev",
            name,
            "nud",
            "permanent",
        ])?;
    }
    Ok(())
}

const fn end(last: u8, hardware: &'static str) -> End {
    End {
        ipv4: IpAddr::V4(Ipv4Addr::new(10, 77, 0, last)),
        ipv6: IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last as u16)),
        hardware,
    }
}
