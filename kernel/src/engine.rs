//! The part in the kernel: rules are written to maps, programs hang at their hooks, counts are
//! read back.
//!
//! Rules live in two banks, of which one counts. A change is written to the other and made
//! valid by eight bytes, so that every packet meets either all old rules or all new ones, and
//! none meets no rule. A rule that keeps its name keeps its bucket and its counts.

mod attach;
mod layout;
mod object;
mod resolve;
mod slots;
mod support;
mod system;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read as _};
use std::path::PathBuf;

use libbpf_rs::{Iter, Link, MapCore as _, MapFlags, Object, ProgramInput};

use self::attach::Attachment;
use self::layout::{CAPACITY, Resolved};
use self::object::{Abilities, map, program};
use self::slots::{Assignment, Slots};
use crate::rule::{Action, Direction, Hook, MOST_RULES, Rule, Rules};

pub use self::layout::{Count, Counts, Flow};
pub use self::support::{Missing, cgroup2_root, missing};
pub use self::system::monotonic;

/// Why rules cannot be brought into the kernel.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The system does not permit it.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The kernel refuses the program.
    #[error("the kernel refuses the program:\n{log}")]
    Load {
        /// The kernel's number.
        source: libbpf_rs::Error,
        /// What libbpf and the kernel's verifier said.
        log: String,
    },
    /// A hook is not to be had.
    #[error("cannot attach to {place}{hint}")]
    Attach {
        /// Which hook.
        place: String,
        /// What it most likely means.
        hint: &'static str,
        /// What the kernel said.
        source: libbpf_rs::Error,
    },
    /// Another call failed.
    #[error("cannot {what}")]
    Call {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: libbpf_rs::Error,
    },
    /// A file or a socket.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A rule names what is not there.
    #[error("rule {rule}: {problem}")]
    Rule {
        /// Its name.
        rule: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// More rules than there is room for.
    #[error("{0} rules are too many: at most {MOST_RULES}")]
    TooMany(usize),
    /// A fault of this program.
    #[error("the two halves of this program do not agree: {0}")]
    Internal(String),
}

impl EngineError {
    fn call(what: &'static str) -> impl FnOnce(libbpf_rs::Error) -> Self {
        move |source| Self::Call { what, source }
    }
}

fn cannot_attach(place: String, source: libbpf_rs::Error) -> EngineError {
    if source.kind() == libbpf_rs::ErrorKind::PermissionDenied
        && let Some(missing) = object::behind_refusal()
    {
        return missing.into();
    }
    let taken = source.to_string().contains("os error 16") || place.starts_with("netfilter");
    let hint = if taken {
        " (another program may have this priority: choose another `priority`)"
    } else {
        ""
    };
    EngineError::Attach {
        place,
        hint,
        source,
    }
}

/// Rules at work. They end with this value, or with the process.
#[derive(Debug)]
pub struct Engine {
    links: BTreeMap<Attachment, Link>,
    object: Object,
    abilities: Abilities,
    cgroups: Option<PathBuf>,
    netns: u64,
    applied: Rules,
    /// What the rules mean on this system, in their order.
    resolved: Vec<Resolved>,
    slots: Slots,
    /// Which half of the rules counts.
    second_bank: bool,
}

/// What one rule has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCounts {
    /// Its name.
    pub rule: String,
    /// Where it is met.
    pub hook: Hook,
    /// The counts, all of one instant.
    pub counts: Counts,
    /// Connections that share the rate of a rule that paces: those that have sent lately.
    pub paced: u64,
}

/// What one flow of a rule has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowCounts {
    /// Name of the rule.
    pub rule: String,
    /// Which flow.
    pub flow: Flow,
    /// The counts, all of one instant.
    pub counts: Counts,
}

impl Engine {
    /// Loads the program; nothing is attached yet.
    ///
    /// Rules at netfilter hooks hold in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`EngineError`], naming what is missing.
    pub fn load() -> Result<Self, EngineError> {
        let (object, abilities) = object::load()?;
        Ok(Self {
            links: BTreeMap::new(),
            object,
            abilities,
            cgroups: cgroup2_root(),
            netns: system::netns_cookie()?,
            applied: Rules::default(),
            resolved: Vec::new(),
            slots: Slots::new(),
            second_bank: false,
        })
    }

    /// Makes `rules` hold, all at once; with an error, those before still do.
    ///
    /// # Errors
    /// A rule names what is not there (unless it held already), or the kernel refuses a hook.
    pub fn apply(&mut self, rules: &Rules) -> Result<(), EngineError> {
        if rules.rules.len() > MOST_RULES {
            return Err(EngineError::TooMany(rules.rules.len()));
        }
        let held = self.applied.rules.iter().zip(&self.resolved);
        let held: HashMap<&str, _> = held.map(|held| (&*held.0.name, held)).collect();
        let look = |rule: &Rule| {
            let before = held.get(&*rule.name);
            let before = before.filter(|(before, _)| before.matcher == rule.matcher);
            let before = before.map(|(_, resolved)| *resolved);
            resolve::look(rule, before, self.abilities, self.netns)
        };
        let resolved = rules.rules.iter().map(look).collect::<Result<_, _>>()?;
        self.hold(rules, resolved)
    }

    /// Looks again for what the rules name, best once a second: a control group or an interface
    /// that was made anew has another number, and a process ends. Says what has changed.
    ///
    /// # Errors
    /// The kernel refuses a hook; what held still does.
    pub fn refresh(&mut self) -> Result<Vec<String>, EngineError> {
        let mut changes = Vec::new();
        let mut resolved = Vec::with_capacity(self.resolved.len());
        for (rule, before) in self.applied.rules.iter().zip(&self.resolved) {
            if !resolve::may_change(&rule.matcher) {
                resolved.push(before.clone());
                continue;
            }
            let mut now = resolve::look(rule, Some(before), self.abilities, self.netns)?;
            now.slot = before.slot;
            if now != *before {
                changes.push(match &now.absent {
                    Some(why) => format!("rule {}: {why}; it meets nothing", rule.name),
                    None => format!("rule {}: what it names is there (again)", rule.name),
                });
            }
            resolved.push(now);
        }
        if !changes.is_empty() {
            self.hold(&self.applied.clone(), resolved)?;
        }
        Ok(changes)
    }

    /// Makes `rules` hold, whose meaning here is `resolved`.
    fn hold(&mut self, rules: &Rules, mut resolved: Vec<Resolved>) -> Result<(), EngineError> {
        let names: Vec<&str> = rules.rules.iter().map(|rule| &*rule.name).collect();
        let assignment = self.slots.assign(&names);
        let assignment = assignment.ok_or(EngineError::TooMany(rules.rules.len()))?;
        for (resolved, slot) in resolved.iter_mut().zip(&assignment.of_rules) {
            resolved.slot = *slot;
        }
        let wanted = attachments(rules, &resolved);
        let mut fresh = BTreeMap::new();
        for place in &wanted {
            if !self.links.contains_key(place) || self.moves(place, rules.priority) {
                let cgroups = self.cgroups.as_deref();
                let link = place.attach(&self.object, rules.priority, cgroups)?;
                fresh.insert(place.clone(), link);
            }
        }
        self.empty(&assignment.fresh)?;
        self.switch(rules, &resolved, &assignment)?;
        self.links.extend(fresh);
        self.links.retain(|place, _| wanted.contains(place));
        let on_sockets =
            |rule: &Rule| matches!(rule.action, Action::Pace { .. } | Action::Switch { .. });
        let adopt = self
            .applied
            .rules
            .iter()
            .chain(&rules.rules)
            .any(on_sockets);
        let retired = assignment.retired;
        self.slots = assignment.slots;
        self.applied = rules.clone();
        self.resolved = resolved;
        if !retired.is_empty() {
            self.forget_flows(|slot, _| retired.contains(&slot))?;
        }
        if adopt {
            self.adopt_connections()?;
        }
        Ok(())
    }

    /// Whether a hook must be attached anew because its priority changed.
    fn moves(&self, place: &Attachment, priority: i32) -> bool {
        matches!(place, Attachment::Netfilter { .. }) && self.applied.priority != priority
    }

    /// Full buckets and no counts in these slots.
    fn empty(&self, fresh: &BTreeSet<u32>) -> Result<(), EngineError> {
        if fresh.is_empty() {
            return Ok(());
        }
        let (states, members) = (
            map(&self.object, "states")?,
            map(&self.object, "pace_members")?,
        );
        for slot in fresh {
            states
                .update(
                    &slot.to_ne_bytes(),
                    &[0; layout::STATE_BYTES],
                    MapFlags::LOCK,
                )
                .map_err(EngineError::call("empty a bucket"))?;
            members
                .update(&slot.to_ne_bytes(), &[0; 8], MapFlags::ANY)
                .map_err(EngineError::call("empty a share"))?;
        }
        self.forget_flows(|slot, _| fresh.contains(&slot))
    }

    /// Writes the rules to the bank that does not count, and makes it count.
    fn switch(
        &mut self,
        rules: &Rules,
        resolved: &[Resolved],
        assignment: &Assignment,
    ) -> Result<(), EngineError> {
        let first = if self.second_bank { 0 } else { CAPACITY };
        let bank = map(&self.object, "rules")?;
        for ((rule, resolved), index) in rules.rules.iter().zip(resolved).zip(first..) {
            let bytes = layout::rule(rule, resolved);
            bank.update(&index.to_ne_bytes(), &bytes, MapFlags::ANY)
                .map_err(EngineError::call("write a rule"))?;
        }
        let paces = map(&self.object, "paces")?;
        let gone = assignment.retired.iter().map(|slot| (*slot, None));
        let held = assignment.of_rules.iter().copied();
        let held = held.zip(rules.rules.iter().map(Some));
        // A slot of a rule that is gone may be another's already.
        for (slot, rule) in gone.chain(held) {
            paces
                .update(&slot.to_ne_bytes(), &layout::pace(rule), MapFlags::ANY)
                .map_err(EngineError::call("write a pace"))?;
        }
        let count = u32::try_from(rules.rules.len()).unwrap_or(CAPACITY);
        map(&self.object, "control")?
            .update(&[0; 4], &layout::control(first, count), MapFlags::ANY)
            .map_err(EngineError::call("make rules count"))?;
        self.second_bank = !self.second_bank;
        Ok(())
    }

    /// Shares paced rates anew among the connections that have sent since the last call: best
    /// once a second. Until it is called, every open connection has its part.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn rebalance(&self) -> Result<(), EngineError> {
        if self.applied.rules.iter().any(paces) {
            self.adopt_connections()?;
        }
        Ok(())
    }

    /// Tells the connections that are open already what the rules say.
    fn adopt_connections(&self) -> Result<(), EngineError> {
        let walk = program(&self.object, "wg_adopt")?
            .attach()
            .and_then(|link| Iter::new(&link))
            .map_err(EngineError::call("walk over the open connections"))?;
        let mut nothing = Vec::new();
        // It writes nothing; reading is what makes it walk.
        { walk }
            .read_to_end(&mut nothing)
            .map_err(|source| EngineError::Io {
                what: "walk over the open connections".to_owned(),
                source,
            })?;
        Ok(())
    }

    /// The rules that hold.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.applied
    }

    /// Every place where a program hangs, in words.
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        self.links.keys().map(Attachment::describe).collect()
    }

    /// Where the rule is met.
    #[must_use]
    pub fn hook_of(&self, rule: &Rule) -> Hook {
        rule.best_hook(self.abilities.cgroup_knows_netns)
    }

    /// What every rule has counted, in order of the rules.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn counts(&self) -> Result<Vec<RuleCounts>, EngineError> {
        let states = map(&self.object, "states")?;
        let members = map(&self.object, "pace_members")?;
        let mut all = Vec::new();
        for (rule, resolved) in self.applied.rules.iter().zip(&self.resolved) {
            let key = resolved.slot.to_ne_bytes();
            let state = states
                .lookup(&key, MapFlags::LOCK)
                .map_err(EngineError::call("read a rule's counts"))?;
            let paced = members
                .lookup(&key, MapFlags::ANY)
                .map_err(EngineError::call("read a rule's connections"))?;
            let paced = paced.and_then(|bytes| bytes.try_into().ok());
            all.push(RuleCounts {
                rule: rule.name.clone(),
                hook: self.hook_of(rule),
                counts: state
                    .map(|bytes| layout::counts(&bytes))
                    .unwrap_or_default(),
                paced: paced.map_or(0, u64::from_ne_bytes),
            });
        }
        Ok(all)
    }

    /// What every listed flow has counted, in order of rule and flow.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn flows(&self) -> Result<Vec<FlowCounts>, EngineError> {
        let flows = map(&self.object, "flows")?;
        let mut all = Vec::new();
        for key in flows.keys() {
            let state = flows
                .lookup(&key, MapFlags::LOCK)
                .map_err(EngineError::call("read a flow's counts"))?;
            let (slot, flow) = layout::flow_key(&key);
            if let (Some(state), Some(rule)) = (state, self.slots.rule(slot)) {
                let (rule, counts) = (rule.to_owned(), layout::counts(&state));
                all.push(FlowCounts { rule, flow, counts });
            }
        }
        all.sort_by(|a, b| (&a.rule, a.flow).cmp(&(&b.rule, b.flow)));
        Ok(all)
    }

    /// Forgets flows that have been silent since before `until` (`CLOCK_MONOTONIC`, ns).
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn forget_silent_flows(&self, until: u64) -> Result<(), EngineError> {
        self.forget_flows(|_, counts| counts.seen_at < until)
    }

    fn forget_flows(&self, which: impl Fn(u32, &Counts) -> bool) -> Result<(), EngineError> {
        let flows = map(&self.object, "flows")?;
        let keys: Vec<Vec<u8>> = flows.keys().collect();
        for key in keys {
            let state = flows
                .lookup(&key, MapFlags::LOCK)
                .map_err(EngineError::call("read a flow's counts"))?;
            let (slot, _) = layout::flow_key(&key);
            if state.is_some_and(|bytes| which(slot, &layout::counts(&bytes))) {
                // It may be gone already.
                let _ = flows.delete(&key);
            }
        }
        Ok(())
    }

    /// Asks the bucket of rule number `index` alone, in the kernel, at the instant `at`
    /// (nanoseconds that never decrease): whether `len` bytes pass, which they then have.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn try_bucket(&self, index: u32, at: u64, len: u64) -> Result<bool, EngineError> {
        let first = if self.second_bank { CAPACITY } else { 0 };
        let mut trial = Vec::with_capacity(24);
        trial.extend(at.to_ne_bytes());
        trial.extend(len.to_ne_bytes());
        trial.extend((first + index).to_ne_bytes());
        trial.extend([0; 4]);
        let input = ProgramInput {
            context_in: Some(&mut trial),
            ..ProgramInput::default()
        };
        let code = program(&self.object, "wg_try")?
            .test_run(input)
            .map_err(EngineError::call("try a bucket"))?
            .return_value;
        if code != 0 {
            return Err(EngineError::Internal("no such rule".to_owned()));
        }
        Ok(trial.get(20) == Some(&1))
    }

    /// What the hook for `hook` and direction makes of a raw packet, by the kernel's own test
    /// call: whether it passes. Netfilter takes it as leaving, from the IP header on; the
    /// other hooks take it from the Ethernet header on.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn try_packet(&self, hook: Hook, egress: bool, packet: &[u8]) -> Result<bool, EngineError> {
        let (name, pass) = match (hook, egress) {
            (Hook::Netfilter, _) => ("wg_netfilter", 1),
            (Hook::Cgroup, false) => ("wg_cgroup_ingress", 1),
            (Hook::Cgroup, true) => ("wg_cgroup_egress", 1),
            (Hook::Tc | Hook::Socket, false) => ("wg_tc_ingress", u32::MAX),
            (Hook::Tc | Hook::Socket, true) => ("wg_tc_egress", u32::MAX),
        };
        let input = ProgramInput {
            data_in: Some(packet),
            ..ProgramInput::default()
        };
        let output = program(&self.object, name)?
            .test_run(input)
            .map_err(EngineError::call("try a packet"))?;
        Ok(output.return_value == pass)
    }
}

/// Every place that `rules` need.
fn attachments(rules: &Rules, resolved: &[Resolved]) -> Vec<Attachment> {
    let mut all = Vec::new();
    for (rule, resolved) in rules.rules.iter().zip(resolved) {
        let ways: &[bool] = match rule.direction {
            Direction::Ingress => &[false],
            Direction::Egress => &[true],
            Direction::Both => &[false, true],
        };
        let at = |hook| resolved.hooks & layout::hook_bit(hook) != 0;
        for egress in ways.iter().copied() {
            if at(Hook::Netfilter) {
                let families = [false, true].map(|ipv6| Attachment::Netfilter { ipv6, egress });
                all.extend(families);
            }
            if at(Hook::Cgroup) {
                all.push(Attachment::Cgroup { egress });
            }
            if at(Hook::Tc) {
                all.push(Attachment::Tc {
                    ifindex: resolved.ifindex,
                    name: rule.matcher.interface.clone().unwrap_or_default(),
                    egress,
                });
            }
        }
        if at(Hook::Socket) {
            all.push(Attachment::Connections);
        }
        if rule.matcher.pid.is_some() && resolved.hooks != 0 {
            all.extend([
                Attachment::SocketCreate,
                Attachment::SocketSend,
                Attachment::SocketReceive,
            ]);
        }
    }
    all.sort();
    all.dedup();
    all
}

fn paces(rule: &Rule) -> bool {
    matches!(rule.action, Action::Pace { .. })
}

/// Lifts every pace, so that no connection keeps one that nobody watches over.
impl Drop for Engine {
    fn drop(&mut self) {
        if self.applied.rules.iter().any(paces) {
            // Nobody is left to tell.
            let _ = self.apply(&Rules::default());
        }
    }
}
