//! Much at once, both ways, and every byte of it.

use std::hash::{DefaultHasher, Hasher};

use proxy::{Limits, Usage};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::support::*;

const BLOCK: usize = 256 * 1024;
/// 1 GiB each way.
const BLOCKS: u64 = 4096;

/// Blocks that are all different, from a seed.
fn fill(block: &mut [u8], state: &mut u64) {
    for word in block.as_chunks_mut::<8>().0 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *word = state.to_le_bytes();
    }
}

async fn send(mut sink: impl AsyncWrite + Unpin, seed: u64) -> u64 {
    let (mut hasher, mut state, mut block) = (DefaultHasher::new(), seed, vec![0; BLOCK]);
    for _ in 0..BLOCKS {
        fill(&mut block, &mut state);
        hasher.write(&block);
        sink.write_all(&block).await.unwrap();
    }
    sink.shutdown().await.unwrap();
    hasher.finish()
}

async fn receive(mut source: impl AsyncRead + Unpin) -> (u64, u64) {
    let (mut hasher, mut total, mut block) = (DefaultHasher::new(), 0, vec![0; BLOCK]);
    // Whole blocks, so that both sides hash the same pieces.
    while source.read_exact(&mut block).await.is_ok() {
        hasher.write(&block);
        total += BLOCK as u64;
    }
    (hasher.finish(), total)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_gibibyte_each_way_at_once_arrives_as_it_was_sent() {
    let proxy = Proxy::start_with(Limits::Unlimited, |config| config.workers = 2).await;
    let (report, mut reported) = tokio::sync::mpsc::unbounded_channel();
    let target = target(move |client| {
        let report = report.clone();
        async move {
            let (source, sink) = client.into_split();
            let both = tokio::join!(send(sink, 1), receive(source));
            report.send(both).unwrap();
        }
    })
    .await;
    let client = proxy.socks5(target).await;
    let (source, sink) = client.into_split();
    let sent = tokio::spawn(send(sink, 2));
    let received = receive(source).await;
    let sent = sent.await.unwrap();
    let (sent_back, heard) = in_time(reported.recv()).await.unwrap();
    let all = BLOCKS * BLOCK as u64;
    assert_eq!(heard, (sent, all));
    assert_eq!(received, (sent_back, all));
    let expected = Usage {
        upload_bytes: all,
        download_bytes: all,
    };
    assert_eq!(proxy.users.usage(NAME).unwrap(), expected);
}
