//! The threads that serve connections, each with an event loop of its own.
//!
//! A connection stays on the thread that it was given to. Such a thread asks
//! for events when none of its connections has anything left to do; in a pool
//! that steals work one thread waits for events all the time, and is woken for
//! each of a socket that another one is busy with.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Witness;
use crate::budget;

/// Where connections are served; the threads end when the last of these is
/// dropped.
#[derive(Clone, Debug)]
pub(crate) struct Workers(Arc<Threads>);

#[derive(Debug)]
struct Threads {
    all: Vec<Worker>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// Connections that it has been given and that have not ended.
    load: Arc<AtomicUsize>,
}

impl Workers {
    /// So many threads; without any, the runtime that this is called in.
    pub(super) fn start(threads: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let mut all: Vec<_> = (0..threads)
            .map(|index| Worker::start(index, stop.clone()))
            .collect::<Result<_, _>>()?;
        if all.is_empty() {
            all.push(Worker::new(Handle::current()));
        }
        Ok(Self(Arc::new(Threads { all, stop })))
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.0.all.len()
    }

    /// The runtime of one of them.
    pub(crate) fn runtime(&self, index: usize) -> &Handle {
        &self.0.all[index % self.0.all.len()].runtime
    }

    /// Has `client` served by whoever has the fewest; `here` if that is no more
    /// than anybody else.
    pub(crate) fn serve<S>(
        &self,
        here: usize,
        sessions: &TaskTracker,
        client: std::net::TcpStream,
        serve: impl FnOnce(TcpStream) -> S + Send + 'static,
    ) where
        S: Future<Output = ()> + Send + 'static,
    {
        let all = &self.0.all;
        let load = |index: usize| all[index].load.load(Ordering::Relaxed);
        let here = here % all.len();
        let least = (0..all.len()).min_by_key(|&index| (load(index), index != here));
        let worker = &all[least.unwrap_or(here)];
        let place = Place::take(&worker.load);
        sessions.spawn_on(connection(place, client, serve), &worker.runtime);
    }
}

/// The task of one connection.
#[expect(
    clippy::manual_async_fn,
    reason = "which would hold what it is given twice"
)]
fn connection<S: Future<Output = ()> + Send>(
    place: Place,
    client: std::net::TcpStream,
    serve: impl FnOnce(TcpStream) -> S + Send,
) -> impl Future<Output = ()> + Send {
    async move {
        let _held = (place, Witness);
        // In the event loop of the thread that serves.
        match TcpStream::from_std(client) {
            // Made here, not handed in: a future that is handed on is held twice.
            Ok(client) => serve(client).await,
            Err(error) => tracing::warn!(%error, "a client cannot be waited for"),
        }
    }
}

impl Worker {
    fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            load: Arc::default(),
        }
    }

    fn start(index: usize, stop: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let worker = Self::new(runtime.handle().clone());
        std::thread::Builder::new()
            .name(format!("connections-{index}"))
            .spawn(move || {
                budget::serve_alarms_apart(index);
                runtime.block_on(stop.cancelled());
                // A password that is being hashed need not be waited for.
                runtime.shutdown_background();
            })?;
        Ok(worker)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// One connection's share of a worker's load.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(load: &Arc<AtomicUsize>) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread::ThreadId;

    use tokio::sync::oneshot;

    use super::*;

    /// The thread that serves the next connection, and what ends that.
    async fn next(workers: &Workers, sessions: &TaskTracker) -> (ThreadId, oneshot::Sender<()>) {
        let (end, ended) = oneshot::channel::<()>();
        let (say, said) = oneshot::channel();
        let (client, _other) = pair();
        workers.serve(0, sessions, client, |_| async move {
            let _ = say.send(std::thread::current().id());
            let _ = ended.await;
        });
        (said.await.unwrap(), end)
    }

    fn pair() -> (std::net::TcpStream, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let other = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (client, _) = listener.accept().unwrap();
        client.set_nonblocking(true).unwrap();
        (client, other)
    }

    #[test]
    fn a_task_holds_what_serves_it_once() {
        let place = Place::take(&Arc::default());
        let task = connection(place, pair().0, |_| async {
            let held = [1_u8; 2_000];
            tokio::task::yield_now().await;
            std::hint::black_box(&held);
        });
        let bytes = size_of_val(&task);
        assert!((2_000..2_400).contains(&bytes), "{bytes}");
    }

    #[tokio::test]
    async fn connections_go_where_there_are_fewest() {
        let workers = Workers::start(2).unwrap();
        let sessions = TaskTracker::new();
        let (first, end_first) = next(&workers, &sessions).await;
        let (second, _end_second) = next(&workers, &sessions).await;
        assert_ne!(first, second);
        let (third, _end_third) = next(&workers, &sessions).await;
        assert_eq!(first, third, "with equal loads the one that accepts");
        drop(end_first);
        while workers.0.all[0].load.load(Ordering::Relaxed) > 1 {
            tokio::task::yield_now().await;
        }
        let (fourth, _end) = next(&workers, &sessions).await;
        assert_eq!(first, fourth);
    }

    #[tokio::test]
    async fn without_threads_the_caller_serves() {
        let workers = Workers::start(0).unwrap();
        let (thread, _end) = next(&workers, &TaskTracker::new()).await;
        assert_eq!(thread, std::thread::current().id());
    }
}
