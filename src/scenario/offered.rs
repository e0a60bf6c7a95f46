//! The traffic that a scenario offers: its senders, and the traces behind some of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Component, Path, PathBuf};

use flow::{ByteSize, Timestamp};
use traffic::trace::{Recording, TraceReader};
use traffic::{AnyGenerator, Mix, Packet, Pattern, Purpose, Source, StreamSeed};

use super::{Scenario, User};

/// The recorded traces that a scenario's users send again, by the name in the file.
///
/// Two are equal if they have the same names: what they hold follows from the files.
#[derive(Clone, Debug, Default)]
pub struct Traces(BTreeMap<String, Trace>);

/// One recorded trace.
#[derive(Clone, Debug)]
struct Trace {
    path: PathBuf,
    recording: Recording,
}

/// Why a trace cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum TraceFileError {
    /// Its path leads out of the scenario's folder.
    #[error(
        "the trace \"{0}\" must lie in the scenario's folder: write a plain relative path, without `..` and links"
    )]
    Outside(String),
    /// It is not there, or is no file.
    #[error("cannot read the trace \"{file}\"")]
    Read { file: String, source: io::Error },
    /// It is not a trace.
    #[error("in the trace \"{file}\"")]
    Content {
        file: String,
        source: traffic::TraceError,
    },
}

impl PartialEq for Traces {
    fn eq(&self, other: &Self) -> bool {
        self.0.keys().eq(other.0.keys())
    }
}

impl Traces {
    /// Reads the trace `file` below `folder`, unless it has been read before.
    pub(super) fn read(
        &mut self,
        folder: Option<&Path>,
        file: &str,
    ) -> Result<&Recording, TraceFileError> {
        if !self.0.contains_key(file) {
            let trace = Trace::read(folder, file)?;
            self.0.insert(file.to_owned(), trace);
        }
        match self.0.get(file) {
            Some(trace) => Ok(&trace.recording),
            None => Err(TraceFileError::Outside(file.to_owned())),
        }
    }

    /// The recording `file`, if it belongs to the scenario.
    #[must_use]
    pub fn get(&self, file: &str) -> Option<&Recording> {
        self.0.get(file).map(|trace| &trace.recording)
    }

    /// The files, by their names in the scenario.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.0
            .iter()
            .map(|(name, trace)| (name.as_str(), trace.path.as_path()))
    }

    /// Copies every trace under its name into `folder`, so that a resolved
    /// scenario there finds it.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn copy_to(&self, folder: &Path) -> io::Result<()> {
        for (name, trace) in &self.0 {
            let copy = folder.join(name);
            if let Some(parent) = copy.parent() {
                fs::create_dir_all(parent)?;
            }
            if fs::canonicalize(&copy).ok() != fs::canonicalize(&trace.path).ok() {
                fs::copy(&trace.path, &copy)?;
            }
        }
        Ok(())
    }
}

impl Trace {
    fn read(folder: Option<&Path>, file: &str) -> Result<Self, TraceFileError> {
        let outside = || TraceFileError::Outside(file.to_owned());
        let read = |source| TraceFileError::Read {
            file: file.to_owned(),
            source,
        };
        let content = |source| TraceFileError::Content {
            file: file.to_owned(),
            source,
        };
        let path = confined(folder.ok_or_else(outside)?, file).ok_or_else(outside)?;
        let found = fs::metadata(&path).map_err(read)?;
        if !found.is_file() {
            return Err(read(io::ErrorKind::InvalidInput.into()));
        }
        let input = BufReader::new(File::open(&path).map_err(read)?);
        let reader = TraceReader::new(input).map_err(content)?;
        let recording = Recording::read(reader).map_err(content)?;
        Ok(Self { path, recording })
    }
}

/// `folder/file`, if that is below the folder for certain: no absolute path,
/// no `..`, no link on the way.
fn confined(folder: &Path, file: &str) -> Option<PathBuf> {
    let mut path = folder.to_owned();
    for component in Path::new(file).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => continue,
            _ => return None,
        }
        let linked = fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink());
        if linked {
            return None;
        }
    }
    Some(path)
}

impl Scenario {
    /// The sender of `connection` of user number `user` in `repetition`: the same
    /// for every driver and every algorithm. A user or connection that the
    /// scenario does not have sends nothing.
    #[must_use]
    pub fn generator(&self, repetition: u32, user: u32, connection: u32) -> AnyGenerator {
        let nothing = || AnyGenerator::from(traffic::trace::Recorded::new([].into()));
        let sender = usize::try_from(user)
            .ok()
            .and_then(|user| self.users.get(user));
        let Some(sender) = sender.filter(|sender| connection < sender.connections) else {
            return nothing();
        };
        if let Pattern::Trace { file, user } = &sender.pattern {
            let name = user.as_deref().unwrap_or(&sender.name);
            return self
                .traces
                .get(file)
                .and_then(|trace| Some(trace.generator(trace.user(name)?, connection).into()))
                .unwrap_or_else(nothing);
        }
        let seed = StreamSeed::derive(self.seed, repetition, user, connection, Purpose::Traffic);
        sender.pattern.generator(seed).unwrap_or_else(nothing)
    }

    /// Everything that is offered in `repetition` before the end of the run, in
    /// order of time, when nobody holds the senders up.
    pub fn offered(&self, repetition: u32) -> impl Iterator<Item = Packet> {
        let end = Timestamp::ZERO + self.duration;
        let senders = (0..).zip(&self.users).flat_map(|(user, sender)| {
            (0..sender.connections).map(move |connection| (user, connection, sender.start))
        });
        let sources = senders.map(|(user, connection, start)| Source {
            user,
            connection,
            start,
            generator: self.generator(repetition, user, connection),
        });
        Mix::new(sources).take_while(move |packet| packet.at < end)
    }

    /// The largest send of `user`.
    #[must_use]
    pub fn largest_packet(&self, user: &User) -> ByteSize {
        largest_packet(&user.pattern, &self.traces)
    }
}

/// The largest send of `pattern`.
pub(super) fn largest_packet(pattern: &Pattern, traces: &Traces) -> ByteSize {
    let recorded = || match pattern {
        Pattern::Trace { file, .. } => traces.get(file).map(Recording::largest_packet),
        _ => None,
    };
    pattern
        .largest_packet()
        .or_else(recorded)
        .unwrap_or(ByteSize::ZERO)
}

#[cfg(test)]
mod tests {
    use super::super::{Origin, Overrides, parse};
    use super::*;

    const TRACE: &str = "t_ns,size,user,connection\n10,100,a,0\n20,200,b,1\n30,300,a,0\n";
    const SCENARIO: &str = r#"
duration = "1 s"
algorithms = ["none"]
reference = { rate = "1 kB/s", burst = "1 kB" }
traffic = { pattern = "trace", file = "sub/trace.csv" }
[[user]]
name = "a"
start = "1 us"
[[user]]
name = "b"
connections = 2
"#;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("sub/trace.csv"), TRACE).unwrap();
        folder
    }

    fn scenario(
        folder: &Path,
        text: &str,
    ) -> Result<Scenario, super::super::problem::FileProblems> {
        let origin = Origin {
            shown: "test.toml",
            stem: "test",
            folder: Some(folder),
        };
        parse(text, origin, &Overrides::default())
    }

    #[test]
    fn each_user_sends_its_own_packets_of_a_shared_trace() {
        let folder = folder();
        let scenario = scenario(folder.path(), SCENARIO).unwrap();
        let packets: Vec<_> = scenario
            .offered(0)
            .map(|p| (p.at.as_nanos(), p.size.get(), p.user, p.connection))
            .collect();
        assert_eq!(
            packets,
            [(20, 200, 1, 1), (1_010, 100, 0, 0), (1_030, 300, 0, 0)]
        );
        assert_eq!(
            scenario.largest_packet(&scenario.users[0]),
            ByteSize::new(300)
        );
    }

    #[test]
    fn a_copy_of_a_scenario_finds_the_copies_of_its_traces() {
        let (folder, copy) = (folder(), tempfile::tempdir().unwrap());
        let first = scenario(folder.path(), SCENARIO).unwrap();
        first.traces.copy_to(copy.path()).unwrap();
        // Into its own folder, too: that must not empty the file.
        first.traces.copy_to(folder.path()).unwrap();
        let second = scenario(copy.path(), &first.to_toml()).unwrap();
        assert_eq!(first, second);
        assert!(first.offered(0).eq(second.offered(0)));
    }

    #[test]
    fn a_user_without_packets_is_a_mistake() {
        let text = SCENARIO.replace("name = \"b\"", "name = \"c\"");
        let mistakes = scenario(folder().path(), &text).unwrap_err();
        assert_eq!(mistakes.to_string(), "the trace has no user called \"c\"");
    }

    #[test]
    fn traces_come_from_the_scenarios_folder_and_from_nowhere_else() {
        let folder = folder();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("trace.csv"), TRACE).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
        let absolute = outside.path().join("trace.csv");
        for file in [
            absolute.to_str().unwrap(),
            "link/trace.csv",
            "../trace.csv",
            "sub/../../trace.csv",
        ] {
            let text = SCENARIO.replace("sub/trace.csv", file);
            let mistakes = scenario(folder.path(), &text).unwrap_err();
            let message = mistakes.to_string();
            assert!(
                message.contains("must lie in the scenario's folder"),
                "{message}"
            );
        }
        let text = SCENARIO.replace("sub/trace.csv", "sub");
        assert!(scenario(folder.path(), &text).is_err());
    }

    #[test]
    fn one_more_user_changes_nobody_elses_packets() {
        let text = SCENARIO.replace("\"trace\", file = \"sub/trace.csv\"", "\"bursty\"");
        let alone = text.split("[[user]]\nname = \"b\"").next().unwrap();
        let (folder, of) = (folder(), |p: &Packet| p.user == 0);
        let both = scenario(folder.path(), &text).unwrap();
        let alone = scenario(folder.path(), alone).unwrap();
        assert!(alone.offered(3).eq(both.offered(3).filter(of)));
        assert!(!alone.offered(3).eq(alone.offered(4)));
    }
}
