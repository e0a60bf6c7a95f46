//! Bytes that are in memory already, written within a budget: what was under
//! TLS, and the messages of HTTP.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{Ending, Lane};

/// The most that is asked for at once, so that the connections of a user take turns.
const PIECE: usize = 16 * 1024;

/// Writes all of `bytes` as the budget lets it, and counts what is written;
/// `moved` grows with each write.
pub(crate) async fn send(
    sink: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    lane: &mut Lane,
    moved: &AtomicU64,
) -> Result<(), Ending> {
    while !bytes.is_empty() {
        let most = bytes.len().min(PIECE);
        let granted = poll_fn(|context| lane.poll_acquire(context, most)).await?;
        let (mut now, later) = bytes.split_at_checked(granted).unwrap_or((bytes, &[]));
        while !now.is_empty() {
            let written = sink.write(now).await?;
            if written == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            lane.count(written);
            moved.fetch_add(1, Ordering::Relaxed);
            now = now.get(written..).unwrap_or_default();
        }
        bytes = later;
    }
    Ok(sink.flush().await?)
}

/// Pays for `bytes` that have come already and go on all at once, and counts them.
#[cfg(feature = "https-service")]
pub(crate) async fn charge(bytes: usize, lane: &mut Lane) -> Result<(), Ending> {
    let mut left = bytes;
    while left > 0 {
        let granted = poll_fn(|context| lane.poll_acquire(context, left.min(PIECE))).await?;
        lane.count(granted);
        left = left.saturating_sub(granted);
    }
    Ok(())
}
