//! `userconfigs.json`: read again whenever it changes, and at an interval.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::shadowsocks::Front;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What tells one state of a file from another.
type Stamp = Option<(SystemTime, u64, u64)>;

/// Reads the file until the server stops.
pub(in crate::shadowsocks) async fn run(
    front: Arc<Front>,
    path: &Path,
    every: Duration,
    stopping: CancellationToken,
) {
    let mut looks = tokio::time::interval(LOOK.min(every));
    let mut seen: Stamp = None;
    let mut due = Instant::now();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = looks.tick() => {}
        }
        let stamp = stamp(path).await;
        if stamp == seen && Instant::now() < due {
            continue;
        }
        due = Instant::now() + every;
        let changed = stamp != seen;
        seen = stamp;
        match read(&front, path).await {
            Ok(()) => {}
            Err(error) if changed => {
                tracing::error!(path = %path.display(), error, "shadowsocks users stay as they are");
            }
            Err(_) => {}
        }
    }
}

/// Takes over what the file says.
pub(in crate::shadowsocks) async fn read(front: &Front, path: &Path) -> Result<(), String> {
    let text = tokio::fs::read(path).await;
    let text = text.map_err(|error| error.to_string())?;
    front
        .take_over(&text)
        .await
        .map_err(|error| error.to_string())
}

async fn stamp(path: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt as _;

    let metadata = tokio::fs::metadata(path).await.ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}
