//! Who is served and who waits: a bounded queue before a number of workers, as
//! a function of time.
//!
//! Rule: a request that arrives starts at once where a worker is free and nobody
//! waits; else it waits, first in first out, where the queue has room; else it is
//! refused. One that has waited for the queue time-out leaves the queue, one that
//! has run for the request time-out loses its worker at that instant, whether its
//! owner has noticed or not. So a worker is never busy for longer than the request
//! time-out, and nobody is refused or started later than said.
//!
//! Worked example, 2 workers, a queue of 3, time-outs of 30 s and 4 s, requests of
//! 5 s, of which 12 arrive at once: 2 start, 3 wait, 7 are refused; at 4 s the 2
//! have timed out and 2 of those that wait start, at 8 s the last one does, and
//! at 12 s no worker is busy.

use alloc::collections::BTreeMap;
use core::num::NonZeroUsize;

use crate::{Nanos, Timestamp};

/// How many there may be, and how long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Requests that run at once.
    pub workers: NonZeroUsize,
    /// Requests that wait at once; 0: nobody waits.
    pub queue: usize,
    /// How long a request may wait.
    pub queue_timeout: Nanos,
    /// How long a request may run.
    pub request_timeout: Nanos,
}

/// One request: its number in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What becomes of a request when it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It has a worker.
    Started(Ticket),
    /// It waits for one.
    Waiting(Ticket),
}

/// What happens to a request later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It has a worker now.
    Started(Ticket),
    /// It has waited too long, and waits no more.
    QueueTimeout(Ticket),
    /// It has run too long, and its worker is free.
    RequestTimeout(Ticket),
}

/// The queue has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct QueueFull;

/// The requests that run and those that wait.
///
/// Tickets start in their order, and time-outs are the same for all, so that in
/// either map the first ticket has the first deadline.
#[derive(Clone, Debug)]
pub struct Admission {
    rules: Rules,
    running: BTreeMap<Ticket, Timestamp>,
    waiting: BTreeMap<Ticket, Timestamp>,
    next: u64,
    now: Timestamp,
}

impl Admission {
    /// Nobody runs and nobody waits.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        Self {
            rules,
            running: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next: 0,
            now: Timestamp::ZERO,
        }
    }

    /// A request arrives. What has happened by `now` must have been polled.
    ///
    /// # Errors
    /// [`QueueFull`]
    pub fn arrive(&mut self, now: Timestamp) -> Result<Entry, QueueFull> {
        let now = self.advance(now);
        let ticket = Ticket(self.next);
        if self.has_idle_worker() && self.waiting.is_empty() {
            self.next += 1;
            self.start(now, ticket);
            return Ok(Entry::Started(ticket));
        }
        if self.waiting.len() >= self.rules.queue {
            return Err(QueueFull);
        }
        self.next += 1;
        self.waiting.insert(ticket, now + self.rules.queue_timeout);
        Ok(Entry::Waiting(ticket))
    }

    /// A request has ended, or its owner has gone: its worker or its place in the
    /// queue is free. Nothing changes if it has neither.
    pub fn leave(&mut self, ticket: Ticket) {
        if self.running.remove(&ticket).is_none() {
            self.waiting.remove(&ticket);
        }
    }

    /// The next thing that has happened by `now`; to be asked until there is none.
    pub fn poll(&mut self, now: Timestamp) -> Option<Event> {
        let now = self.advance(now);
        // What is over makes room before anybody starts.
        if let Some(ticket) = expired(&mut self.running, now) {
            return Some(Event::RequestTimeout(ticket));
        }
        if let Some(ticket) = expired(&mut self.waiting, now) {
            return Some(Event::QueueTimeout(ticket));
        }
        if !self.has_idle_worker() {
            return None;
        }
        let (ticket, _) = self.waiting.pop_first()?;
        self.start(now, ticket);
        Some(Event::Started(ticket))
    }

    /// When [`Admission::poll`] has something to say at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let first = |of: &BTreeMap<_, Timestamp>| of.values().next().copied();
        match (first(&self.running), first(&self.waiting)) {
            (Some(running), Some(waiting)) => Some(running.min(waiting)),
            (running, waiting) => running.or(waiting),
        }
    }

    /// When a request times out, in the queue or at its worker; `None` if it is
    /// in neither.
    #[must_use]
    pub fn deadline(&self, ticket: Ticket) -> Option<Timestamp> {
        let found = self
            .running
            .get(&ticket)
            .or_else(|| self.waiting.get(&ticket));
        found.copied()
    }

    /// Requests that run: busy workers.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Requests that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn has_idle_worker(&self) -> bool {
        self.running.len() < self.rules.workers.get()
    }

    fn start(&mut self, now: Timestamp, ticket: Ticket) {
        self.running
            .insert(ticket, now + self.rules.request_timeout);
    }

    /// Time that runs backwards stands still.
    fn advance(&mut self, now: Timestamp) -> Timestamp {
        self.now = self.now.max(now);
        self.now
    }
}

fn expired(of: &mut BTreeMap<Ticket, Timestamp>, now: Timestamp) -> Option<Ticket> {
    let first = of.first_entry()?;
    (*first.get() <= now).then(|| first.remove_entry().0)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn rules(workers: usize, queue: usize, queue_timeout: u64, request_timeout: u64) -> Rules {
        Rules {
            workers: NonZeroUsize::new(workers).unwrap(),
            queue,
            queue_timeout: Nanos::from_secs(queue_timeout),
            request_timeout: Nanos::from_secs(request_timeout),
        }
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_nanos(secs * 1_000_000_000)
    }

    /// Everything that happens by `now`, at its own instant.
    fn drain(admission: &mut Admission, now: Timestamp) -> Vec<(Timestamp, Event)> {
        let mut events = Vec::new();
        while let Some(next) = admission.next_deadline().filter(|next| *next <= now) {
            while let Some(event) = admission.poll(next) {
                events.push((next, event));
            }
        }
        events
    }

    #[test]
    fn a_crowd_of_slow_requests_leaves_no_worker_busy() {
        let mut admission = Admission::new(rules(2, 3, 30, 4));
        let entries: Vec<_> = (0..12).map(|_| admission.arrive(at(0))).collect();
        let refused = entries.iter().filter(|entry| entry.is_err()).count();
        assert_eq!(refused, 7);
        assert_eq!((admission.running(), admission.waiting()), (2, 3));
        let events = drain(&mut admission, at(100));
        use Event::{RequestTimeout, Started};
        assert_eq!(
            events,
            [
                (at(4), RequestTimeout(Ticket(0))),
                (at(4), RequestTimeout(Ticket(1))),
                (at(4), Started(Ticket(2))),
                (at(4), Started(Ticket(3))),
                (at(8), RequestTimeout(Ticket(2))),
                (at(8), RequestTimeout(Ticket(3))),
                (at(8), Started(Ticket(4))),
                (at(12), RequestTimeout(Ticket(4))),
            ]
        );
        assert_eq!((admission.running(), admission.waiting()), (0, 0));
    }

    #[test]
    fn who_waits_too_long_leaves_the_queue_and_who_comes_later_does_not_overtake() {
        let mut admission = Admission::new(rules(1, 2, 3, 10));
        assert_eq!(admission.arrive(at(0)), Ok(Entry::Started(Ticket(0))));
        assert_eq!(admission.arrive(at(0)), Ok(Entry::Waiting(Ticket(1))));
        assert_eq!(admission.arrive(at(2)), Ok(Entry::Waiting(Ticket(2))));
        assert_eq!(admission.arrive(at(2)), Err(QueueFull));
        assert_eq!(
            admission.poll(at(3)),
            Some(Event::QueueTimeout(Ticket(1))),
            "the time-out is reached"
        );
        admission.leave(Ticket(0));
        // A worker is free, and nobody has been polled to it yet.
        assert_eq!(admission.arrive(at(4)), Ok(Entry::Waiting(Ticket(3))));
        assert_eq!(admission.poll(at(4)), Some(Event::Started(Ticket(2))));
        assert_eq!(admission.poll(at(4)), None);
        assert_eq!(admission.deadline(Ticket(2)), Some(at(14)));
        assert_eq!(admission.deadline(Ticket(3)), Some(at(7)));
    }

    #[test]
    fn owners_that_go_make_room() {
        let mut admission = Admission::new(rules(1, 1, 30, 30));
        admission.arrive(at(0)).unwrap();
        admission.arrive(at(0)).unwrap();
        admission.leave(Ticket(1));
        assert_eq!(admission.waiting(), 0);
        assert_eq!(admission.arrive(at(1)), Ok(Entry::Waiting(Ticket(2))));
        admission.leave(Ticket(0));
        admission.leave(Ticket(0));
        assert_eq!(admission.poll(at(1)), Some(Event::Started(Ticket(2))));
        assert_eq!(admission.running(), 1);
    }

    #[test]
    fn without_a_queue_nobody_waits_and_time_does_not_run_backwards() {
        let mut admission = Admission::new(rules(1, 0, 1, 1));
        assert_eq!(admission.arrive(at(9)), Ok(Entry::Started(Ticket(0))));
        assert_eq!(admission.arrive(at(5)), Err(QueueFull));
        assert_eq!(admission.poll(at(1)), None);
        assert_eq!(
            admission.poll(at(10)),
            Some(Event::RequestTimeout(Ticket(0)))
        );
    }
}
