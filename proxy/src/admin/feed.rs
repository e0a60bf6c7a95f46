//! Rates, once a second: one task reads every account's counters, everybody who
//! watches gets the same frame.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use flow::Timestamp;
use flow::monitor::Meter;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::server::Handle;
use crate::users::view::StandingView;
use crate::users::{Account, Live, Moment, Usage};

/// From frame to frame.
const SECOND: Duration = Duration::from_secs(1);

/// All rates at one instant.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) server: ServerRates,
    /// By name: those who are connected, or have moved anything since the server started.
    pub(super) users: Vec<UserRates>,
    /// The numbers of `users`' accounts, and what this process has counted of them.
    pub(super) counted: Vec<(i64, Usage)>,
    /// What it has counted of all users, those who are gone too.
    pub(super) moved: Usage,
    text: OnceLock<Vec<String>>,
}

/// The rates of one direction, in bytes per second; null in the first second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Rates {
    /// Over the last second.
    pub instantaneous: Option<u64>,
    /// Since it was first seen.
    pub average: Option<u64>,
    /// The largest instantaneous rate.
    pub peak: Option<u64>,
    /// 7/8 of itself and 1/8 of each new instantaneous rate.
    pub smoothed: Option<u64>,
}

/// One user now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UserRates {
    /// The name.
    pub name: String,
    /// Whether they may log in.
    pub enabled: bool,
    /// Whether they are within quota and expiry.
    pub standing: StandingView,
    /// Open connections.
    pub connections: u64,
    /// Addresses that they come from.
    pub addresses: usize,
    /// From clients to targets.
    #[serde(rename = "up_Bps")]
    pub up: Rates,
    /// From targets to clients.
    #[serde(rename = "down_Bps")]
    pub down: Rates,
    /// The one limit of both directions that holds now; null is none.
    #[serde(rename = "limit_shared_Bps")]
    pub limit_shared: Option<u64>,
    /// The limit from clients to targets.
    #[serde(rename = "limit_up_Bps")]
    pub limit_up: Option<u64>,
    /// The limit from targets to clients.
    #[serde(rename = "limit_down_Bps")]
    pub limit_down: Option<u64>,
    /// Directions of connections that wait for a limit at this instant.
    pub waiting: u32,
    /// For which share of the last second somebody has waited for a limit, 0 to 1.
    pub throttled_share: f64,
    /// Payload bytes ever, from clients to targets.
    pub upload_bytes: u64,
    /// Payload bytes ever, from targets to clients.
    pub download_bytes: u64,
    /// Payload bytes of both directions in the current period.
    pub period_bytes: u64,
    /// What may be moved in it; null is any number.
    pub quota_bytes: Option<u64>,
}

/// The whole server now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServerRates {
    /// The number of the frame: one more each second.
    pub sequence: u64,
    /// Seconds since 1970.
    pub at: i64,
    /// Users there are.
    pub users: usize,
    /// Open sessions.
    pub sessions: usize,
    /// Directions of connections that wait for a limit.
    pub waiting: u64,
    /// From clients to targets.
    #[serde(rename = "up_Bps")]
    pub up: Rates,
    /// From targets to clients.
    #[serde(rename = "down_Bps")]
    pub down: Rates,
}

impl Frame {
    /// The users as JSON, made once for all who watch.
    pub(super) fn text(&self) -> &[String] {
        let json = |user| serde_json::to_string(user).unwrap_or_default();
        self.text
            .get_or_init(|| self.users.iter().map(json).collect())
    }

    /// One user, if there is anything to tell of them.
    pub(super) fn user(&self, name: &str) -> Option<usize> {
        let place = |user: &UserRates| user.name.as_str().cmp(name);
        self.users.binary_search_by(place).ok()
    }
}

/// Reads counters until told to stop.
pub(super) fn start(handle: Handle, stop: CancellationToken) -> watch::Receiver<Arc<Frame>> {
    let mut book = Book::new();
    let (sender, receiver) = watch::channel(Arc::new(book.read(&handle)));
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval_at(Instant::now() + SECOND, SECOND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            sender.send_replace(Arc::new(book.read(&handle)));
        }
    });
    receiver
}

/// What was read before.
struct Book {
    origin: Instant,
    /// When it was last read, and before that.
    read_at: Timestamp,
    before: Timestamp,
    sequence: u64,
    users: HashMap<i64, Watched>,
    server: Option<Both>,
    /// What users who are gone had moved.
    gone: Usage,
}

struct Watched {
    rates: Both,
    throttled: Duration,
    counted: Usage,
    /// Seen in this reading.
    is_here: bool,
}

/// The meters of both directions.
struct Both {
    up: Meter,
    down: Meter,
}

impl Book {
    fn new() -> Self {
        Self {
            origin: Instant::now(),
            read_at: Timestamp::ZERO,
            before: Timestamp::ZERO,
            sequence: 0,
            users: HashMap::new(),
            server: None,
            gone: Usage::default(),
        }
    }

    fn read(&mut self, handle: &Handle) -> Frame {
        let now = self.tick();
        let shared = handle.shared();
        let accounts = shared.users.accounts();
        let (mut users, mut total, mut waiting) = (Vec::new(), self.gone, 0_u64);
        for account in &accounts {
            let live = account.live();
            total = total + live.counted;
            waiting += u64::from(live.waiting);
            let user = self.user(now, account, &live);
            users.extend(user.map(|user| (user, (account.id(), live.counted))));
        }
        self.forget(&mut total);
        users.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        let (users, counted) = users.into_iter().unzip();
        let server = self
            .server
            .get_or_insert_with(|| Both::new(now, Usage::default()));
        server.read(now, total);
        Frame {
            server: ServerRates {
                sequence: self.sequence,
                at: Moment::now().unix_seconds(),
                users: accounts.len(),
                sessions: shared.sessions.count(),
                waiting,
                up: rates(&server.up),
                down: rates(&server.down),
            },
            users,
            counted,
            moved: total,
            text: OnceLock::new(),
        }
    }

    /// The instant of this reading. Timers are a little early or late: a reading that
    /// is a second after the last one must not be a hair less.
    fn tick(&mut self) -> Timestamp {
        let nanos = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let least = match self.sequence {
            0 => Timestamp::ZERO,
            _ => self.read_at + flow::Nanos::from_secs(1),
        };
        self.before = self.read_at;
        self.read_at = Timestamp::from_nanos(nanos).max(least);
        self.sequence += 1;
        self.read_at
    }

    /// Nothing for those who have done nothing yet.
    fn user(&mut self, now: Timestamp, account: &Account, live: &Live) -> Option<UserRates> {
        let known = self.users.contains_key(&account.id());
        if !known && live.connections == 0 && live.counted == Usage::default() {
            return None;
        }
        let before = self.before;
        let watched = self.users.entry(account.id()).or_insert_with(|| Watched {
            // Whoever begins within a second began at its start.
            rates: Both::new(before, Usage::default()),
            throttled: Duration::ZERO,
            counted: Usage::default(),
            is_here: true,
        });
        watched.rates.read(now, live.counted);
        let throttled = live.throttled.saturating_sub(watched.throttled);
        watched.throttled = live.throttled;
        watched.counted = live.counted;
        watched.is_here = true;
        let user = account.user();
        let [shared, up, down] = account.applied().policies();
        let rate = |policy: Option<flow::Policy>| Some(policy?.rate()?.get());
        Some(UserRates {
            enabled: user.enabled,
            standing: user.standing.into(),
            connections: live.connections,
            addresses: live.addresses,
            up: rates(&watched.rates.up),
            down: rates(&watched.rates.down),
            limit_shared: rate(shared),
            limit_up: rate(up),
            limit_down: rate(down),
            waiting: live.waiting,
            throttled_share: throttled.as_secs_f64().min(1.0),
            upload_bytes: user.usage.upload_bytes,
            download_bytes: user.usage.download_bytes,
            period_bytes: user.period.usage.total(),
            quota_bytes: user.rules.quota_bytes(),
            name: user.name,
        })
    }

    /// Forgets users who are gone; what they moved stays in the total.
    fn forget(&mut self, total: &mut Usage) {
        let gone = &mut self.gone;
        self.users.retain(|_, watched| {
            let stays = std::mem::take(&mut watched.is_here);
            if !stays {
                *gone = *gone + watched.counted;
                *total = *total + watched.counted;
            }
            stays
        });
    }
}

impl Both {
    fn new(now: Timestamp, counted: Usage) -> Self {
        Self {
            up: Meter::new(now, counted.upload_bytes),
            down: Meter::new(now, counted.download_bytes),
        }
    }

    fn read(&mut self, now: Timestamp, counted: Usage) {
        self.up.read(now, counted.upload_bytes);
        self.down.read(now, counted.download_bytes);
    }
}

fn rates(meter: &Meter) -> Rates {
    let rates = meter.rates();
    Rates {
        instantaneous: rates.instantaneous,
        average: rates.average,
        peak: rates.peak,
        smoothed: rates.smoothed,
    }
}
