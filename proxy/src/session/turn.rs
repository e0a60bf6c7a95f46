//! What an HTTP request passes on a listener of the HTTPS service before it is
//! dialled: the queue, a worker that it holds, and the choice of an instance.
//! Elsewhere it passes nothing.

#[cfg(feature = "https-service")]
pub(super) use with_service::{Instance, Turn};
#[cfg(not(feature = "https-service"))]
pub(super) use without_service::{Instance, Turn};

#[cfg(feature = "https-service")]
mod with_service {
    use crate::https_service::{Busy, Chosen, Outcome, Worker};
    use crate::protocol::Target;
    use crate::session::{Opened, Peer, SessionError, Wish};

    /// One request's place; dropped, its worker is free.
    pub(in crate::session) struct Turn(Option<(Worker, Busy)>);

    /// Where a request goes, counted there until this is dropped.
    pub(in crate::session) struct Instance(Option<Chosen>);

    impl Instance {
        /// The one for what a client has opened.
        pub(in crate::session) fn of(peer: &Peer, opened: &Opened) -> Result<Self, SessionError> {
            let Some(service) = &peer.service else {
                return Ok(Self(None));
            };
            let tls = match &opened.wish {
                Wish::Answer(_) => Some(false),
                Wish::Tunnel | Wish::Datagrams => None,
            };
            let chosen = service.instance(tls, &opened.target, peer.source.ip())?;
            Ok(Self(chosen))
        }

        /// `None`: where the client says.
        pub(in crate::session) fn target(&self) -> Option<Target> {
            self.0.as_ref()?.target()
        }

        /// Whether there was a choice: the next request has one too.
        pub(in crate::session) const fn is_chosen(&self) -> bool {
            self.0.is_some()
        }

        /// It is counted there no longer.
        pub(in crate::session) fn end(self) {}
    }

    impl Turn {
        /// Waits for a worker.
        pub(in crate::session) async fn take(peer: &Peer) -> Result<Self, SessionError> {
            let Some(service) = &peer.service else {
                return Ok(Self(None));
            };
            let mut busy = service.statistics().busy();
            match service.gate().enter().await {
                Ok(worker) => Ok(Self(Some((worker, busy)))),
                Err(refused) => {
                    busy.ends(crate::https_service::Fault::from(refused).outcome());
                    Err(refused.into())
                }
            }
        }

        /// Does `work` while the worker's time lasts; `None` if it is up.
        pub(in crate::session) async fn run<T>(
            &mut self,
            work: impl Future<Output = T>,
        ) -> Option<T> {
            let Some((worker, busy)) = &mut self.0 else {
                return Some(work.await);
            };
            let done = worker.run(work).await;
            busy.ends(match done {
                Some(_) => Outcome::Success,
                None => Outcome::Timeout("request_timeout"),
            });
            done
        }

        /// The work has come to nothing.
        pub(in crate::session) fn failed(&mut self) {
            if let Some((_, busy)) = &mut self.0 {
                busy.ends(Outcome::Error("http"));
            }
        }

        /// The worker is free.
        pub(in crate::session) fn end(self) {}
    }
}

#[cfg(not(feature = "https-service"))]
mod without_service {
    use crate::protocol::Target;
    use crate::session::{Opened, Peer, SessionError};

    /// Where a request goes.
    pub(in crate::session) struct Instance(());

    impl Instance {
        /// There is no choice.
        pub(in crate::session) fn of(_: &Peer, _: &Opened) -> Result<Self, SessionError> {
            Ok(Self(()))
        }

        /// Where the client says.
        pub(in crate::session) fn target(&self) -> Option<Target> {
            let Self(()) = self;
            None
        }

        /// There was none.
        pub(in crate::session) const fn is_chosen(&self) -> bool {
            let Self(()) = self;
            false
        }

        /// Nobody counted it.
        pub(in crate::session) fn end(self) {}
    }

    /// One request's place.
    pub(in crate::session) struct Turn(());

    impl Turn {
        /// Nobody waits.
        pub(in crate::session) async fn take(_: &Peer) -> Result<Self, SessionError> {
            Ok(Self(()))
        }

        /// Does `work`.
        pub(in crate::session) async fn run<T>(
            &mut self,
            work: impl Future<Output = T>,
        ) -> Option<T> {
            Some(work.await)
        }

        /// Nobody counts.
        pub(in crate::session) fn failed(&mut self) {}

        /// Nobody was busy.
        pub(in crate::session) fn end(self) {}
    }
}
