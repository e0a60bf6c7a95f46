//! `[traffic]` and `[[user]]`: who sends what.

use std::ops::Range;
use std::path::Path;

use flow::{Nanos, Timestamp};
use toml::Spanned;
use toml::de::DeValue;
use traffic::Pattern;

use super::super::limits;
use super::super::problem::{Problem, chain, printable, remedy, split_remedy};
use super::super::section::{Entry, Node, Section};
use super::super::{Traces, User, UserLimit, check};
use super::{reference, spec};

/// The only user of a file that names none.
const ANONYMOUS: &str = "user";

const TRACE_HELP: &str =
    "a trace is CSV with the columns t_ns,size,user,connection; `weirgate traffic` writes one";

const EXAMPLE: &str = "{ pattern = \"bursty\" }";

/// Reads all users, `count` spelt out.
pub(super) fn read(
    top: &mut Section<'_>,
    folder: Option<&Path>,
    traces: &mut Traces,
    problems: &mut Vec<Problem>,
) -> Option<Vec<Spanned<User>>> {
    let (traffic, users) = (top.get("traffic"), top.get("user"));
    let mut reader = Reader {
        shared: Shared::None,
        folder,
        traces,
        problems,
        users: Vec::new(),
    };
    if let Some(entry) = traffic {
        reader.shared = reader.pattern(entry).map_or(Shared::Broken, Shared::Some);
    }
    let whole = match (users, traffic) {
        (Some(entry), _) => reader.users(entry),
        (None, Some(entry)) => reader.anonymous(entry.at()),
        (None, None) => {
            reader.problems.push(
                Problem::new(top.at(), "nobody sends anything")
                    .label("needs `traffic` or `user`")
                    .help(format!("add for example `traffic = {EXAMPLE}`")),
            );
            None
        }
    };
    whole.map(|()| reader.users)
}

struct Reader<'p> {
    shared: Shared,
    folder: Option<&'p Path>,
    traces: &'p mut Traces,
    problems: &'p mut Vec<Problem>,
    users: Vec<Spanned<User>>,
}

/// The pattern of users without one of their own.
enum Shared {
    None,
    /// There is one, and its mistake has been reported.
    Broken,
    Some(Pattern),
}

impl Reader<'_> {
    /// The only user of a file that names none.
    fn anonymous(&mut self, at: Range<usize>) -> Option<()> {
        let user = User {
            name: ANONYMOUS.to_owned(),
            pattern: self.inherited(at.clone())?,
            connections: 1,
            start: Timestamp::ZERO,
            limit: UserLimit::Reference,
        };
        self.add(user, at)
    }

    fn users(&mut self, entry: Entry<'_>) -> Option<()> {
        let nodes = entry.elements(self.problems)?;
        if nodes.is_empty() {
            self.problems.push(
                Problem::new(entry.at(), "the list of users is empty")
                    .label("nobody would send anything")
                    .help("name a user, or leave `user` out and write `[traffic]` alone"),
            );
            return None;
        }
        let mut whole = true;
        for node in nodes {
            whole &= self.user(node).is_some();
        }
        unique(&self.users, self.problems);
        whole.then_some(())
    }

    fn user(&mut self, node: Node<'_>) -> Option<()> {
        let mut section = Section::of(node, "in `user`", self.problems)?;
        let name = self.name(&mut section);
        let connections = self.number(&mut section, "connections", limits::CONNECTIONS);
        let count = self.number(&mut section, "count", limits::USERS as u64);
        let start = match section.get("start") {
            Some(entry) => entry.quantity::<Nanos>("5 s", self.problems),
            None => Some(Nanos::ZERO),
        };
        let limit = match section.get("limit") {
            Some(entry) => self.limit(entry),
            None => Some(UserLimit::Reference),
        };
        let pattern = match section.get("traffic") {
            Some(entry) => self.pattern(entry),
            None => self.inherited(section.at()),
        };
        section.finish(self.problems);
        let (name, name_at) = name?;
        let user = User {
            name,
            pattern: pattern?,
            connections: u32::try_from(connections?).ok()?,
            start: Timestamp::ZERO + start?,
            limit: limit?,
        };
        self.add_all(user, count?, name_at)
    }

    fn name(&mut self, section: &mut Section<'_>) -> Option<(String, Range<usize>)> {
        let entry = section.require("name", "\"alice\"")?;
        let name = entry.string(self.problems)?;
        check::is_name(name, entry.at(), "a user's name", self.problems)
            .then(|| (name.to_owned(), entry.at()))
    }

    fn number(&mut self, section: &mut Section<'_>, key: &'static str, most: u64) -> Option<u64> {
        match section.get(key) {
            Some(entry) => entry.integer(1..=most, self.problems),
            None => Some(1),
        }
    }

    fn limit(&mut self, entry: Entry<'_>) -> Option<UserLimit> {
        match entry.value.get_ref() {
            DeValue::Table(_) => {
                let mut section = Section::of(entry.value, "in `limit`", self.problems)?;
                let own = reference(&mut section, self.problems);
                section.finish(self.problems);
                own.map(UserLimit::Own)
            }
            _ => entry.word(
                &[
                    ("reference", UserLimit::Reference),
                    ("none", UserLimit::Unlimited),
                ],
                self.problems,
            ),
        }
    }

    fn inherited(&mut self, at: Range<usize>) -> Option<Pattern> {
        match &self.shared {
            Shared::Some(pattern) => Some(pattern.clone()),
            Shared::Broken => None,
            Shared::None => {
                self.problems.push(
                    Problem::new(at, "this user sends nothing")
                        .label("needs `traffic`")
                        .help(format!(
                            "add `traffic = {EXAMPLE}` here, or a `[traffic]` table for all users"
                        )),
                );
                None
            }
        }
    }

    /// The user, or `count` of them with a number each.
    fn add_all(&mut self, user: User, count: u64, at: Range<usize>) -> Option<()> {
        if self.users.len() as u64 + count > limits::USERS as u64 {
            let message = format!("more than {} users", limits::USERS);
            self.problems.push(Problem::new(at, message));
            return None;
        }
        if count == 1 {
            return self.add(user, at);
        }
        for i in 1..=count {
            let mut user = user.clone();
            user.name = format!("{}-{i}", user.name);
            self.add(user, at.clone())?;
        }
        Some(())
    }

    fn add(&mut self, user: User, at: Range<usize>) -> Option<()> {
        if let Pattern::Trace { file, user: None } = &user.pattern {
            self.occurs(file, &user.name, at.clone())?;
        }
        self.users.push(Spanned::new(at, user));
        Some(())
    }

    /// A table with a `pattern` and its parameters.
    fn pattern(&mut self, entry: Entry<'_>) -> Option<Pattern> {
        let mut section = Section::of(entry.value, "in `traffic`", self.problems)?;
        let kind = section.require("pattern", "\"bursty\"");
        let rest = section.into_rest(self.problems);
        let kind = kind?;
        let name = kind.string(self.problems)?;
        let fields = spec::fields(&rest, self.problems)?;
        let pattern = Pattern::from_fields(name, &fields)
            .map_err(|why| {
                self.problems.push(spec::problem(&why, kind.at(), &rest));
            })
            .ok()?;
        if let Pattern::Trace { file, user } = &pattern {
            let at = |key: &str| {
                let named = rest.iter().find(|entry| **entry.key.get_ref() == *key);
                named.map_or_else(|| kind.at(), Entry::at)
            };
            self.trace(file, at("file"))?;
            if let Some(user) = user {
                self.occurs(file, user, at("user"))?;
            }
        }
        Some(pattern)
    }

    /// Reads the trace `file`.
    fn trace(&mut self, file: &str, at: Range<usize>) -> Option<()> {
        let why = match self.traces.read(self.folder, file) {
            Ok(_) => return Some(()),
            Err(why) => chain(&why),
        };
        let (message, help) = split_remedy(&why);
        self.problems
            .push(Problem::new(at, message).help(help.unwrap_or(TRACE_HELP)));
        None
    }

    /// Whether `user` sends anything in the trace `file`.
    fn occurs(&mut self, file: &str, user: &str, at: Range<usize>) -> Option<()> {
        let recording = self.traces.get(file)?;
        if recording.user(user).is_some() {
            return Some(());
        }
        let names: Vec<_> = recording.users().iter().map(String::as_str).collect();
        let user = printable(user);
        self.problems.push(
            Problem::new(at, format!("the trace has no user called \"{user}\""))
                .label("not in the trace")
                .help(format!(
                    "write `user = \"...\"` beside `file`; {}",
                    remedy(&user, &names, "it has")
                )),
        );
        None
    }
}

fn unique(users: &[Spanned<User>], problems: &mut Vec<Problem>) {
    let mut seen = std::collections::BTreeMap::new();
    for user in users {
        let name = &user.get_ref().name;
        if let Some(first) = seen.insert(name, user.span()) {
            problems.push(
                Problem::new(user.span(), format!("two users are called \"{name}\""))
                    .label("again")
                    .also(first, "first")
                    .help("give each user a name of its own"),
            );
        }
    }
}
