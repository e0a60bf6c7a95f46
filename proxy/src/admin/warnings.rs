//! What an operator should know before a user calls: quotas that run out, accounts that
//! end, users who wait for their limit most of the time. Each is a line in the log and,
//! if there is a webhook, a POST of JSON; once, not each second.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::feed::{Frame, UserRates};
use crate::config::AdminConfig;
use crate::server::Handle;
use crate::users::{Moment, User};

mod webhook;

pub(super) use webhook::Webhook;

/// Shares of a quota, in percent, that are worth a warning.
const QUOTA_STEPS: [u8; 2] = [80, 95];
/// Seconds from one look at all accounts' ends to the next.
const EXPIRY_LOOKS: u64 = 60;
const DAY: i64 = 86_400;

/// What is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Warning {
    /// What it is about: `quota`, `expiry` or `throttled`.
    kind: &'static str,
    /// Whom.
    user: String,
    /// The same in words.
    text: String,
    /// For `quota`: the share that is used up, in percent. For `throttled`: the share of
    /// the last window.
    percent: Option<u8>,
    /// For `expiry`: when the account ends.
    expires: Option<String>,
    /// When it was noticed, in seconds since 1970.
    at: i64,
}

/// Watches until told to stop.
pub(super) fn start(
    handle: Handle,
    config: &AdminConfig,
    hook: Option<Webhook>,
    feed: watch::Receiver<Arc<Frame>>,
    stop: CancellationToken,
) {
    let hook = hook.map(|hook| webhook::start(hook, stop.clone()));
    let watcher = Watcher {
        expiry_days: config.expiry_days,
        throttled: Throttled {
            percent: config.throttled_percent,
            window: config.throttled_window.as_secs().max(1),
        },
        users: HashMap::new(),
        ends: HashMap::new(),
    };
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = watcher.watch(handle, feed, hook) => {}
        }
    });
}

struct Watcher {
    expiry_days: u32,
    throttled: Throttled,
    /// By the numbers of their accounts.
    users: HashMap<i64, Seen>,
    /// Users whose end has been told of, and which it was.
    ends: HashMap<String, Moment>,
}

/// Who is named for waiting.
#[derive(Clone, Copy)]
struct Throttled {
    /// At least this share of the window; 0 is nobody.
    percent: u8,
    /// Seconds.
    window: u64,
}

/// What has been told of one user.
#[derive(Default)]
struct Seen {
    /// The highest step of the quota.
    quota: Option<u8>,
    /// Seconds of the window, and those in which they waited.
    seconds: u64,
    waited: f64,
    /// They were named for the last window.
    throttled: bool,
}

impl Watcher {
    async fn watch(
        mut self,
        handle: Handle,
        mut feed: watch::Receiver<Arc<Frame>>,
        hook: Option<mpsc::Sender<Warning>>,
    ) {
        while feed.changed().await.is_ok() {
            let frame = Arc::clone(&feed.borrow_and_update());
            let mut warnings = self.rates(&frame);
            if frame.server.sequence % EXPIRY_LOOKS == 2 {
                let users = handle.shared().users.list();
                warnings.extend(self.ends(&users, Moment::now()));
            }
            for warning in warnings {
                tracing::warn!(
                    kind = warning.kind, user = %warning.user.escape_debug(), text = warning.text,
                    "warning"
                );
                if let Some(Err(error)) = hook.as_ref().map(|hook| hook.try_send(warning)) {
                    tracing::error!(%error, "a warning is not posted: the webhook is too slow");
                }
            }
        }
    }

    /// Of quotas and limits, by this second's rates.
    fn rates(&mut self, frame: &Frame) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for ((id, _), user) in frame.counted.iter().zip(&frame.users) {
            let seen = self.users.entry(*id).or_default();
            let at = frame.server.at;
            warnings.extend(seen.quota(user, at));
            warnings.extend(seen.throttle(user, self.throttled, at));
        }
        warnings
    }

    /// Of accounts that end soon.
    fn ends(&mut self, users: &[User], now: Moment) -> Vec<Warning> {
        let soon = now
            .unix_seconds()
            .saturating_add(i64::from(self.expiry_days) * DAY);
        let ending = users
            .iter()
            .filter_map(|user| Some((user, user.rules.end()?)));
        let near = |end: Moment| end > now && end.unix_seconds() <= soon;
        let ending: Vec<_> = ending.filter(|(_, end)| near(*end)).collect();
        let new = ending
            .iter()
            .filter(|(user, end)| self.ends.get(&user.name) != Some(end));
        let warnings = new.map(|(user, end)| Warning {
            kind: "expiry",
            user: user.name.clone(),
            text: format!("the account ends at {end}"),
            percent: None,
            expires: Some(end.to_string()),
            at: now.unix_seconds(),
        });
        let warnings = warnings.collect();
        // Whose end is put off is told of again when that comes near.
        self.ends = ending
            .iter()
            .map(|(user, end)| (user.name.clone(), *end))
            .collect();
        warnings
    }
}

impl Seen {
    fn quota(&mut self, user: &UserRates, at: i64) -> Option<Warning> {
        let quota = user.quota_bytes.filter(|&quota| quota > 0)?;
        let percent = u128::from(user.period_bytes) * 100 / u128::from(quota);
        let percent = u8::try_from(percent.min(100)).unwrap_or(100);
        let step = QUOTA_STEPS.into_iter().rfind(|&step| percent >= step);
        // A new period, or a larger quota, begins anew.
        let before = std::mem::replace(&mut self.quota, step);
        let step = step.filter(|_| step > before)?;
        Some(Warning {
            kind: "quota",
            user: user.name.clone(),
            text: format!(
                "{step} % of the quota are used up: {} of {quota} B",
                user.period_bytes
            ),
            percent: Some(percent),
            expires: None,
            at,
        })
    }

    /// At the end of a window; once, until there is a window in which they did not wait
    /// so much.
    fn throttle(&mut self, user: &UserRates, named: Throttled, at: i64) -> Option<Warning> {
        self.seconds += 1;
        self.waited += user.throttled_share;
        if self.seconds < named.window {
            return None;
        }
        let share = self.waited / f64::from(u32::try_from(self.seconds).unwrap_or(u32::MAX));
        (self.seconds, self.waited) = (0, 0.0);
        let percent = (0..=100_u8)
            .rev()
            .find(|&percent| share * 100.0 >= f64::from(percent));
        let percent = percent.filter(|&percent| named.percent > 0 && percent >= named.percent);
        let before = std::mem::replace(&mut self.throttled, percent.is_some());
        let percent = percent.filter(|_| !before)?;
        let window = flow::Nanos::from_secs(named.window);
        Some(Warning {
            kind: "throttled",
            user: user.name.clone(),
            text: format!("the user has waited for the limit {percent} % of the last {window}"),
            percent: Some(percent),
            expires: None,
            at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::feed::Rates;
    use crate::users::view::StandingView;

    fn user(period_bytes: u64, quota_bytes: Option<u64>, throttled_share: f64) -> UserRates {
        UserRates {
            name: "ada".to_owned(),
            enabled: true,
            standing: StandingView::Good,
            connections: 1,
            addresses: 1,
            up: Rates::default(),
            down: Rates::default(),
            limit_shared: None,
            limit_up: None,
            limit_down: None,
            waiting: 0,
            throttled_share,
            upload_bytes: 0,
            download_bytes: 0,
            period_bytes,
            quota_bytes,
        }
    }

    #[test]
    fn each_step_of_a_quota_is_told_once_a_period() {
        let mut seen = Seen::default();
        let told: Vec<_> = [10, 79, 80, 90, 95, 99, 100, 5, 96, 96]
            .map(|used| {
                seen.quota(&user(used, Some(100), 0.0), 0)
                    .and_then(|it| it.percent)
            })
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(told, [80, 95, 96]);
        assert_eq!(seen.quota(&user(100, None, 0.0), 0), None);
        assert_eq!(
            seen.quota(&user(u64::MAX, Some(1), 0.0), 0)
                .and_then(|it| it.percent),
            None
        );
    }

    #[test]
    fn whoever_waits_most_of_the_time_is_named_until_they_do_not() {
        let told = |shares: &[f64], percent: u8| {
            let mut seen = Seen::default();
            let named = Throttled {
                percent,
                window: 600,
            };
            let seconds = shares.iter().flat_map(|&share| [share; 600]);
            seconds
                .filter_map(|share| seen.throttle(&user(0, None, share), named, 0))
                .count()
        };
        assert_eq!(told(&[0.9, 0.9, 1.0], 80), 1);
        assert_eq!(told(&[0.9, 0.1, 0.9], 80), 2);
        assert_eq!(
            (told(&[0.7], 80), told(&[0.7], 60), told(&[1.0], 0)),
            (0, 1, 0)
        );
    }
}
