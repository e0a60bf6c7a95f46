use super::*;

fn at(seconds: i64) -> Moment {
    Moment::from_unix_seconds(seconds)
}

fn entry(sequence: i64, deltas: &[(i64, i64, u64)]) -> Entry {
    let delta = |&(id, start, bytes): &(i64, i64, u64)| Delta {
        id,
        usage: Usage {
            upload_bytes: bytes,
            download_bytes: 1,
        },
        period_start: at(start),
    };
    Entry {
        sequence,
        at: at(1_000 + sequence),
        deltas: deltas.iter().map(delta).collect(),
    }
}

fn file(entries: &[Entry]) -> Vec<u8> {
    let entries = entries.iter().flat_map(encode);
    MAGIC.iter().copied().chain(entries).collect()
}

#[test]
fn whatever_is_cut_off_or_changed_counts_up_to_there() {
    let entries = [entry(7, &[(1, 0, 5), (2, 9, 6)]), entry(8, &[(-1, -1, 7)])];
    let bytes = file(&entries);
    assert_eq!(parse(&bytes).unwrap(), (entries.to_vec(), 0));
    let first = file(&entries[..1]).len();
    for len in MAGIC.len()..bytes.len() {
        let whole = usize::from(len >= first);
        let rest = len - if whole == 1 { first } else { MAGIC.len() };
        let cut = parse(&bytes[..len]).unwrap();
        assert_eq!(cut, (entries[..whole].to_vec(), rest), "{len}");
    }
    for at in MAGIC.len()..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let whole = usize::from(at >= first);
        assert_eq!(parse(&changed).unwrap().0, entries[..whole], "{at}");
    }
    for at in 0..MAGIC.len() {
        assert!(parse(&bytes[..at]).is_err());
    }
}

#[test]
fn a_smaller_file_says_the_same() {
    let entries = vec![
        entry(3, &[(1, 0, 1)]),
        entry(4, &[(1, 0, 2), (2, 0, 3)]),
        entry(5, &[(2, 0, 4)]),
        entry(6, &[(1, 0, 5), (1, 60, 6)]),
        entry(7, &[(1, 60, 7)]),
    ];
    let reached = Reached {
        done: 3,
        doubtful: Some(5),
    };
    let found = merged(entries.clone(), reached);
    let shape = |entry: &Entry| {
        let deltas = entry.deltas.iter();
        let deltas =
            deltas.map(|it| (it.id, it.period_start.unix_seconds(), it.usage.upload_bytes));
        (entry.sequence, deltas.collect::<Vec<_>>())
    };
    assert_eq!(
        found.iter().map(shape).collect::<Vec<_>>(),
        [
            (5, vec![(1, 0, 2), (2, 0, 7)]),
            (7, vec![(1, 0, 5), (1, 60, 13)])
        ]
    );
    let certain = merged(entries, Reached::default());
    assert_eq!(certain.len(), 1);
    assert_eq!(certain[0].sequence, 7);
}

#[tokio::test]
async fn a_file_lives_from_the_first_entry_until_the_database_has_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    let journal = Journal::new(folder.path(), "db", "me");
    journal.clear(5).await.unwrap();
    assert_eq!(files(), 0);
    let entries = [entry(1, &[(1, 0, 5)]), entry(2, &[(1, 0, 6)])];
    for entry in &entries {
        let append = journal.append(vec![entry.clone()], Reached::default());
        append.await.unwrap();
    }
    journal.clear(1).await.unwrap();
    assert_eq!(files(), 1, "the second is missing there");
    // Somebody else starts while this process lives, and after it.
    let other = Journal::new(folder.path(), "db", "other");
    assert!(other.left().await.unwrap().is_empty());
    drop(journal);
    let stranger = Journal::new(folder.path(), "another", "stranger");
    assert!(stranger.left().await.unwrap().is_empty());
    let mut left = other.left().await.unwrap();
    assert_eq!(left.len(), 1);
    assert!(
        other.left().await.unwrap().is_empty(),
        "it is being brought over"
    );
    assert_eq!(
        (left[0].writer.as_str(), &left[0].entries[..]),
        ("me", &entries[..])
    );
    left.remove(0).remove().unwrap();
    assert_eq!(files(), 0);
}

#[tokio::test]
async fn a_large_file_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::new(folder.path(), "db", "me");
    let many: Vec<_> = (0..20_000).map(|id| (id, 0, 1)).collect();
    let mut largest = 0;
    for sequence in 1..=30 {
        let append = journal.append(vec![entry(sequence, &many)], Reached::default());
        append.await.unwrap();
        largest = largest.max(journal.0.path().metadata().unwrap().len());
    }
    assert!(largest < 2 * LARGE, "{largest}");
    let mut file = File::open(journal.0.path()).unwrap();
    let all = sum(read(&mut file).unwrap()).unwrap();
    assert_eq!(all.sequence, 30);
    assert!(
        all.deltas
            .iter()
            .all(|delta| delta.usage.upload_bytes == 30)
    );
    assert_eq!(all.deltas.len(), many.len());
    journal.clear(30).await.unwrap();
    assert!(!journal.0.path().exists());
}

/// A name that is a folder's stands for a disk that is full.
#[tokio::test]
async fn what_cannot_be_written_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    let journal = Journal::new(folder.path(), "db", "me");
    std::fs::create_dir(journal.0.path()).unwrap();
    let append = async || {
        let entries = vec![entry(1, &[(1, 0, 5)])];
        journal.append(entries, Reached::default()).await
    };
    append().await.unwrap_err();
    assert_eq!(files(), 1, "the folder alone");
    std::fs::remove_dir(journal.0.path()).unwrap();
    append().await.unwrap();
    assert_eq!(files(), 1);
}

/// What a process that was killed while it wrote has left goes away with the next start.
#[tokio::test]
async fn unfinished_files_go_unless_they_are_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in [
        "usage-db-gone.new",
        "usage-db-busy.new",
        "usage-another-gone.new",
    ] {
        std::fs::write(path(name), "weirg").unwrap();
    }
    let busy = File::open(path("usage-db-busy.new")).unwrap();
    busy.lock().unwrap();
    let next = Journal::new(folder.path(), "db", "next");
    assert!(next.left().await.unwrap().is_empty());
    assert!(!path("usage-db-gone.new").exists());
    assert!(path("usage-db-busy.new").exists() && path("usage-another-gone.new").exists());
}
