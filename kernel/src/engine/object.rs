//! The compiled program: opened, told what this kernel can do, loaded.

use std::ffi::OsStr;
use std::sync::{Mutex, PoisonError};

use libbpf_rs::{
    Map, MapCore as _, Object, ObjectBuilder, OpenObject, PrintLevel, ProgramMut, set_print,
};

use super::layout::{FLOW_KEY_BYTES, RULE_BYTES, STATE_BYTES};
use super::support;
use super::{EngineError, Missing};

/// Aligned as ELF wants it.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static OBJECT: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/weirgate.bpf.o")));

/// Programs that tell whose a socket is.
pub(super) const OWNER_PROGRAMS: [&str; 3] = ["wg_sock_create", "wg_sent", "wg_received"];

/// What this kernel can do beyond the least.
#[derive(Clone, Copy, Debug)]
pub(super) struct Abilities {
    /// Rules at control groups can be kept to one network namespace.
    pub(super) cgroup_knows_netns: bool,
    /// Rules for processes can be had.
    pub(super) owners_are_known: bool,
}

/// What libbpf said last; its errors have a number only.
static SAID: Mutex<String> = Mutex::new(String::new());

/// Loads the object with all that this kernel can do.
pub(super) fn load() -> Result<(Object, Abilities), EngineError> {
    set_print(Some((PrintLevel::Warn, |_, message| {
        let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < 64 << 10 {
            said.push_str(&message);
        }
    })));
    if let Some(missing) = support::missing() {
        return Err(missing.into());
    }
    let mut abilities = Abilities {
        cgroup_knows_netns: support::cgroup_knows_netns(),
        owners_are_known: true,
    };
    forget_what_was_said();
    let object = match open(abilities)?.load() {
        Ok(object) => object,
        Err(_) => {
            abilities.owners_are_known = false;
            forget_what_was_said();
            open(abilities)?.load().map_err(|source| {
                let log = SAID.lock().unwrap_or_else(PoisonError::into_inner).clone();
                EngineError::Load { source, log }
            })?
        }
    };
    check_sizes(&object)?;
    Ok((object, abilities))
}

fn forget_what_was_said() {
    SAID.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

fn open(abilities: Abilities) -> Result<OpenObject, EngineError> {
    let mut object = ObjectBuilder::default()
        .open_memory(&OBJECT.0)
        .map_err(EngineError::call("open the program"))?;
    let mut settings = [0; 8];
    let (left, right) = settings.split_at_mut(4);
    left.copy_from_slice(&u32::from(abilities.cgroup_knows_netns).to_ne_bytes());
    right.copy_from_slice(&u32::from(abilities.owners_are_known).to_ne_bytes());
    for mut map in object.maps_mut() {
        if map.name().to_string_lossy().ends_with(".rodata.settings") {
            map.set_initial_value(&settings)
                .map_err(EngineError::call("write the settings"))?;
        }
    }
    for mut program in object.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        if OWNER_PROGRAMS.contains(&name.as_str()) {
            program.set_autoload(abilities.owners_are_known);
        }
    }
    Ok(object)
}

/// Both sides were compiled apart; if they do not agree, nothing may run.
fn check_sizes(object: &Object) -> Result<(), EngineError> {
    let sizes = [
        ("rules", 4, RULE_BYTES),
        ("states", 4, STATE_BYTES),
        ("flows", FLOW_KEY_BYTES, STATE_BYTES),
        ("control", 4, 8),
        ("paces", 4, 16),
        ("pace_members", 4, 8),
    ];
    for (name, key, value) in sizes {
        let map = map(object, name)?;
        if map.key_size() as usize != key || map.value_size() as usize != value {
            return Err(EngineError::Internal(format!(
                "{name} is {} and {} bytes in the kernel",
                map.key_size(),
                map.value_size()
            )));
        }
    }
    Ok(())
}

pub(super) fn map<'o>(object: &'o Object, name: &'static str) -> Result<Map<'o>, EngineError> {
    let found = object.maps().find(|map| map.name() == OsStr::new(name));
    found.ok_or_else(|| EngineError::Internal(format!("the program has no map {name}")))
}

pub(super) fn program<'o>(
    object: &'o Object,
    name: &'static str,
) -> Result<ProgramMut<'o>, EngineError> {
    let found = object
        .progs_mut()
        .find(|program| program.name() == OsStr::new(name));
    found.ok_or_else(|| EngineError::Internal(format!("there is no program {name}")))
}

/// The capability or feature behind a refusal, if it can be told.
pub(super) fn behind_refusal() -> Option<Missing> {
    support::missing()
}

#[cfg(test)]
mod tests {
    use super::OBJECT;

    /// Whoever builds it, and wherever, gets the same bytes.
    #[test]
    fn the_object_does_not_say_where_it_was_built() {
        let folder = env!("CARGO_MANIFEST_DIR").as_bytes();
        assert!(!OBJECT.0.windows(folder.len()).any(|part| part == folder));
    }
}
