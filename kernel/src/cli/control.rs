//! The socket through which `run` is found, and what a killed `run` leaves beside it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use kernel::config::{Format, parse};
use kernel::engine::{Engine, EngineError};
use kernel::rule::{Action, Rule, Rules};
use nix::sched::{CloneFlags, setns};

use super::Failure;

/// Begins the note: where its connections are.
const NAMESPACE: &str = "# network namespace ";

/// Our socket and the note of what was paced; both go with this value.
pub(super) struct Files<'a>(&'a Path);

/// Who is behind a control socket.
pub(super) enum Found {
    /// Nobody, and nothing.
    Nothing,
    /// A socket that nobody answers at.
    Stale,
    /// One that runs.
    Running,
}

/// Looks for a running one at `control`.
///
/// Anything else than a socket there is somebody's file, and an error.
pub(super) fn find(control: &Path) -> Result<Found, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        let text = format!("cannot use {}: {why}", control.display());
        Failure::Environment(Box::from(text))
    };
    match fs::symlink_metadata(control) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(failed(&error)),
        Ok(about) if !about.file_type().is_socket() => {
            return Err(failed(
                &"it is there, and no socket; choose another --control",
            ));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(control) {
        Ok(_) => Ok(Found::Running),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Found::Stale),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(failed(&error)),
    }
}

/// Waits for clients at `control`, of this user only.
pub(super) fn listen(control: &Path) -> Result<(UnixListener, Files<'_>), Failure> {
    let failed = |error: io::Error| {
        let text = format!("cannot listen on {}: {error}", control.display());
        Failure::Environment(Box::from(text))
    };
    let listener = UnixListener::bind(control).map_err(failed)?;
    let files = Files(control);
    fs::set_permissions(control, Permissions::from_mode(0o600)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok((listener, files))
}

/// Where it stands which connections were paced, should this process be killed.
fn note(control: &Path) -> PathBuf {
    let mut path = control.as_os_str().to_owned();
    path.push(".paced");
    path.into()
}

/// Programs and rules end with the process, however it ends; what was set on other
/// processes' sockets does not. To be written before it is set.
pub(super) fn note_paces<'a>(
    control: &Path,
    rules: impl Iterator<Item = &'a Rule>,
) -> Result<(), Failure> {
    let paces = |rule: &&Rule| matches!(rule.action, Action::Pace { .. });
    let path = note(control);
    let text: String = rules.filter(paces).map(pace_as_toml).collect();
    let written = if text.is_empty() {
        remove(&path)
    } else {
        let namespace = namespace_at(Path::new("/proc/thread-self/ns/net")).unwrap_or(0);
        fs::write(&path, format!("{NAMESPACE}{namespace}\n{text}"))
    };
    written.map_err(|error| {
        let text = format!("cannot write {}: {error}", path.display());
        Failure::Environment(Box::from(text))
    })
}

/// A rule that finds all connections that `rule` may have paced. Whose they were is forgotten
/// with the process that knew.
fn pace_as_toml(rule: &Rule) -> String {
    let matcher = &rule.matcher;
    let ports = |ports: Option<kernel::rule::Ports>| ports.map(|ports| ports.to_string());
    let fields = [
        ("remote", matcher.remote.map(|net| net.to_string())),
        ("local", matcher.local.map(|net| net.to_string())),
        ("remote_port", ports(matcher.remote_port)),
        ("local_port", ports(matcher.local_port)),
        ("rate", rule.rate().map(|rate| rate.to_string())),
    ];
    let head = "[[rule]]\nmode = \"pace\"\ndirection = \"egress\"\n";
    let lines = fields.iter().filter_map(|(key, value)| {
        let value = value.as_ref()?;
        Some(format!("{key} = \"{value}\"\n"))
    });
    head.to_owned() + &lines.collect::<String>()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes what a killed `run` left: its socket, and the pace of open connections. Refuses if
/// one is running. Whether there was anything.
pub(super) fn clean_up(control: &Path) -> Result<bool, Failure> {
    let stale = match find(control)? {
        Found::Nothing => false,
        Found::Stale => true,
        Found::Running => {
            let text = format!(
                "another `run` answers at {}: `clear` ends it",
                control.display()
            );
            return Err(Failure::Environment(Box::from(text)));
        }
    };
    if stale {
        remove(control).map_err(Failure::environment)?;
    }
    let path = note(control);
    let paced = path.exists();
    if paced {
        let text = fs::read_to_string(&path).map_err(Failure::environment)?;
        if let Ok(loaded) = parse(&text, Format::Toml) {
            let namespace = text.lines().next();
            let namespace = namespace.and_then(|line| line.strip_prefix(NAMESPACE)?.parse().ok());
            lift_in(namespace, &loaded.rules)?;
        }
        remove(&path).map_err(Failure::environment)?;
    }
    Ok(stale || paced)
}

/// Lifts what `rules` pace, in the network namespace of this number.
fn lift_in(namespace: Option<u64>, rules: &Rules) -> Result<(), Failure> {
    let lift = || {
        let mut engine = Engine::load()?;
        // Taking them in is what makes it let them go.
        engine.apply(rules)
    };
    let own = namespace_at(Path::new("/proc/thread-self/ns/net"));
    let Some(other) = namespace.filter(|number| Some(*number) != own) else {
        return lift().map_err(Failure::from);
    };
    // One that nobody is in any more has no connections, either.
    let Some(other) = find_namespace(other) else {
        return Ok(());
    };
    let lifted = std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            let entered = setns(other, CloneFlags::CLONE_NEWNET);
            entered.map_err(|error| EngineError::Io {
                what: "enter the network namespace of what was paced".to_owned(),
                source: error.into(),
            })?;
            lift()
        });
        there.join()
    });
    match lifted {
        Ok(lifted) => lifted.map_err(Failure::from),
        Err(_) => Err(Failure::Environment(Box::from("a thread has ended early"))),
    }
}

/// The number of the namespace that `path` stands for.
fn namespace_at(path: &Path) -> Option<u64> {
    Some(fs::metadata(path).ok()?.ino())
}

/// The network namespace of this number, if it has a name or a thread is in it.
fn find_namespace(number: u64) -> Option<File> {
    let entries = |folder: PathBuf| {
        let found = fs::read_dir(folder).into_iter().flatten().flatten();
        found.map(|entry| entry.path())
    };
    let threads = entries("/proc".into()).flat_map(|process| entries(process.join("task")));
    let path = entries("/run/netns".into())
        .chain(threads.map(|thread| thread.join("ns/net")))
        .find(|path| namespace_at(path) == Some(number))?;
    File::open(path).ok()
}

impl Drop for Files<'_> {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = remove(self.0);
        let _ = remove(&note(self.0));
    }
}
