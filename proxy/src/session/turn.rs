//! What an HTTP request passes on a listener of the HTTPS service before it is
//! dialled: the quotas, the queue, a worker that it holds, and the choice of an
//! instance. Elsewhere it passes nothing.

#[cfg(feature = "https-service")]
pub(super) use with_service::{Instance, Spent, Turn, introduce, moved};
#[cfg(not(feature = "https-service"))]
pub(super) use without_service::{Instance, Turn, introduce, moved};

#[cfg(feature = "https-service")]
mod with_service {
    use std::net::IpAddr;
    use std::sync::Arc;

    use crate::https_service::{Busy, Chosen, Fault, Limits, Outcome, Service, Worker};
    use crate::protocol::Target;
    use crate::protocol::http::Forward;
    use crate::relay::Lanes;
    use crate::session::forward::Failure;
    use crate::session::inbox::Inbox;
    use crate::session::{Opened, Peer, RequestId, SessionError, Wish};

    /// A quota that is used up.
    #[derive(Debug, thiserror::Error)]
    #[error("{fault}")]
    pub(crate) struct Spent {
        fault: Fault,
        /// For the answer: until when.
        pub(in crate::session) fields: Vec<(&'static str, String)>,
    }

    /// Tells a target what frames tell it too: the number of the request, unless the
    /// client has one of its own, and the client that a load balancer has named.
    pub(in crate::session) fn introduce(peer: &Peer, id: RequestId, forward: &mut Forward) {
        if peer.service.is_none() {
            return;
        }
        if !forward.has_field("X-Request-Id") {
            forward.set_field("X-Request-Id", &id.to_string());
        }
        if peer.named {
            forward.set_field("X-Forwarded-For", &peer.source.ip().to_string());
        }
    }

    /// Counts what a request has moved with the quotas.
    pub(in crate::session) fn moved(peer: &Peer, opened: &Opened, lanes: &Lanes) {
        if let Some(service) = &peer.service {
            let bytes = lanes.up.moved().saturating_add(lanes.down.moved());
            service.moved(peer.source.ip(), opened.user.account().id(), bytes);
        }
    }

    /// One request's place; dropped, its worker is free.
    pub(in crate::session) struct Turn(Option<UnderWay>);

    struct UnderWay {
        service: Arc<Service>,
        source: IpAddr,
        account: i64,
        limits: Limits,
        worker: Option<Worker>,
        busy: Busy,
    }

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
        /// Of a request that has been read.
        pub(in crate::session) fn begin(peer: &Peer, opened: &Opened) -> Self {
            let under_way = |service: &Arc<Service>| UnderWay {
                service: Arc::clone(service),
                source: peer.source.ip(),
                account: opened.user.account().id(),
                limits: Limits::default(),
                worker: None,
                busy: service.statistics().busy(),
            };
            Self(peer.service.as_ref().map(under_way))
        }

        /// Asks the quotas, and waits for a worker unless the client goes.
        pub(in crate::session) async fn wait(
            &mut self,
            inbox: &mut Inbox,
        ) -> Result<(), SessionError> {
            let Some(way) = &mut self.0 else {
                return Ok(());
            };
            if let Err(fault) = way.service.ask(way.source, way.account, &mut way.limits) {
                let fields = way.limits.fields();
                return Err(SessionError::Quota(Box::new(Spent { fault, fields })));
            }
            let entered = tokio::select! {
                // Where a worker is free it does not matter who has closed.
                biased;
                entered = way.service.gate().enter() => entered.map_err(SessionError::from),
                () = inbox.closed() => Err(SessionError::ClosedInQueue),
            };
            way.worker = Some(entered?);
            Ok(())
        }

        /// Does `work` while the worker's time lasts; `None` if it is up.
        pub(in crate::session) async fn run<T>(
            &mut self,
            work: impl Future<Output = T>,
        ) -> Option<T> {
            match self.0.as_ref().and_then(|way| way.worker.as_ref()) {
                None => Some(work.await),
                Some(worker) => worker.run(work).await,
            }
        }

        /// What quotas have left, for the answer.
        pub(in crate::session) fn fields(&self) -> Vec<(&'static str, String)> {
            let way = self.0.as_ref();
            way.map_or_else(Vec::new, |way| way.limits.fields())
        }

        /// There is no connection to the target.
        pub(in crate::session) fn refused(&mut self, error: &SessionError) {
            self.is(|| outcome(error));
        }

        /// There is no whole answer.
        pub(in crate::session) fn failed(&mut self, failure: &Failure) {
            self.is(|| match failure {
                Failure::ClientGone(_) => Fault::ClientGone.outcome(),
                Failure::ClientWire(_) => Outcome::Error("bad_request"),
                Failure::OriginGone(_) | Failure::OriginWire(_) => Outcome::Error("upstream"),
                Failure::Idle => Outcome::Timeout("idle"),
                Failure::Slow => Fault::RequestTimeout.outcome(),
                Failure::Limit => Outcome::Rejected("limit"),
                Failure::Ended(error) => outcome(error),
            });
        }

        /// The target has answered, or is connected.
        pub(in crate::session) fn served(&mut self) {
            self.is(|| Outcome::Success);
        }

        /// The worker is free.
        pub(in crate::session) fn end(self) {}

        fn is(&mut self, outcome: impl FnOnce() -> Outcome) {
            if let Some(way) = &mut self.0 {
                way.busy.ends(outcome());
            }
        }
    }

    /// As frames count the same.
    fn outcome(error: &SessionError) -> Outcome {
        match error {
            SessionError::TooMany(why) => Fault::from(*why).outcome(),
            SessionError::Quota(spent) => spent.fault.outcome(),
            SessionError::NoWorker(why) => Fault::from(*why).outcome(),
            SessionError::NoInstance(why) => Fault::from(why.clone()).outcome(),
            SessionError::Egress(error) => Fault::of(error).outcome(),
            SessionError::Slow => Fault::RequestTimeout.outcome(),
            SessionError::ClosedInQueue | SessionError::Client(_) => Fault::ClientGone.outcome(),
            SessionError::Revoked(_) | SessionError::Killed => Outcome::Error("revoked"),
            _ => Outcome::Error("http"),
        }
    }
}

#[cfg(not(feature = "https-service"))]
mod without_service {
    use crate::protocol::Target;
    use crate::protocol::http::Forward;
    use crate::relay::Lanes;
    use crate::session::forward::Failure;
    use crate::session::inbox::Inbox;
    use crate::session::{Opened, Peer, RequestId, SessionError};

    /// Tells a target nothing.
    pub(in crate::session) fn introduce(_: &Peer, _: RequestId, _: &mut Forward) {}

    /// Nobody counts.
    pub(in crate::session) fn moved(_: &Peer, _: &Opened, _: &Lanes) {}

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
        /// Nobody counts it.
        pub(in crate::session) fn begin(_: &Peer, _: &Opened) -> Self {
            Self(())
        }

        /// Nobody waits.
        pub(in crate::session) async fn wait(&mut self, _: &mut Inbox) -> Result<(), SessionError> {
            Ok(())
        }

        /// Does `work`.
        pub(in crate::session) async fn run<T>(
            &mut self,
            work: impl Future<Output = T>,
        ) -> Option<T> {
            Some(work.await)
        }

        /// There are no quotas.
        pub(in crate::session) fn fields(&self) -> Vec<(&'static str, String)> {
            let Self(()) = self;
            Vec::new()
        }

        /// Nobody counts.
        pub(in crate::session) fn refused(&mut self, _: &SessionError) {}

        /// Nobody counts.
        pub(in crate::session) fn failed(&mut self, _: &Failure) {}

        /// Nobody counts.
        pub(in crate::session) fn served(&mut self) {}

        /// Nobody was busy.
        pub(in crate::session) fn end(self) {}
    }
}
