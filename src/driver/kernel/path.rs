//! One user's path: a sender's namespace, a cable, a receiver's namespace, and what limits
//! between them.

use std::net::{IpAddr, TcpListener, TcpStream};

use ::kernel::engine::{Counts, Engine};
use ::kernel::netns::{Cable, Namespace, use_congestion_control};
use ::kernel::rule::{self, Action, Budget, Hook, Limit, Matcher, Oversize, Rule, Rules};
use bench_clients::Ends;
use bench_clients::dial::Endpoint;
use flow::Policy;

use super::KernelError;
use crate::driver::real::io_error;
use crate::scenario::{Direction, KernelLimiter};

/// Longest that a packet waits in a queueing discipline.
const QUEUE: &str = "400ms";
const TCP: u8 = 6;

/// The left end sends, the right one receives.
pub(super) struct Path {
    cable: Cable,
    limiter: Option<(KernelLimiter, Held)>,
}

/// What holds the rate.
enum Held {
    /// Our rules; `None` while they are changed.
    Rules(Option<Engine>),
    /// The root of the interface's queueing disciplines.
    Discipline,
}

/// Rate and depth of a policy that has both.
fn limit_of(policy: Policy) -> Option<Limit> {
    match policy {
        Policy::TokenBucket { rate, burst, .. } => Some(Limit { rate, burst }),
        _ => None,
    }
}

impl Path {
    /// A path of its own, limited by `limiter` as `policy` says; anything else than a token
    /// bucket limits nothing.
    pub(super) fn new(limiter: KernelLimiter, policy: Policy) -> Result<Self, KernelError> {
        let mut path = Self {
            cable: Cable::new()?,
            limiter: None,
        };
        for namespace in [&path.cable.left, &path.cable.right] {
            settle(namespace)?;
        }
        if let Some(limit) = limit_of(policy) {
            path.limit(limiter, limit, "add")?;
        }
        Ok(path)
    }

    /// Changes the rate, and with it nothing else.
    pub(super) fn set_policy(&mut self, policy: Policy) -> Result<(), KernelError> {
        match (&self.limiter, limit_of(policy)) {
            (Some((limiter, _)), Some(limit)) => self.limit(*limiter, limit, "change"),
            _ => Ok(()),
        }
    }

    fn limit(
        &mut self,
        limiter: KernelLimiter,
        limit: Limit,
        verb: &str,
    ) -> Result<(), KernelError> {
        let held = match limiter {
            KernelLimiter::Tbf | KernelLimiter::Htb => {
                self.discipline(limiter, limit, verb)?;
                Held::Discipline
            }
            _ => {
                let engine = match self.limiter.take() {
                    Some((_, Held::Rules(engine))) => engine,
                    _ => None,
                };
                Held::Rules(Some(self.rules(limiter, limit, engine)?))
            }
        };
        self.limiter = Some((limiter, held));
        Ok(())
    }

    /// `tc` counts in bits and whole bytes.
    fn discipline(
        &self,
        limiter: KernelLimiter,
        limit: Limit,
        verb: &str,
    ) -> Result<(), KernelError> {
        let rate = format!("{}bit", u128::from(limit.rate.get()) * 8);
        let burst = format!("{}b", limit.burst.get());
        let name = Cable::INTERFACE;
        let tc = |words: &[&str]| self.cable.left.command("tc", words);
        if limiter == KernelLimiter::Tbf {
            tc(&[
                "qdisc", verb, "dev", name, "root", "tbf", "rate", &rate, "burst", &burst,
                "latency", QUEUE,
            ])?;
            return Ok(());
        }
        if verb == "add" {
            tc(&[
                "qdisc", verb, "dev", name, "root", "handle", "1:", "htb", "default", "10",
            ])?;
        }
        tc(&[
            "class", verb, "dev", name, "parent", "1:", "classid", "1:10", "htb", "rate", &rate,
            "burst", &burst, "cburst", &burst,
        ])?;
        Ok(())
    }

    /// Where the rules hold, and which they are.
    fn rules(
        &self,
        limiter: KernelLimiter,
        limit: Limit,
        engine: Option<Engine>,
    ) -> Result<Engine, KernelError> {
        let namespace = match limiter {
            KernelLimiter::Netfilter => &self.cable.right,
            _ => &self.cable.left,
        };
        let rules = rules(limiter, limit);
        let engine = namespace.run(move || {
            let mut engine = match engine {
                Some(engine) => engine,
                None => Engine::load()?,
            };
            engine.apply(&rules).map(|()| engine)
        })??;
        Ok(engine)
    }

    /// Shares a paced rate anew among the connections that send.
    pub(super) fn rebalance(&mut self) -> Result<(), KernelError> {
        let Some((KernelLimiter::Pacing, Held::Rules(held))) = &mut self.limiter else {
            return Ok(());
        };
        let Some(engine) = held.take() else {
            return Ok(());
        };
        let (engine, done) = self.cable.left.run(move || {
            let done = engine.rebalance();
            (engine, done)
        })?;
        *held = Some(engine);
        Ok(done?)
    }

    /// What our rule has counted, where one holds.
    pub(super) fn counts(&self) -> Result<Option<Counts>, KernelError> {
        let Some((_, Held::Rules(Some(engine)))) = &self.limiter else {
            return Ok(None);
        };
        Ok(engine.counts()?.first().map(|rule| rule.counts))
    }

    /// Opens connection number `flow`; both ends, wherever they are used.
    pub(super) fn open(&self, flow: u64, direction: Direction) -> Result<Ends, KernelError> {
        let address = Cable::RIGHT.ipv4;
        let listener = self
            .cable
            .right
            .run(move || TcpListener::bind((address, 0)))?;
        let listener = listener.map_err(failed("listen"))?;
        let to = listener.local_addr().map_err(failed("listen"))?;
        let sender = self.cable.left.run(move || TcpStream::connect(to))?;
        let sender = sender.map_err(failed("connect"))?;
        use_congestion_control(&sender, CONGESTION).map_err(failed("use CUBIC"))?;
        let sender = ready(sender)?;
        let (receiver, from) = listener.accept().map_err(failed("accept a connection"))?;
        let receiver = ready(receiver)?;
        let (client, server) = match direction {
            Direction::Down => (receiver, sender),
            Direction::Up => (sender, receiver),
        };
        Ok(Ends {
            flow,
            client: client.into(),
            server,
            bound: Endpoint::Address(from),
        })
    }
}

/// What the senders use, whatever this machine's default is.
const CONGESTION: &str = "cubic";

/// No 64 KiB at once merely because the path is short.
fn settle(namespace: &Namespace) -> Result<(), KernelError> {
    let written = namespace.run(|| std::fs::write("/proc/sys/net/ipv4/tcp_tso_rtt_log", "0"))?;
    match written {
        // Older kernels do not know it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(failed("set up a network namespace")),
    }
}

/// As the runtime wants a socket.
fn ready(stream: TcpStream) -> Result<tokio::net::TcpStream, KernelError> {
    stream
        .set_nonblocking(true)
        .and_then(|()| stream.set_nodelay(true))
        .and_then(|()| tokio::net::TcpStream::from_std(stream))
        .map_err(failed("set up a socket"))
}

fn failed(what: &'static str) -> impl FnOnce(std::io::Error) -> KernelError {
    move |source| io_error(what)(source).into()
}

fn rules(limiter: KernelLimiter, limit: Limit) -> Rules {
    let police = Action::Police {
        limit,
        oversize: Oversize::Borrow,
    };
    let to = |address: IpAddr| Matcher {
        remote: Some(address.into()),
        protocol: Some(TCP),
        ..Matcher::default()
    };
    let (left, right) = (Cable::LEFT.ipv4, Cable::RIGHT.ipv4);
    let (action, matcher, hook) = match limiter {
        KernelLimiter::Netfilter => (police, to(left), Some(Hook::Netfilter)),
        KernelLimiter::Cgroup => (police, to(right), Some(Hook::Cgroup)),
        KernelLimiter::Pacing => (Action::Pace { rate: limit.rate }, to(right), None),
        KernelLimiter::Tc | KernelLimiter::Tbf | KernelLimiter::Htb => {
            let interface = Some(Cable::INTERFACE.to_owned());
            let matcher = Matcher {
                interface,
                ..to(right)
            };
            (police, matcher, Some(Hook::Tc))
        }
    };
    let direction = match limiter {
        KernelLimiter::Netfilter => rule::Direction::Ingress,
        _ => rule::Direction::Egress,
    };
    let rule = Rule {
        name: "limit".to_owned(),
        matcher,
        direction,
        action,
        budget: Budget::PerRule,
        flows: false,
        hook,
    };
    Rules {
        rules: vec![rule],
        priority: -128,
    }
}
