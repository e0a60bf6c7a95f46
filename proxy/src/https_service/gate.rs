//! The queue and the workers of [`flow::admission`] with a clock: requests wait
//! here for a worker and hold it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use flow::Timestamp;
use flow::admission::{Admission, Entry, Event, Rules, Ticket};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Where requests wait for a worker.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    origin: Instant,
}

#[derive(Debug)]
struct State {
    admission: Admission,
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
}

/// A request's place, in the queue or at a worker; dropped, it is free.
#[derive(Debug)]
struct Place {
    gate: Arc<Gate>,
    ticket: Ticket,
}

/// A worker, until this is dropped or its time is up.
#[derive(Debug)]
pub(crate) struct Worker {
    _place: Place,
    deadline: Instant,
}

/// Why there is no worker for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoWorker {
    /// As many wait as may.
    #[error("the queue is full")]
    QueueFull,
    /// It has waited too long.
    #[error("no worker was free within the queue time-out")]
    QueueTimeout,
}

impl Gate {
    pub(crate) fn new(rules: Rules) -> Self {
        let state = State {
            admission: Admission::new(rules),
            waiting: HashMap::new(),
        };
        Self {
            state: Mutex::new(state),
            origin: Instant::now(),
        }
    }

    /// Waits for a worker. Whoever stops waiting leaves the queue.
    ///
    /// # Errors
    /// [`NoWorker`]
    pub(crate) async fn enter(self: &Arc<Self>) -> Result<Worker, NoWorker> {
        let (place, started) = self.arrive()?;
        if let Some(started) = started {
            let deadline = self.deadline(place.ticket);
            let told = tokio::select! {
                biased;
                told = started => told.is_ok(),
                () = tokio::time::sleep_until(deadline) => false,
            };
            if !told {
                return Err(NoWorker::QueueTimeout);
            }
        }
        let deadline = self.deadline(place.ticket);
        Ok(Worker {
            _place: place,
            deadline,
        })
    }

    /// Busy workers.
    pub(crate) fn running(&self) -> usize {
        self.at_this_instant(|state, _| state.admission.running())
    }

    /// Requests that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.at_this_instant(|state, _| state.admission.waiting())
    }

    /// Takes a place; with a receiver if it is one in the queue.
    fn arrive(self: &Arc<Self>) -> Result<(Place, Option<oneshot::Receiver<()>>), NoWorker> {
        let entry = self.at_this_instant(|state, now| {
            let entry = state.admission.arrive(now).ok()?;
            Some(match entry {
                Entry::Started(ticket) => (ticket, None),
                Entry::Waiting(ticket) => {
                    let (told, started) = oneshot::channel();
                    state.waiting.insert(ticket, told);
                    (ticket, Some(started))
                }
            })
        });
        let (ticket, started) = entry.ok_or(NoWorker::QueueFull)?;
        let gate = Arc::clone(self);
        Ok((Place { gate, ticket }, started))
    }

    /// When a request's time is up: now if it has been.
    fn deadline(&self, ticket: Ticket) -> Instant {
        let deadline = self.state.lock().admission.deadline(ticket);
        let nanos = deadline.map_or(0, Timestamp::as_nanos);
        let at = self.origin.checked_add(Duration::from_nanos(nanos));
        // Centuries from now: as good as never.
        at.unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400 * 365))
    }

    /// Does something once all has happened that had to by now, and tells whom
    /// it concerns.
    fn at_this_instant<T>(&self, does: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let nanos = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let now = Timestamp::from_nanos(nanos);
        let mut state = self.state.lock();
        state.catch_up(now);
        let outcome = does(&mut state, now);
        state.catch_up(now);
        outcome
    }
}

impl State {
    fn catch_up(&mut self, now: Timestamp) {
        while let Some(event) = self.admission.poll(now) {
            match event {
                Event::Started(ticket) => {
                    // Whoever has gone meanwhile gives the worker back.
                    let told = self.waiting.remove(&ticket);
                    let _ = told.map(|told| told.send(()));
                }
                // The sender dropped says so.
                Event::QueueTimeout(ticket) => drop(self.waiting.remove(&ticket)),
                // Its owner has the same deadline.
                Event::RequestTimeout(_) => {}
            }
        }
    }
}

impl Worker {
    /// Does `work` until the worker's time is up; `None` if it is.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.deadline, work).await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let ticket = self.ticket;
        self.gate.at_this_instant(|state, _| {
            state.waiting.remove(&ticket);
            state.admission.leave(ticket);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use flow::Nanos;

    use super::*;

    fn gate(workers: usize, queue: usize, queue_timeout: u64, request_timeout: u64) -> Arc<Gate> {
        Arc::new(Gate::new(Rules {
            workers: NonZeroUsize::new(workers).unwrap(),
            queue,
            queue_timeout: Nanos::from_secs(queue_timeout),
            request_timeout: Nanos::from_secs(request_timeout),
        }))
    }

    /// What a request of `secs` comes to: when it ended, and how.
    async fn request(gate: Arc<Gate>, secs: u64) -> (u64, &'static str) {
        let since = Instant::now();
        let outcome = match gate.enter().await {
            Err(NoWorker::QueueFull) => "full",
            Err(NoWorker::QueueTimeout) => "waited",
            Ok(worker) => {
                let work = tokio::time::sleep(Duration::from_secs(secs));
                worker.run(work).await.map_or("slow", |()| "done")
            }
        };
        (since.elapsed().as_secs(), outcome)
    }

    async fn crowd(gate: &Arc<Gate>, requests: usize, secs: u64) -> Vec<(u64, &'static str)> {
        let tasks: Vec<_> = (0..requests)
            .map(|_| tokio::spawn(request(Arc::clone(gate), secs)))
            .collect();
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.unwrap());
        }
        outcomes.sort_unstable();
        outcomes
    }

    #[tokio::test(start_paused = true)]
    async fn twelve_slow_requests_leave_no_worker_busy() {
        let gate = gate(2, 3, 30, 4);
        let outcomes = crowd(&gate, 12, 5).await;
        let mut expected = vec![(0, "full"); 7];
        expected.extend([
            (4, "slow"),
            (4, "slow"),
            (8, "slow"),
            (8, "slow"),
            (12, "slow"),
        ]);
        assert_eq!(outcomes, expected);
        assert_eq!((gate.running(), gate.waiting()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_so_at_that_moment() {
        let gate = gate(1, 10, 3, 30);
        let outcomes = crowd(&gate, 3, 5).await;
        assert_eq!(outcomes, [(3, "waited"), (3, "waited"), (5, "done")]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_makes_room_in_the_queue_and_at_the_worker() {
        let gate = gate(1, 1, 30, 30);
        let worker = gate.enter().await.unwrap();
        let waiting = tokio::spawn(request(Arc::clone(&gate), 1));
        tokio::task::yield_now().await;
        assert_eq!(gate.waiting(), 1);
        waiting.abort();
        let _ = waiting.await;
        assert_eq!((gate.running(), gate.waiting()), (1, 0));
        drop(worker);
        assert_eq!(gate.running(), 0);
        assert_eq!(request(Arc::clone(&gate), 1).await, (1, "done"));
    }
}
