//! The part in the kernel: rules are written to maps, programs hang at their hooks, counts are
//! read back.
//!
//! Rules live in two banks, of which one counts. A change is written to the other and made
//! valid by eight bytes, so that every packet meets either all old rules or all new ones, and
//! none meets no rule. A rule that keeps its name keeps its bucket and its counts.

mod attach;
mod layout;
mod object;
mod support;
mod system;

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::PathBuf;

use libbpf_rs::{Iter, Link, MapCore as _, MapFlags, Object, ProgramInput};

use self::attach::Attachment;
use self::layout::{CAPACITY, Resolved};
use self::object::{Abilities, map, program};
use crate::rule::{Action, Direction, Hook, Rule, Rules};

pub use self::layout::{Count, Counts, Flow};
pub use self::support::{Missing, cgroup2_root, missing};
pub use self::system::monotonic;

/// Most rules at once.
pub const MOST_RULES: usize = CAPACITY as usize;

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
    /// The name of the rule that a slot belongs to.
    slots: Vec<Option<String>>,
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
            slots: vec![None; CAPACITY as usize],
            second_bank: false,
        })
    }

    /// Makes `rules` hold, all at once; with an error, those before still do.
    ///
    /// # Errors
    /// A rule names what is not there, or the kernel refuses a hook.
    pub fn apply(&mut self, rules: &Rules) -> Result<(), EngineError> {
        if rules.rules.len() > MOST_RULES {
            return Err(EngineError::TooMany(rules.rules.len()));
        }
        let mut slots = self.slots.clone();
        let mut resolved = Vec::with_capacity(rules.rules.len());
        for rule in &rules.rules {
            let slot = self.slot_of(&rule.name, rules, &mut slots)?;
            resolved.push(self.resolve(rule, slot)?);
        }
        let wanted = self.attachments(rules, &resolved);
        let mut fresh = BTreeMap::new();
        for place in &wanted {
            if !self.links.contains_key(place) || self.moves(place, rules.priority) {
                let cgroups = self.cgroups.as_deref();
                let link = place.attach(&self.object, rules.priority, cgroups)?;
                fresh.insert(place.clone(), link);
            }
        }
        self.switch(rules, &resolved, &slots)?;
        self.links.extend(fresh);
        self.links.retain(|place, _| wanted.contains(place));
        let sockets = |rules: &Rules| {
            let on_sockets =
                |rule: &Rule| matches!(rule.action, Action::Pace { .. } | Action::Switch { .. });
            rules.rules.iter().any(on_sockets)
        };
        if sockets(&self.applied) || sockets(rules) {
            self.adopt_connections()?;
        }
        self.slots = slots;
        self.applied = rules.clone();
        Ok(())
    }

    /// Whether a hook must be attached anew because its priority changed.
    fn moves(&self, place: &Attachment, priority: i32) -> bool {
        matches!(place, Attachment::Netfilter { .. }) && self.applied.priority != priority
    }

    /// The slot of the rule of this name, or an emptied one.
    fn slot_of(
        &self,
        name: &str,
        rules: &Rules,
        slots: &mut [Option<String>],
    ) -> Result<u32, EngineError> {
        let kept = |slot: &Option<String>| slot.as_deref() == Some(name);
        if let Some(index) = slots.iter().position(kept) {
            return Ok(u32::try_from(index).unwrap_or(u32::MAX));
        }
        let unused = |slot: &Option<String>| match slot {
            None => true,
            Some(other) => !rules.rules.iter().any(|rule| rule.name == *other),
        };
        // A slot that was never used first: late packets may still count in the others.
        let free = slots.iter().position(Option::is_none);
        let index = free.or_else(|| slots.iter().position(unused));
        let index = index.ok_or(EngineError::TooMany(rules.rules.len()))?;
        let slot = u32::try_from(index).unwrap_or(u32::MAX);
        let nothing = [0; layout::STATE_BYTES];
        map(&self.object, "states")?
            .update(&slot.to_ne_bytes(), &nothing, MapFlags::LOCK)
            .map_err(EngineError::call("empty a bucket"))?;
        map(&self.object, "pace_members")?
            .update(&slot.to_ne_bytes(), &[0; 8], MapFlags::ANY)
            .map_err(EngineError::call("empty a share"))?;
        self.forget_flows(|owner, _| owner == slot)?;
        slots[index] = Some(name.to_owned());
        Ok(slot)
    }

    /// What the running system says about `rule`.
    fn resolve(&self, rule: &Rule, slot: u32) -> Result<Resolved, EngineError> {
        let wrong = |problem: String| EngineError::Rule {
            rule: rule.name.clone(),
            problem,
        };
        let hook = rule.best_hook(self.abilities.cgroup_knows_netns);
        if rule.matcher.pid.is_some() && !self.abilities.owners_are_known {
            let problem = "processes cannot be told here: the kernel refuses BPF tracepoint programs \
                           (CONFIG_DEBUG_INFO_BTF, CAP_PERFMON)";
            return Err(wrong(problem.to_owned()));
        }
        let cgroup = match &rule.matcher.cgroup {
            Some(path) => system::cgroup_id(path).map_err(|problem| wrong(problem.to_string()))?,
            None => 0,
        };
        let ifindex = match &rule.matcher.interface {
            Some(name) => system::interface_index(name).map_err(wrong)?,
            None => 0,
        };
        if let Action::Switch { congestion } = &rule.action {
            system::check_congestion(congestion).map_err(wrong)?;
        }
        let paced = matches!(rule.action, Action::Pace { .. });
        let mut hooks = layout::hook_bit(hook);
        if paced {
            // Its packets are counted too.
            hooks |= layout::hook_bit(Hook::Cgroup);
        }
        Ok(Resolved {
            slot,
            hooks,
            cgroup,
            netns: if rule.matcher.needs_socket() {
                0
            } else {
                self.netns
            },
            ifindex,
        })
    }

    /// Every place that `rules` need.
    fn attachments(&self, rules: &Rules, resolved: &[Resolved]) -> Vec<Attachment> {
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
            if rule.matcher.pid.is_some() {
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

    /// Writes the rules to the bank that does not count, and makes it count.
    fn switch(
        &mut self,
        rules: &Rules,
        resolved: &[Resolved],
        slots: &[Option<String>],
    ) -> Result<(), EngineError> {
        let first = if self.second_bank { 0 } else { CAPACITY };
        let bank = map(&self.object, "rules")?;
        for ((rule, resolved), index) in rules.rules.iter().zip(resolved).zip(first..) {
            let bytes = layout::rule(rule, resolved);
            bank.update(&index.to_ne_bytes(), &bytes, MapFlags::ANY)
                .map_err(EngineError::call("write a rule"))?;
        }
        let paces = map(&self.object, "paces")?;
        for (slot, name) in (0u32..).zip(slots) {
            let Some(name) = name else { continue };
            let rule = rules.rules.iter().find(|rule| rule.name == *name);
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
        for rule in &self.applied.rules {
            let kept = |slot: &Option<String>| slot.as_ref() == Some(&rule.name);
            let Some(slot) = self.slots.iter().position(kept) else {
                continue;
            };
            let key = u32::try_from(slot).unwrap_or(u32::MAX).to_ne_bytes();
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
            let name = self.slots.get(slot as usize).cloned().flatten();
            if let (Some(state), Some(rule)) = (state, name) {
                let counts = layout::counts(&state);
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
