//! What arrives, what must not, and when it counts.

use std::time::Duration;

use tokio::io::{AsyncWriteExt, duplex};

use super::*;
use crate::Log;

fn plan() -> ReceivePlan {
    ReceivePlan {
        clock: Clock::starting_now(),
        until: Timestamp::MAX,
        payload: Some(Payload::new(1)),
        window: None,
        read_size: ReadSize::Adaptive,
        stop: CancellationToken::new(),
    }
}

fn sent(key: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Payload::new(key).fill(0, &mut bytes);
    bytes
}

async fn received(bytes: &[u8]) -> Result<ReceiveReport, ReceiveError> {
    receive(&mut &bytes[..], &plan(), &mut Log::of_receipts()).await
}

#[tokio::test]
async fn counts_what_arrives_in_order() {
    let report = received(&sent(1, 1_000_003)).await.unwrap();
    assert_eq!(report.received.get(), 1_000_003);
    assert_eq!(report.end, ReceiveEnd::Eof);
}

#[tokio::test]
async fn planted_faults_are_found_where_they_are() {
    let good = sent(1, 300_000);
    let fault_of = async |bytes: &[u8]| match received(bytes).await.unwrap_err() {
        ReceiveError::Payload(fault) => fault.offset,
        ReceiveError::Log(full) => panic!("{full}"),
    };
    let mut flipped = good.clone();
    flipped[123_457] ^= 1;
    assert_eq!(fault_of(&flipped).await, 123_457);
    // Within a word of where it happened: single bytes may agree by chance.
    let near = |offset: u64, at: u64| (at..at + 8).contains(&offset);
    let lost = [&good[..99_999], &good[100_000..]].concat();
    assert!(near(fault_of(&lost).await, 99_999));
    let repeated = [&good[..65_536], &good[..65_536]].concat();
    assert!(near(fault_of(&repeated).await, 65_536));
    let made_up = [&good[..50_000], b"x", &good[50_000..]].concat();
    assert!(near(fault_of(&made_up).await, 50_000));
    let swapped = [&good[..4096], &good[8192..12_288], &good[4096..8192]].concat();
    assert!(near(fault_of(&swapped).await, 4096));
    let crossed = [&good[..70_000], &sent(2, 80_000)[70_000..]].concat();
    assert!(near(fault_of(&crossed).await, 70_000));
}

#[tokio::test(start_paused = true)]
async fn stamps_each_read_and_counts_nothing_after_the_end() {
    let plan = ReceivePlan {
        until: Timestamp::from_nanos(35_000_000),
        ..plan()
    };
    let (mut writer, mut reader) = duplex(1 << 20);
    let bytes = sent(1, 60);
    let writing = async {
        for chunk in bytes.chunks(10) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            writer.write_all(chunk).await.unwrap();
        }
    };
    let mut log = Log::of_receipts();
    let (report, ()) = tokio::join!(receive(&mut reader, &plan, &mut log), writing);
    let report = report.unwrap();
    assert_eq!(report.end, ReceiveEnd::Deadline);
    assert_eq!((report.received.get(), report.reads), (30, 3));
    let log: Vec<_> = log.iter().map(|(at, n)| (at.as_nanos(), n.get())).collect();
    assert_eq!(log, [(10_000_000, 10), (20_000_000, 10), (30_000_000, 10)]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_it_at_once_and_frees_the_sender() {
    let window = Arc::new(Window::new(ByteSize::new(4)));
    let plan = ReceivePlan {
        window: Some(Arc::clone(&window)),
        ..plan()
    };
    let (mut writer, mut reader) = duplex(100);
    writer.write_all(&sent(1, 4)).await.unwrap();
    let mut log = Log::of_receipts();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(window.room(4).await.map(|room| room.bytes), Some(4));
        plan.stop.cancel();
    };
    let (report, ()) = tokio::join!(receive(&mut reader, &plan, &mut log), stop);
    assert_eq!(report.unwrap().end, ReceiveEnd::Deadline);
    assert_eq!(window.room(4).await, None);
}

#[tokio::test]
async fn a_fixed_size_is_kept() {
    let plan = ReceivePlan {
        read_size: ReadSize::Fixed(2048),
        ..plan()
    };
    let mut sizes = Vec::new();
    let mut sink = |_: Timestamp, bytes: ByteSize| sizes.push(bytes.get());
    receive(&mut &sent(1, 5000)[..], &plan, &mut sink)
        .await
        .unwrap();
    assert_eq!(sizes, [2048, 2048, 904]);
}

#[test]
fn the_buffer_grows_with_what_it_finds_and_shrinks_when_idle() {
    let mut buffer = Buffer::new(ReadSize::Adaptive);
    let sizes: Vec<usize> = (0..8)
        .map(|_| {
            let size = buffer.space().len();
            buffer.adapt(size);
            size
        })
        .collect();
    assert_eq!(
        sizes,
        [4, 8, 16, 32, 64, 128, 256, 256].map(|kib| kib << 10)
    );
    for _ in 0..SMALL_READS {
        buffer.adapt(100);
    }
    assert_eq!(buffer.space().len(), 128 << 10);
    for _ in 0..10_000 {
        buffer.adapt(100);
    }
    assert_eq!(buffer.space().len(), *ADAPTIVE.start());
}
