//! Monotonic time, and one timer for everybody who waits.
//!
//! All budgets share one queue of alarms, served by one task with one timer;
//! a thread that serves connections on its own has a queue of its own, so that
//! whom an alarm wakes is where the alarm goes off. On Linux the timer is a
//! timerfd, which is some tens of microseconds late where the runtime's own
//! timers are one to two milliseconds; elsewhere it is the runtime's. The task
//! starts with the first alarm and ends with the clock.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use flow::{Nanos, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Budget, Cap};

/// With so many alarms set, they go off in groups.
const CROWD: usize = 16;
/// With so many waiting, each wakes less often for more.
const THRONG: usize = 64;
/// The most that an alarm waits for others.
const GROUP: u64 = 1 << 22;

/// Queues of a clock: one for those threads that share theirs, and others.
const QUEUES: usize = 16;

thread_local! {
    /// Whose alarms are set here.
    static QUEUE: Cell<usize> = const { Cell::new(0) };
}

/// From here on this thread, which serves connections and is the `index`th that
/// does, has a queue of alarms for itself; it must run a runtime until the end.
pub(crate) fn serve_alarms_apart(index: usize) {
    QUEUE.set(1 + index % (QUEUES - 1));
}

/// Where instants come from: counts from its own making.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<Owner>);

/// Ends the tasks when the last clock is gone.
#[derive(Debug)]
struct Owner {
    alarms: [Arc<Alarms>; QUEUES],
    origin: Instant,
    /// How many all queues hold.
    waiting: Arc<AtomicUsize>,
    precise: bool,
    cap: OnceLock<Cap>,
}

#[derive(Debug)]
struct Alarms {
    origin: Instant,
    queue: Mutex<BinaryHeap<Reverse<Alarm>>>,
    waiting: Arc<AtomicUsize>,
    started: AtomicBool,
    /// The first of the queue has changed, or the clock is gone.
    changed: Notify,
    over: AtomicBool,
}

#[derive(Debug)]
struct Alarm {
    at: Timestamp,
    budget: Weak<Budget>,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn new() -> Self {
        Self::with_precision(true)
    }

    /// A clock that stands still with the runtime's, for tests.
    #[cfg(test)]
    pub(crate) fn of_the_runtime() -> Self {
        Self::with_precision(false)
    }

    fn with_precision(precise: bool) -> Self {
        let (origin, waiting) = (Instant::now(), Arc::<AtomicUsize>::default());
        let alarms = || Alarms {
            origin,
            queue: Mutex::default(),
            waiting: Arc::clone(&waiting),
            started: AtomicBool::new(false),
            changed: Notify::new(),
            over: AtomicBool::new(false),
        };
        Self(Arc::new(Owner {
            alarms: std::array::from_fn(|_| Arc::new(alarms())),
            origin,
            waiting,
            precise,
            cap: OnceLock::new(),
        }))
    }

    pub(crate) fn now(&self) -> Timestamp {
        since(self.0.origin)
    }

    /// Puts `cap` above all budgets of this clock, once; it must have another
    /// clock than they.
    pub(crate) fn set_cap(&self, cap: Cap) {
        if self.0.cap.set(cap).is_err() {
            tracing::error!("the cap is set already");
        }
    }

    /// What is above all budgets of this clock.
    pub(crate) fn cap(&self) -> Option<&Cap> {
        self.0.cap.get()
    }

    /// Whether so many wait that each should wake seldom.
    pub(crate) fn is_crowded(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) >= THRONG
    }

    /// Has [`Budget::alarm`] called at `at` or soon after.
    pub(crate) fn set_alarm(&self, at: Timestamp, budget: Weak<Budget>) {
        let alarms = &self.0.alarms[QUEUE.get()];
        let mut queue = alarms.queue.lock();
        let at = if queue.len() < CROWD {
            at
        } else {
            together(alarms.now(), at)
        };
        let first = queue.peek().is_none_or(|Reverse(first)| at < first.at);
        queue.push(Reverse(Alarm { at, budget }));
        alarms.waiting.fetch_add(1, Ordering::Relaxed);
        drop(queue);
        if !alarms.started.load(Ordering::Acquire) {
            self.start(alarms);
        } else if first {
            alarms.changed.notify_one();
        }
    }

    /// Nobody waits outside a runtime: there a connection is just being dropped.
    fn start(&self, alarms: &Arc<Alarms>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !alarms.started.swap(true, Ordering::AcqRel) {
            runtime.spawn(run(Arc::clone(alarms), self.0.precise));
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        for alarms in &self.alarms {
            alarms.over.store(true, Ordering::Release);
            alarms.changed.notify_one();
        }
    }
}

impl Alarms {
    fn now(&self) -> Timestamp {
        since(self.origin)
    }

    /// Takes an alarm that is due, or says how long there is none.
    fn next(&self) -> Next {
        let now = self.now();
        let mut queue = self.queue.lock();
        match queue.peek() {
            None => Next::Nothing,
            Some(Reverse(first)) if first.at > now => Next::In(first.at.since(now)),
            Some(_) => {
                let first = queue.pop();
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                first.map_or(Next::Nothing, |Reverse(alarm)| Next::Due(alarm.budget))
            }
        }
    }
}

fn since(origin: Instant) -> Timestamp {
    let since = Instant::now().saturating_duration_since(origin);
    Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

enum Next {
    Due(Weak<Budget>),
    In(Nanos),
    Nothing,
}

async fn run(alarms: Arc<Alarms>, precise: bool) {
    let timer = Timer::new(precise);
    while !alarms.over.load(Ordering::Acquire) {
        match alarms.next() {
            Next::Due(budget) => {
                if let Some(budget) = budget.upgrade() {
                    budget.alarm();
                }
            }
            Next::Nothing => alarms.changed.notified().await,
            Next::In(wait) => tokio::select! {
                () = timer.wait(wait) => {}
                () = alarms.changed.notified() => {}
            },
        }
    }
}

/// `at`, or up to an eighth of the wait later (4 ms at most), at an instant that
/// others are put off to as well: a wake-up costs more than what it is for.
fn together(now: Timestamp, at: Timestamp) -> Timestamp {
    let most = (at.since(now).get() / 8).min(GROUP);
    let grain = most.checked_ilog2().map_or(1, |log| 1 << log);
    Timestamp::from_nanos(at.as_nanos().saturating_add(grain - 1) & !(grain - 1)).max(at)
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Alarm {}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// The one timer.
enum Timer {
    #[cfg(target_os = "linux")]
    Precise(precise::Timer),
    Runtime,
}

impl Timer {
    /// A precise one if asked for and there is one.
    fn new(precise: bool) -> Self {
        #[cfg(target_os = "linux")]
        if precise {
            match precise::Timer::new() {
                Ok(timer) => return Self::Precise(timer),
                Err(error) => {
                    tracing::warn!(%error, "no timerfd: waits are rounded to milliseconds")
                }
            }
        }
        let _ = precise;
        Self::Runtime
    }

    async fn wait(&self, length: Nanos) {
        let length = Duration::from_nanos(length.get());
        match self {
            #[cfg(target_os = "linux")]
            Self::Precise(timer) if timer.wait(length).await.is_ok() => {}
            _ => tokio::time::sleep(length).await,
        }
    }
}

#[cfg(target_os = "linux")]
mod precise {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    /// A timerfd.
    pub(super) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let fd = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
            #[expect(
                deprecated,
                reason = "its successor is unsafe for types whose descriptor may change; that of an OwnedFd does not"
            )]
            AsyncFd::with_interest(fd, Interest::READABLE).map(Self)
        }

        /// Waits for `length`; one wait at a time, a new one replaces it.
        pub(super) async fn wait(&self, length: Duration) -> io::Result<()> {
            // Zero would switch it off.
            let length = length.max(Duration::from_nanos(1));
            let it_value = Timespec::try_from(length).map_err(io::Error::other)?;
            let it_interval = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            let spec = Itimerspec {
                it_interval,
                it_value,
            };
            rustix::time::timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &spec)?;
            let mut expirations = [0; 8];
            self.0
                .async_io(Interest::READABLE, |fd| {
                    Ok(rustix::io::read(fd, &mut expirations)?)
                })
                .await?;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_meet_a_little_later() {
        let at = Timestamp::from_nanos;
        for (now, alarm) in [
            (0, 1),
            (0, 1_000_000),
            (7, 50_000_007),
            (1 << 40, (1 << 40) + 12_345),
            (5, 5),
        ] {
            let met = together(at(now), at(alarm)).as_nanos();
            assert!(
                met >= alarm && met - alarm <= ((alarm - now) / 8).min(GROUP),
                "{now} {alarm} {met}"
            );
        }
        assert_eq!(
            together(at(0), at(50_000_000)),
            together(at(1_000), at(50_001_000))
        );
        assert_eq!(together(at(0), Timestamp::MAX), Timestamp::MAX);
    }
}
