//! Schedules, in virtual time: counts and instants, never how fast this machine is.

use std::time::Duration;

use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::*;
use crate::Log;

/// `count` sends of `size` bytes, each `gap` after the previous one returned.
struct Every {
    gap: Nanos,
    size: u64,
    count: u64,
    sent: u64,
}

fn every(gap: Nanos, size: u64, count: u64) -> Every {
    Every {
        gap,
        size,
        count,
        sent: 0,
    }
}

impl Generator for Every {
    fn next_send(&mut self, now: Timestamp) -> Option<Send> {
        if self.sent == self.count {
            return None;
        }
        let gap = if self.sent == 0 {
            Nanos::ZERO
        } else {
            self.gap
        };
        self.sent += 1;
        Some(Send {
            at: now + gap,
            size: ByteSize::new(self.size),
        })
    }
}

fn plan(mode: SendMode) -> SendPlan {
    SendPlan {
        clock: Clock::starting_now(),
        start: Timestamp::ZERO,
        until: Timestamp::MAX,
        payload: Payload::new(1),
        mode,
        wait: Wait::Coarse,
        stop: CancellationToken::new(),
    }
}

fn open_loop() -> SendMode {
    SendMode::OpenLoop {
        backlog_limit: ByteSize::new(1 << 20),
    }
}

fn windowed(bytes: u64) -> (SendMode, Arc<Window>) {
    let window = Arc::new(Window::new(ByteSize::new(bytes)));
    let mode = SendMode::Blocking {
        window: Some(Arc::clone(&window)),
    };
    (mode, window)
}

async fn run(
    plan: &SendPlan,
    mut generator: Every,
    writer: &mut (impl AsyncWrite + Unpin),
) -> (Result<SendReport, SendError>, Log) {
    let mut log = Log::new();
    let report = send(writer, &mut generator, plan, &mut log).await;
    (report, log)
}

fn instants(log: &Log) -> Vec<u64> {
    log.iter().map(|(at, _)| at.as_nanos()).collect()
}

fn micros(micros: u64) -> Timestamp {
    Timestamp::from_nanos(micros * 1000)
}

/// Reads everything, and holds it to the payload.
async fn read_all(mut from: DuplexStream) -> u64 {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).await.unwrap();
    Payload::new(1).check(0, &bytes).unwrap();
    bytes.len() as u64
}

#[tokio::test(start_paused = true)]
async fn lateness_does_not_build_up() {
    // The gap is no multiple of the timer's millisecond, so every wait ends late.
    let gap = Nanos::from_micros(1300);
    for mode in [open_loop(), SendMode::Blocking { window: None }] {
        let plan = plan(mode);
        let (report, log) = run(&plan, every(gap, 100, 10_000), &mut tokio::io::sink()).await;
        let report = report.unwrap();
        let schedule: Vec<u64> = (0..10_000).map(|i| i * gap.get()).collect();
        assert_eq!(instants(&log), schedule);
        assert_eq!((report.sends, report.sent.get()), (10_000, 1_000_000));
        assert!(report.lateness.max() > 0, "the timer was never late");
        // The last send is as late as any other: less than two ticks of virtual time.
        assert!(report.lateness.max() < 2_100_000);
        assert!(plan.clock.now() < micros(9_999 * 1300 + 2_100));
        assert_eq!(report.end, SendEnd::Finished);
    }
}

#[tokio::test(start_paused = true)]
async fn giving_way_to_other_tasks_is_not_being_blocked() {
    let plan = SendPlan {
        // The timer fires at 2 ms.
        start: micros(1300),
        ..plan(SendMode::Blocking { window: None })
    };
    // Two writes each: either may be the one at which tokio's budget ends.
    let (mut writer, _reader) = duplex(1 << 24);
    let generator = every(Nanos::ZERO, 40_000, 300);
    let (_, log) = run(&plan, generator, &mut writer).await;
    assert_eq!(instants(&log), [1_300_000; 300]);
}

#[tokio::test(start_paused = true)]
async fn the_start_shifts_the_schedule() {
    let plan = SendPlan {
        start: micros(5000),
        ..plan(open_loop())
    };
    let generator = every(Nanos::from_millis(1), 1, 3);
    let (_, log) = run(&plan, generator, &mut tokio::io::sink()).await;
    assert_eq!(instants(&log), [5_000_000, 6_000_000, 7_000_000]);
}

#[tokio::test(start_paused = true)]
async fn an_open_loop_keeps_its_schedule_when_the_socket_does_not_take_it() {
    let plan = plan(open_loop());
    let (mut writer, reader) = duplex(1000);
    let stalled = async {
        plan.clock.sleep_until(micros(500_000)).await;
        read_all(reader).await
    };
    let ((report, log), read) = tokio::join!(
        async {
            let result = run(&plan, every(Nanos::from_millis(2), 300, 200), &mut writer).await;
            drop(writer);
            result
        },
        stalled
    );
    let report = report.unwrap();
    assert_eq!(
        instants(&log),
        (0..200).map(|i| i * 2_000_000).collect::<Vec<_>>()
    );
    assert_eq!((read, report.sent.get()), (60_000, 60_000));
    // All 200 sends were due before the first byte was read; 1000 bytes fitted.
    assert_eq!(report.most_backlog.get(), 59_000);
    assert!(
        report.lateness.max() < 2_100_000,
        "back-pressure is not lateness"
    );
}

#[tokio::test(start_paused = true)]
async fn an_open_loop_far_above_what_is_let_through_ends_with_an_error() {
    let limit = ByteSize::new(10_000);
    let plan = plan(SendMode::OpenLoop {
        backlog_limit: limit,
    });
    let (mut writer, _reader) = duplex(1000);
    let (report, log) = run(&plan, every(Nanos::from_millis(1), 500, 1000), &mut writer).await;
    let error = report.unwrap_err();
    assert!(matches!(error, SendError::Backlog { backlog, .. } if backlog.get() == 10_500));
    assert_eq!(log.len(), 23);
}

#[tokio::test(start_paused = true)]
async fn an_endless_supply_at_one_instant_is_stopped_by_the_limit() {
    let plan = plan(open_loop());
    let generator = every(Nanos::ZERO, 1 << 14, u64::MAX);
    let (report, _) = run(&plan, generator, &mut duplex(1000).0).await;
    assert!(matches!(report.unwrap_err(), SendError::Backlog { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_blocked_send_returns_when_its_last_byte_found_room() {
    let (mode, window) = windowed(1000);
    let plan = plan(mode);
    let (mut writer, reader) = duplex(1 << 20);
    let receipts = async {
        plan.clock.sleep_until(micros(10_000)).await;
        window.release(ByteSize::new(500), micros(9_700));
        plan.clock.sleep_until(micros(20_000)).await;
        window.release(ByteSize::new(2000), micros(19_500));
    };
    let ((report, log), ()) = tokio::join!(
        run(&plan, every(Nanos::from_millis(1), 600, 5), &mut writer),
        receipts
    );
    drop(writer);
    // 600 fit; of the second 600, due at 1 ms, 400 fit and the rest at 9.7 ms; the
    // third is due 1 ms later, of it 300 fit and the rest at 19.5 ms.
    assert_eq!(
        instants(&log),
        [0, 1_000_000, 10_700_000, 20_500_000, 21_500_000]
    );
    assert_eq!(report.unwrap().sent.get(), 3000);
    assert_eq!(read_all(reader).await, 3000);
}

#[tokio::test(start_paused = true)]
async fn never_more_is_under_way_than_the_window_holds() {
    let (mode, window) = windowed(777);
    let plan = plan(mode);
    let (mut writer, mut reader) = duplex(1 << 20);
    let sender = async {
        let result = run(
            &plan,
            every(Nanos::from_micros(10), 100_000, 3),
            &mut writer,
        )
        .await;
        drop(writer);
        result
    };
    let receiver = async {
        let (mut total, mut bytes) = (0, vec![0; 1 << 20]);
        loop {
            // Everything that was sent has arrived by now: nothing else runs.
            tokio::time::sleep(Duration::from_millis(1)).await;
            match reader.read(&mut bytes).await.unwrap() {
                0 => return total,
                read => {
                    assert!(read <= 777, "{read}");
                    total += read;
                    window.release(ByteSize::new(read as u64), plan.clock.now());
                }
            }
        }
    };
    let ((report, _), total) = tokio::join!(sender, receiver);
    assert_eq!((report.unwrap().sent.get(), total), (300_000, 300_000));
}

#[tokio::test(start_paused = true)]
async fn a_send_blocked_by_the_kernel_delays_the_next() {
    let plan = plan(SendMode::Blocking { window: None });
    let (mut writer, reader) = duplex(100);
    let reading = async {
        plan.clock.sleep_until(micros(7_000)).await;
        read_all(reader).await
    };
    let sending = async {
        let result = run(&plan, every(Nanos::from_millis(2), 150, 2), &mut writer).await;
        drop(writer);
        result
    };
    let ((_, log), read) = tokio::join!(sending, reading);
    let instants = instants(&log);
    assert_eq!((instants[0], read), (0, 300));
    assert!(instants[1] >= 9_000_000, "{instants:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_due_at_the_end_or_later_is_not_sent() {
    for mode in [open_loop(), SendMode::Blocking { window: None }] {
        let plan = SendPlan {
            until: micros(10_000),
            ..plan(mode)
        };
        let generator = every(Nanos::from_millis(1), 1, u64::MAX);
        let (report, log) = run(&plan, generator, &mut tokio::io::sink()).await;
        assert_eq!(report.unwrap().end, SendEnd::Deadline);
        assert_eq!(
            instants(&log),
            (0..10).map(|i| i * 1_000_000).collect::<Vec<_>>()
        );
        assert!(
            plan.clock.now() >= micros(10_000),
            "ended before the end of the run"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_stalls_over_the_end_still_sends_what_was_due_before_it() {
    for mode in [open_loop(), SendMode::Blocking { window: None }] {
        let plan = SendPlan {
            until: micros(10_000),
            ..plan(mode)
        };
        // Nothing of it runs before the end of the run has passed.
        tokio::time::advance(Duration::from_millis(50)).await;
        let (mut writer, reader) = duplex(1000);
        let generator = every(Nanos::from_millis(1), 7, u64::MAX);
        let (report, log) = run(&plan, generator, &mut writer).await;
        drop(writer);
        assert_eq!(
            instants(&log),
            (0..10).map(|i| i * 1_000_000).collect::<Vec<_>>()
        );
        assert_eq!(report.unwrap().sent.get(), 70);
        assert_eq!(read_all(reader).await, 70);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_comes_even_if_nothing_is_let_through() {
    let (mode, _window) = windowed(10);
    let plan = SendPlan {
        until: micros(10_000),
        ..plan(mode)
    };
    let generator = every(Nanos::from_millis(1), 100, u64::MAX);
    let (report, _) = run(&plan, generator, &mut tokio::io::sink()).await;
    let report = report.unwrap();
    assert_eq!((report.end, report.sent.get()), (SendEnd::Deadline, 10));
    assert_eq!(report.offered.get(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_sender_at_once_and_whole() {
    let plan = plan(open_loop());
    let stop = async {
        plan.clock.sleep_until(micros(5_500)).await;
        plan.stop.cancel();
    };
    let generator = every(Nanos::from_millis(2), 1, u64::MAX);
    let mut sink = tokio::io::sink();
    let ((report, log), ()) = tokio::join!(run(&plan, generator, &mut sink), stop);
    assert_eq!(report.unwrap().end, SendEnd::Deadline);
    assert_eq!(instants(&log), [0, 2_000_000, 4_000_000]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_goes_away_is_a_result_not_an_error() {
    let (mode, window) = windowed(10);
    for mode in [open_loop(), SendMode::Blocking { window: None }] {
        let (mut writer, reader) = duplex(1000);
        drop(reader);
        let generator = every(Nanos::from_millis(1), 1, u64::MAX);
        let (report, _) = run(&plan(mode), generator, &mut writer).await;
        let end = report.unwrap().end;
        assert_eq!(end, SendEnd::Closed(io::ErrorKind::BrokenPipe));
    }
    window.close();
    let generator = every(Nanos::from_millis(1), 1, u64::MAX);
    let (report, _) = run(&plan(mode), generator, &mut tokio::io::sink()).await;
    let end = report.unwrap().end;
    assert_eq!(end, SendEnd::Closed(io::ErrorKind::ConnectionAborted));
}

#[tokio::test(start_paused = true)]
async fn empty_sends_without_a_gap_do_not_hang_the_run() {
    for mode in [open_loop(), SendMode::Blocking { window: None }] {
        let plan = plan(mode);
        let generator = every(Nanos::ZERO, 0, 100_000);
        let (report, _) = run(&plan, generator, &mut tokio::io::sink()).await;
        assert_eq!(report.unwrap().sends, 100_000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_log_ends_the_run() {
    let mut log = Log::new().with_capacity_limit(3);
    let mut generator = every(Nanos::ZERO, 1, 4);
    let plan = plan(open_loop());
    let result = send(&mut tokio::io::sink(), &mut generator, &plan, &mut log).await;
    assert!(matches!(
        result,
        Err(SendError::Log(LogFull { capacity: 3 }))
    ));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_the_start() {
    for mode in [open_loop(), SendMode::Blocking { window: None }] {
        let lead = Duration::from_millis(100);
        let plan = SendPlan {
            clock: Clock::starting_in(lead),
            ..plan(mode)
        };
        let begun = tokio::time::Instant::now();
        let (report, _) = run(&plan, every(Nanos::ZERO, 100, 1), &mut tokio::io::sink()).await;
        assert_eq!(report.unwrap().sends, 1);
        assert!(begun.elapsed() >= lead);
    }
}
