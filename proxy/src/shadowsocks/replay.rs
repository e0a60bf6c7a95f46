//! What was sent before is not served again.
//!
//! The first 16 bytes of every session and datagram that was authentic, and of
//! every salt of our own, are remembered: at least the last [`Replay::capacity`]
//! of them, without false alarms. In a file they outlive the process: each is
//! written before its session is served, so a killed process forgets none. (The
//! machine's own crash may lose the last; the 2022 edition's clock bounds that.)

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

/// What is remembered of one.
pub(super) type Mark = [u8; 16];

/// Marks of sessions, or of datagrams.
#[derive(Debug)]
pub(super) struct Replay {
    capacity: usize,
    generations: Mutex<Generations>,
}

#[derive(Debug)]
struct Generations {
    current: HashSet<Mark>,
    previous: HashSet<Mark>,
    files: Option<Files>,
}

/// `path` holds the current generation, `path.old` the one before.
#[derive(Debug)]
struct Files {
    path: PathBuf,
    current: File,
    failed: bool,
}

impl Replay {
    /// Marks that are in memory alone.
    pub(super) fn in_memory(capacity: usize) -> Self {
        Self::new(capacity, HashSet::new(), HashSet::new(), None)
    }

    /// Marks that are kept in a file, which is made if there is none, for its
    /// owner alone.
    pub(super) fn open(path: &Path, capacity: usize) -> io::Result<Self> {
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder)?;
        }
        let previous = read(&old(path))?;
        let current = read(path)?;
        let files = Files {
            path: path.to_owned(),
            current: append(path, current.len())?,
            failed: false,
        };
        Ok(Self::new(capacity, current, previous, Some(files)))
    }

    fn new(
        capacity: usize,
        current: HashSet<Mark>,
        previous: HashSet<Mark>,
        files: Option<Files>,
    ) -> Self {
        Self {
            capacity: capacity.max(1),
            generations: Mutex::new(Generations {
                current,
                previous,
                files,
            }),
        }
    }

    /// Whether nobody has sent this before; from now on somebody has.
    pub(super) fn is_new(&self, mark: Mark) -> bool {
        let mut generations = self.generations.lock();
        if generations.previous.contains(&mark) || !generations.current.insert(mark) {
            return false;
        }
        generations.write(mark);
        if generations.current.len() >= self.capacity {
            generations.turn();
        }
        true
    }
}

impl Generations {
    fn write(&mut self, mark: Mark) {
        let Some(files) = &mut self.files else {
            return;
        };
        if let Err(error) = files.current.write_all(&mark) {
            files.complain(&error);
        }
    }

    /// The current generation is the one before from now on.
    fn turn(&mut self) {
        self.previous = std::mem::take(&mut self.current);
        if let Some(files) = &mut self.files
            && let Err(error) = files.turn()
        {
            files.complain(&error);
        }
    }
}

impl Files {
    fn turn(&mut self) -> io::Result<()> {
        std::fs::rename(&self.path, old(&self.path))?;
        self.current = append(&self.path, 0)?;
        Ok(())
    }

    /// Says once that a restart will forget.
    fn complain(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.failed, true) {
            let path = self.path.display();
            tracing::error!(%path, %error, "salts cannot be written: after a restart, recordings could be served");
        }
    }
}

fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".old");
    name.into()
}

/// The marks of a file; none if there is none. A torn last one is left out.
fn read(path: &Path) -> io::Result<HashSet<Mark>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(bytes.as_chunks().0.iter().copied().collect())
}

/// The file to write to, cut to whole marks.
fn append(path: &Path, marks: usize) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let whole = file.metadata()?.len() / 16 * 16;
    if marks == 0 || file.metadata()?.len() != whole {
        file.set_len(if marks == 0 { 0 } else { whole })?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: usize) -> Mark {
        let mut mark = [0; 16];
        mark[..8].copy_from_slice(&number.to_be_bytes());
        mark
    }

    #[test]
    fn the_last_ones_are_remembered_and_memory_is_bounded() {
        let replay = Replay::in_memory(100);
        for number in 0..1_000 {
            assert!(replay.is_new(mark(number)));
            for back in 0..100.min(number) {
                assert!(!replay.is_new(mark(number - back)), "{number} - {back}");
            }
        }
        let generations = replay.generations.lock();
        assert!(generations.current.len() + generations.previous.len() <= 200);
    }

    #[test]
    fn a_restart_forgets_nothing_and_a_torn_write_harms_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/if/missing/salts");
        for round in 0..5 {
            let replay = Replay::open(&path, 100).unwrap();
            for number in 0..round * 30 {
                let recent = number + 100 >= round * 30;
                assert!(!recent || !replay.is_new(mark(number)), "{round} {number}");
            }
            for number in round * 30..(round + 1) * 30 {
                assert!(replay.is_new(mark(number)));
            }
            drop(replay);
            let mut file = OpenOptions::new().append(true).open(&path).unwrap();
            file.write_all(b"torn").unwrap();
        }
        let bytes = std::fs::metadata(&path).unwrap().len();
        assert!(bytes <= 101 * 16, "{bytes}");
    }

    #[test]
    fn of_many_who_send_the_same_at_once_one_is_served() {
        let replay = Replay::in_memory(1_000);
        let served: usize = std::thread::scope(|scope| {
            let one = || scope.spawn(|| (0..500).filter(|&n| replay.is_new(mark(n))).count());
            let threads: Vec<_> = (0..8).map(|_| one()).collect();
            threads.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(served, 500);
    }
}
