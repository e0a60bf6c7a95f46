//! What the running system says about a rule: the numbers of what it names.

use super::EngineError;
use super::layout::{self, Resolved};
use super::object::Abilities;
use super::system;
use crate::rule::{Action, Hook, Matcher, Rule};

/// Whether what a rule names may go away, or come back under another number.
pub(super) const fn may_change(matcher: &Matcher) -> bool {
    matcher.pid.is_some() || matcher.cgroup.is_some() || matcher.interface.is_some()
}

/// What `rule` means here and now; `before` is what it meant when it was last looked at.
///
/// A rule that held goes on without what it names: it meets nothing until that is there again.
/// A process does not come back: its number may be given to another one.
pub(super) fn look(
    rule: &Rule,
    before: Option<&Resolved>,
    abilities: Abilities,
    netns: u64,
) -> Result<Resolved, EngineError> {
    if let Action::Switch { congestion } = &rule.action {
        system::check_congestion(congestion).map_err(|problem| wrong(rule, problem))?;
    }
    let found = resolve(rule, abilities, netns);
    let Some(before) = before else { return found };
    let absent = |why: String| Resolved {
        process: before.process,
        absent: Some(why),
        ..Resolved::default()
    };
    match found {
        Ok(found) if found.process != before.process => {
            let pid = rule.matcher.pid.unwrap_or(0);
            Ok(absent(format!("process {pid} has ended")))
        }
        Err(EngineError::Rule { problem, .. }) => Ok(absent(problem)),
        found => found,
    }
}

fn wrong(rule: &Rule, problem: String) -> EngineError {
    EngineError::Rule {
        rule: rule.name.clone(),
        problem,
    }
}

fn resolve(rule: &Rule, abilities: Abilities, netns: u64) -> Result<Resolved, EngineError> {
    let wrong = |problem| wrong(rule, problem);
    let matcher = &rule.matcher;
    let on_sockets = matches!(rule.action, Action::Pace { .. } | Action::Switch { .. });
    let mut process = None;
    if let Some(pid) = matcher.pid {
        if !abilities.owners_are_known {
            let problem = "processes cannot be told here: the kernel refuses BPF tracepoint programs \
                           (CONFIG_DEBUG_INFO_BTF, CAP_PERFMON)";
            return Err(wrong(problem.to_owned()));
        }
        let started = system::process(pid).map_err(wrong)?;
        if on_sockets && !system::is_in_our_network(pid) {
            return Err(wrong(format!(
                "process {pid} is in another network namespace, and connections are told in one: \
                 nsenter --net=/proc/{pid}/ns/net weirgate-kernel run ..."
            )));
        }
        process = Some((pid, started));
    }
    let cgroup = match &matcher.cgroup {
        Some(path) => system::cgroup_id(path).map_err(|problem| wrong(problem.to_string()))?,
        None => 0,
    };
    let ifindex = match &matcher.interface {
        Some(name) => system::interface_index(name).map_err(wrong)?,
        None => 0,
    };
    let mut hooks = layout::hook_bit(rule.best_hook(abilities.cgroup_knows_netns));
    if matches!(rule.action, Action::Pace { .. }) {
        // Its packets are counted too.
        hooks |= layout::hook_bit(Hook::Cgroup);
    }
    Ok(Resolved {
        slot: 0,
        hooks,
        cgroup,
        netns: if matcher.needs_socket() && !on_sockets {
            0
        } else {
            netns
        },
        process,
        ifindex,
        absent: None,
    })
}
