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

use crate::budget;
use crate::metrics::Reason;
use crate::sessions::Sessions;

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
    load: Arc<Load>,
}

/// What a worker has to do.
#[derive(Debug, Default)]
struct Load {
    /// Connections that it has been given and that have not ended.
    connections: AtomicUsize,
    /// Where it is counted that one ended by a fault of ours.
    sessions: Sessions,
}

impl Load {
    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Workers {
    /// So many threads for connections of `sessions`; without any, the runtime that
    /// this is called in.
    pub(super) fn start(threads: usize, sessions: &Sessions) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let mut all: Vec<_> = (0..threads)
            .map(|index| Worker::start(index, stop.clone(), sessions.clone()))
            .collect::<Result<_, _>>()?;
        if all.is_empty() {
            all.push(Worker::new(Handle::current(), sessions.clone()));
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
        let load = |index: usize| all[index].load.connections();
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
        let _place = place;
        // In the event loop of the thread that serves.
        match TcpStream::from_std(client) {
            // Made here, not handed in: a future that is handed on is held twice.
            Ok(client) => serve(client).await,
            Err(error) => tracing::warn!(%error, "a client cannot be waited for"),
        }
    }
}

impl Worker {
    fn new(runtime: Handle, sessions: Sessions) -> Self {
        let connections = AtomicUsize::new(0);
        let load = Arc::new(Load {
            connections,
            sessions,
        });
        Self { runtime, load }
    }

    fn start(index: usize, stop: CancellationToken, sessions: Sessions) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let worker = Self::new(runtime.handle().clone(), sessions);
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

/// One connection's share of a worker's load. If its task panics that is told; the
/// others go on.
struct Place(Arc<Load>);

impl Place {
    fn take(load: &Arc<Load>) -> Self {
        load.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
        if std::thread::panicking() {
            self.0.sessions.tally().failed(Reason::Internal);
            tracing::error!("a connection ended in a panic; please report it");
        }
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
        let workers = Workers::start(2, &Sessions::default()).unwrap();
        let sessions = TaskTracker::new();
        let (first, end_first) = next(&workers, &sessions).await;
        let (second, _end_second) = next(&workers, &sessions).await;
        assert_ne!(first, second);
        let (third, _end_third) = next(&workers, &sessions).await;
        assert_eq!(first, third, "with equal loads the one that accepts");
        drop(end_first);
        while workers.0.all[0].load.connections() > 1 {
            tokio::task::yield_now().await;
        }
        let (fourth, _end) = next(&workers, &sessions).await;
        assert_eq!(first, fourth);
    }

    #[tokio::test]
    async fn without_threads_the_caller_serves() {
        let workers = Workers::start(0, &Sessions::default()).unwrap();
        let (thread, _end) = next(&workers, &TaskTracker::new()).await;
        assert_eq!(thread, std::thread::current().id());
    }

    /// A fault of ours ends the connection that it is in, and is counted.
    #[tokio::test]
    async fn a_panic_ends_one_connection_and_is_counted() {
        let sessions = Sessions::default();
        let workers = Workers::start(1, &sessions).unwrap();
        let tracker = TaskTracker::new();
        let (_, end) = next(&workers, &tracker).await;
        let (client, mut other) = pair();
        workers.serve(0, &tracker, client, |client| async move {
            let _client = client;
            std::panic::resume_unwind(Box::new("planted"));
        });
        assert_eq!(std::io::Read::read(&mut other, &mut [0]).unwrap(), 0);
        let (_, end_next) = next(&workers, &tracker).await;
        assert_eq!(tracker.len(), 2, "the one before and the one after");
        assert_eq!(workers.0.all[0].load.connections(), 2);
        assert_eq!(sessions.tally().failures(Reason::Internal), 1);
        drop((end, end_next));
        tracker.close();
        tracker.wait().await;
    }
}
