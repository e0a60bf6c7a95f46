//! Usage on disk while the database is away, so that a process that is killed then
//! loses no more than one that is killed at any other time.
//!
//! A file of one process for one database, made when the database first fails and
//! removed when it has everything. An entry is what was counted since the one before
//! it, under a number; the numbers are those of the writes to the database, so that
//! what a write has brought there, up to its number, is not brought there again: the
//! database says which number it has last seen of which process. Whoever starts next
//! brings over what a process has left behind, in the same way, exactly once.
//!
//! ```text
//! file  = "weirgate usage 1\n" *entry
//! entry = length of the body, CRC-32C of the body (u32 each), body
//! body  = number, seconds since 1970 (i64 each), *(user id, first instant of the
//!         period in seconds since 1970, bytes up, bytes down; 64 bits each)
//! ```
//!
//! All little-endian. An entry counts if it is whole; each is synced to the disk.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::Usage;
use super::calendar::Moment;
use super::store::Delta;

/// How the names of files end that are being written.
const UNFINISHED: &str = ".new";
const MAGIC: &[u8] = b"weirgate usage 1\n";
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
/// A file that has grown so far is written anew with less in it.
const LARGE: u64 = 8 << 20;
/// The longest file that is read.
const LONGEST: u64 = 1 << 30;

/// What was counted, as one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The number.
    pub(crate) sequence: i64,
    /// When it was written.
    pub(crate) at: Moment,
    /// Of whom what.
    pub(crate) deltas: Vec<Delta>,
}

/// Which entries the database may have already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reached {
    /// The last number that it has for certain.
    pub(super) done: i64,
    /// A later one that it may have, with all between.
    pub(super) doubtful: Option<i64>,
}

/// The journal of this process.
#[derive(Clone, Debug)]
pub(super) struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    /// `usage-DATABASE-`, with which the names of all that are for it begin.
    prefix: String,
    writer: String,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    /// Locked as long as the process lives.
    file: File,
    len: u64,
    /// The largest number in it.
    last: i64,
    /// The length from which on it is written anew.
    large: u64,
}

/// What a process that is gone has left behind.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) writer: String,
    pub(super) entries: Vec<Entry>,
    path: PathBuf,
    /// Locked, so that nobody else brings it over.
    _file: File,
}

impl Journal {
    /// For the database called `identity`, of the process called `writer`.
    pub(super) fn new(folder: &Path, identity: &str, writer: &str) -> Self {
        Self(Arc::new(Inner {
            folder: folder.to_owned(),
            prefix: format!("usage-{identity}-"),
            writer: writer.to_owned(),
            open: Mutex::new(None),
        }))
    }

    /// Adds entries and has them on the disk, all of them or none.
    pub(super) async fn append(&self, entries: Vec<Entry>, reached: Reached) -> io::Result<()> {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || inner.append(&entries, reached)).await;
        done.map_err(io::Error::other)?
    }

    /// The database has everything up to the number `sequence`.
    pub(super) async fn clear(&self, sequence: i64) -> io::Result<()> {
        let stale =
            move |open: &Option<Open>| open.as_ref().is_some_and(|open| open.last <= sequence);
        if !stale(&self.0.open.lock()) {
            return Ok(());
        }
        let inner = Arc::clone(&self.0);
        let remove = move || {
            let mut open = inner.open.lock();
            if stale(&open) {
                *open = None;
                std::fs::remove_file(inner.path())?;
            }
            Ok(())
        };
        let done = tokio::task::spawn_blocking(remove).await;
        done.map_err(io::Error::other)?
    }

    /// What processes that are gone have left behind for the same database.
    pub(super) async fn left(&self) -> io::Result<Vec<Left>> {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || inner.left()).await;
        done.map_err(io::Error::other)?
    }
}

impl Inner {
    fn path(&self) -> PathBuf {
        self.folder
            .join(format!("{}{}.journal", self.prefix, self.writer))
    }

    fn append(&self, entries: &[Entry], reached: Reached) -> io::Result<()> {
        let mut place = self.open.lock();
        let open = match place.as_mut() {
            Some(open) => open,
            None => place.insert(self.write_anew(&[])?),
        };
        if open.len >= open.large {
            let mut file = File::open(self.path())?;
            *open = self.write_anew(&merged(read(&mut file)?, reached))?;
        }
        let bytes: Vec<u8> = entries.iter().flat_map(encode).collect();
        // What an append that failed has left is cut off.
        open.file.set_len(open.len)?;
        open.file.seek(SeekFrom::Start(open.len))?;
        open.file.write_all(&bytes)?;
        open.file.sync_data()?;
        open.len += u64::try_from(bytes.len()).map_err(io::Error::other)?;
        let last = entries.iter().map(|entry| entry.sequence).max();
        open.last = open.last.max(last.unwrap_or_default());
        Ok(())
    }

    /// The file with these entries and no others. It has its name only when it is
    /// locked and whole; what does not come so far is removed.
    fn write_anew(&self, entries: &[Entry]) -> io::Result<Open> {
        std::fs::create_dir_all(&self.folder)?;
        let new = self
            .folder
            .join(format!("{}{}{UNFINISHED}", self.prefix, self.writer));
        let mut bytes = MAGIC.to_vec();
        bytes.extend(entries.iter().flat_map(encode));
        let written = write_locked(&new, &bytes)
            .and_then(|file| std::fs::rename(&new, self.path()).map(|()| file));
        let file = written.inspect_err(|_| {
            // The failure to write is the one to tell of.
            let _ = std::fs::remove_file(&new);
        })?;
        #[cfg(unix)]
        File::open(&self.folder)?.sync_all()?;
        let len = u64::try_from(bytes.len()).map_err(io::Error::other)?;
        let last = entries.iter().map(|entry| entry.sequence).max();
        Ok(Open {
            file,
            len,
            last: last.unwrap_or_default(),
            large: len.saturating_mul(2).max(LARGE),
        })
    }

    fn left(&self) -> io::Result<Vec<Left>> {
        let mut all = Vec::new();
        let found = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(all),
            found => found?,
        };
        for found in found {
            let name = found?.file_name();
            let Some(name) = name
                .to_str()
                .and_then(|name| name.strip_prefix(&self.prefix))
            else {
                continue;
            };
            let path = self.folder.join(format!("{}{name}", self.prefix));
            if name.ends_with(UNFINISHED)
                && let Err(error) = remove_unfinished(&path)
            {
                tracing::warn!(%error, path = %path.display(), "an unfinished journal of usage cannot be removed");
            }
            if let Some(writer) = name.strip_suffix(".journal") {
                match left(writer, &path) {
                    Ok(left) => all.extend(left),
                    Err(error) => {
                        tracing::error!(%error, path = %path.display(), "a journal of usage cannot be read");
                    }
                }
            }
        }
        Ok(all)
    }
}

/// A new file with these bytes, locked and on the disk.
fn write_locked(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.try_lock().map_err(io::Error::from)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(file)
}

/// Removes a file that a process which is gone had not finished: what was to be in
/// it is in the one that it was to replace, if it was on the disk at all.
fn remove_unfinished(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(()),
        locked => {
            locked.map_err(io::Error::from)?;
            std::fs::remove_file(path)
        }
    }
}

/// What is in the file of a process that is gone; nothing if it is not gone.
fn left(writer: &str, path: &Path) -> io::Result<Option<Left>> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        locked => locked.map_err(io::Error::from)?,
    }
    if !is_at(&file, path)? {
        // Another one has taken its place between the two.
        return Ok(None);
    }
    let entries = read(&mut file)?;
    Ok(Some(Left {
        writer: writer.to_owned(),
        entries,
        path: path.to_owned(),
        _file: file,
    }))
}

/// Whether `file` is what is called `path` now.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (ours, theirs) = (file.metadata()?, path.metadata()?);
    Ok((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()))
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> io::Result<bool> {
    path.try_exists()
}

impl Left {
    /// Removes the file: the database has what is in it.
    pub(super) fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn encode(entry: &Entry) -> Vec<u8> {
    let mut body = Vec::with_capacity(16 + 32 * entry.deltas.len());
    body.extend(entry.sequence.to_le_bytes());
    body.extend(entry.at.unix_seconds().to_le_bytes());
    for delta in &entry.deltas {
        body.extend(delta.id.to_le_bytes());
        body.extend(delta.period_start.unix_seconds().to_le_bytes());
        body.extend(delta.usage.upload_bytes.to_le_bytes());
        body.extend(delta.usage.download_bytes.to_le_bytes());
    }
    // As many users as have an id in memory.
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut bytes = len.to_le_bytes().to_vec();
    bytes.extend(CRC.checksum(&body).to_le_bytes());
    bytes.extend(body);
    bytes
}

/// The whole entries of a file.
fn read(file: &mut File) -> io::Result<Vec<Entry>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(LONGEST).read_to_end(&mut bytes)?;
    let (entries, rest) = parse(&bytes)?;
    if rest > 0 {
        tracing::warn!(
            bytes = rest,
            "a journal of usage ends in what is no entry: it was being written"
        );
    }
    Ok(entries)
}

/// The entries of a file, and how many bytes are left over.
fn parse(bytes: &[u8]) -> io::Result<(Vec<Entry>, usize)> {
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
        let error = "it is not of this program's version";
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    };
    let mut entries = Vec::new();
    while let Some((entry, later)) = next(rest) {
        entries.push(entry);
        rest = later;
    }
    Ok((entries, rest.len()))
}

fn next(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let (body, later) = rest.split_at_checked(len)?;
    if CRC.checksum(body) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (head, deltas) = body.split_first_chunk::<16>()?;
    let (numbers, _) = head.as_chunks::<8>();
    let [sequence, at] = *numbers else {
        return None;
    };
    let (deltas, left) = deltas.as_chunks::<32>();
    if !left.is_empty() {
        return None;
    }
    let entry = Entry {
        sequence: i64::from_le_bytes(sequence),
        at: Moment::from_unix_seconds(i64::from_le_bytes(at)),
        deltas: deltas.iter().filter_map(delta).collect(),
    };
    Some((entry, later))
}

fn delta(bytes: &[u8; 32]) -> Option<Delta> {
    let (words, _) = bytes.as_chunks::<8>();
    let [id, period_start, up, down] = *words else {
        return None;
    };
    Some(Delta {
        id: i64::from_le_bytes(id),
        usage: Usage {
            upload_bytes: u64::from_le_bytes(up),
            download_bytes: u64::from_le_bytes(down),
        },
        period_start: Moment::from_unix_seconds(i64::from_le_bytes(period_start)),
    })
}

/// The same in at most two entries: what the database may have, and what it has not.
fn merged(entries: Vec<Entry>, reached: Reached) -> Vec<Entry> {
    let doubtful = reached.doubtful.unwrap_or(reached.done);
    let entries = entries.into_iter().filter(|it| it.sequence > reached.done);
    let (perhaps, missing): (Vec<_>, Vec<_>) = entries.partition(|it| it.sequence <= doubtful);
    [perhaps, missing].into_iter().filter_map(sum).collect()
}

fn sum(entries: Vec<Entry>) -> Option<Entry> {
    let sequence = entries.iter().map(|entry| entry.sequence).max()?;
    let at = entries.iter().map(|entry| entry.at).max()?;
    let mut sums: BTreeMap<(i64, Moment), Usage> = BTreeMap::new();
    for delta in entries.into_iter().flat_map(|entry| entry.deltas) {
        let sum = sums.entry((delta.id, delta.period_start)).or_default();
        *sum = *sum + delta.usage;
    }
    let delta = |((id, period_start), usage)| Delta {
        id,
        usage,
        period_start,
    };
    Some(Entry {
        sequence,
        at,
        deltas: sums.into_iter().map(delta).collect(),
    })
}

#[cfg(test)]
mod tests;
