//! A one-shot high-resolution timer that a tokio task can wait for.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::{Interest, unix::AsyncFd};

/// A `timerfd` on `CLOCK_MONOTONIC`: no timer slack applies to it.
#[derive(Debug)]
pub(super) struct TimerFd {
    descriptor: AsyncFd<OwnedFd>,
}

impl TimerFd {
    #[expect(
        deprecated,
        reason = "deprecated for owners that can change their descriptor under it; an OwnedFd cannot, and the successor is unsafe"
    )]
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self {
            descriptor: AsyncFd::with_interest(descriptor, Interest::READABLE)?,
        })
    }

    /// Waits until `length`, which is not zero, has passed. Setting the timer forgets
    /// an earlier wait that was given up; the caller looks at its clock afterwards.
    pub(super) async fn sleep(&mut self, length: Duration) -> io::Result<()> {
        let nothing = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let setting = Itimerspec {
            it_interval: nothing,
            it_value: timespec(length),
        };
        timerfd_settime(
            self.descriptor.get_ref(),
            TimerfdTimerFlags::empty(),
            &setting,
        )?;
        loop {
            let mut guard = self.descriptor.readable().await?;
            let mut expirations = [0; 8];
            let read = guard.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut expirations)?));
            if let Ok(result) = read {
                return result.map(drop);
            }
        }
    }
}

fn timespec(length: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(length.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: length.subsec_nanos().into(),
    }
}
