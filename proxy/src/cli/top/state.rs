//! What `weirgate-proxy top` shows, and what keys do to it: no terminal, no socket.

use std::collections::{HashMap, VecDeque};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde::Deserialize;

/// Seconds of a curve that are kept.
const KEPT: usize = 300;
/// The longest rate that can be typed.
const LONGEST: usize = 32;

/// `GET /api/v1/rates`, as much as is shown.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Page {
    pub(super) server: Server,
    pub(super) users: Vec<User>,
}

/// The whole server now.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Server {
    pub(super) sequence: u64,
    pub(super) users: u64,
    pub(super) sessions: u64,
    pub(super) waiting: u64,
    #[serde(rename = "up_Bps")]
    pub(super) up: Rates,
    #[serde(rename = "down_Bps")]
    pub(super) down: Rates,
}

/// One user now.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) enabled: bool,
    pub(super) standing: String,
    pub(super) connections: u64,
    #[serde(rename = "up_Bps")]
    pub(super) up: Rates,
    #[serde(rename = "down_Bps")]
    pub(super) down: Rates,
    #[serde(rename = "limit_shared_Bps")]
    pub(super) limit_shared: Option<u64>,
    #[serde(rename = "limit_up_Bps")]
    pub(super) limit_up: Option<u64>,
    #[serde(rename = "limit_down_Bps")]
    pub(super) limit_down: Option<u64>,
    pub(super) throttled_share: f64,
    pub(super) period_bytes: u64,
    pub(super) quota_bytes: Option<u64>,
}

/// Bytes per second.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Rates {
    pub(super) instantaneous: Option<u64>,
    pub(super) peak: Option<u64>,
}

/// By what the users are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Down,
    Up,
    Sessions,
    Name,
}

/// What is typed, or asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Look,
    /// A rate for the chosen user.
    Rate(String),
    /// Whether the chosen user's sessions are to end.
    Kill,
}

/// What a key asks of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    /// Gives a user one limit for both directions.
    Limit {
        user: String,
        rate: String,
    },
    /// Ends a user's sessions.
    Kill {
        user: String,
    },
}

/// Everything that is shown.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) page: Page,
    pub(super) order: Order,
    pub(super) mode: Mode,
    /// The chosen user, by name: the table moves under it.
    pub(super) chosen: Option<String>,
    /// What came of the last wish, or why there is nothing new.
    pub(super) message: Option<String>,
    curves: HashMap<String, VecDeque<u64>>,
}

impl Rates {
    pub(super) fn now(self) -> u64 {
        self.instantaneous.unwrap_or(0)
    }
}

impl User {
    /// Which share is used of the limit that binds most, and that limit.
    pub(super) fn binding(&self) -> Option<(f64, u64)> {
        let (up, down) = (self.up.now(), self.down.now());
        let uses = [
            (up.saturating_add(down), self.limit_shared),
            (down, self.limit_down),
            (up, self.limit_up),
        ];
        let uses = uses.into_iter().filter_map(|(used, limit)| {
            let limit = limit.filter(|limit| *limit > 0)?;
            Some((ratio(used, limit), limit))
        });
        uses.max_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// Which share of the quota is used.
    pub(super) fn quota(&self) -> Option<f64> {
        let quota = self.quota_bytes?;
        Some(if quota == 0 {
            1.0
        } else {
            ratio(self.period_bytes, quota)
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share for people to read")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

impl State {
    /// Takes over a new page; the same second once more is no news.
    pub(super) fn take(&mut self, page: Page) {
        let is_new = page.server.sequence != self.page.server.sequence;
        self.page = page;
        self.sort();
        if is_new {
            self.remember();
        }
        let is_there = |name: &String| self.page.users.iter().any(|user| user.name == *name);
        if !self.chosen.as_ref().is_some_and(is_there) {
            self.chosen = self.page.users.first().map(|user| user.name.clone());
        }
    }

    /// The chosen user and their place in the table.
    pub(super) fn chosen(&self) -> Option<(usize, &User)> {
        let name = self.chosen.as_ref()?;
        let mut users = self.page.users.iter().enumerate();
        users.find(|(_, user)| user.name == *name)
    }

    /// What a user has moved in each second, both directions together, the newest last.
    pub(super) fn curve(&self, name: &str) -> impl DoubleEndedIterator<Item = u64> {
        self.curves.get(name).into_iter().flatten().copied()
    }

    /// What a key asks for, if it asks for anything.
    pub(super) fn key(&mut self, key: KeyEvent) -> Option<Wish> {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Some(Wish::Quit);
        }
        match std::mem::take(&mut self.mode) {
            Mode::Look => return self.look(key.code),
            Mode::Rate(text) => return self.rate(key.code, text),
            Mode::Kill => {}
        }
        match key.code {
            KeyCode::Char('y') => self.chosen.clone().map(|user| Wish::Kill { user }),
            _ => None,
        }
    }

    fn look(&mut self, key: KeyCode) -> Option<Wish> {
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Some(Wish::Quit),
            KeyCode::Char('d') => self.order = Order::Down,
            KeyCode::Char('u') => self.order = Order::Up,
            KeyCode::Char('s') => self.order = Order::Sessions,
            KeyCode::Char('n') => self.order = Order::Name,
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::PageDown => self.step(10),
            KeyCode::PageUp => self.step(-10),
            KeyCode::Home => self.step(isize::MIN),
            KeyCode::End => self.step(isize::MAX),
            KeyCode::Char('l') | KeyCode::Enter if self.chosen.is_some() => {
                self.mode = Mode::Rate(String::new());
            }
            KeyCode::Char('x') if self.chosen.is_some() => self.mode = Mode::Kill,
            _ => {}
        }
        self.sort();
        None
    }

    fn rate(&mut self, key: KeyCode, mut text: String) -> Option<Wish> {
        match key {
            KeyCode::Esc => return None,
            KeyCode::Enter if text.trim().is_empty() => return None,
            KeyCode::Enter => {
                let user = self.chosen.clone()?;
                let rate = text.trim().to_owned();
                return Some(Wish::Limit { user, rate });
            }
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char(typed) if text.len() < LONGEST && !typed.is_control() => text.push(typed),
            _ => {}
        }
        self.mode = Mode::Rate(text);
        None
    }

    fn step(&mut self, by: isize) {
        let at = self.chosen().map_or(0, |(at, _)| at);
        let last = self.page.users.len().saturating_sub(1);
        let at = at.saturating_add_signed(by).min(last);
        self.chosen = self.page.users.get(at).map(|user| user.name.clone());
    }

    fn sort(&mut self) {
        let order = self.order;
        let key = |user: &User| match order {
            Order::Down => user.down.now(),
            Order::Up => user.up.now(),
            Order::Sessions => user.connections,
            Order::Name => 0,
        };
        let users = &mut self.page.users;
        users.sort_by(|a, b| key(b).cmp(&key(a)).then_with(|| a.name.cmp(&b.name)));
    }

    fn remember(&mut self) {
        let Page { users, .. } = &self.page;
        for user in users {
            let curve = self.curves.entry(user.name.clone()).or_default();
            if curve.len() == KEPT {
                curve.pop_front();
            }
            curve.push_back(user.down.now().saturating_add(user.up.now()));
        }
        // Who has left the page has left the server's memory.
        if self.curves.len() > users.len() {
            let stays: std::collections::HashSet<_> =
                users.iter().map(|user| user.name.as_str()).collect();
            self.curves.retain(|name, _| stays.contains(name.as_str()));
        }
    }
}
