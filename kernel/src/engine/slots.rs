//! Which rule counts in which slot of the kernel's tables.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::CAPACITY;

/// A place in the tables.
#[derive(Clone, Debug, Default)]
struct Slot {
    /// Of the rule that counts here.
    name: Option<String>,
    /// Whether one ever did: packets that were under way may still count in it.
    used: bool,
}

/// All slots.
#[derive(Clone, Debug)]
pub(super) struct Slots(Vec<Slot>);

/// What becomes of the slots when other rules are to hold.
#[derive(Debug)]
pub(super) struct Assignment {
    /// The slot of each rule, in their order.
    pub(super) of_rules: Vec<u32>,
    /// Those that a new rule begins in.
    pub(super) fresh: BTreeSet<u32>,
    /// Those whose rule is gone.
    pub(super) retired: BTreeSet<u32>,
    /// All slots as they are then.
    pub(super) slots: Slots,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self(vec![Slot::default(); CAPACITY as usize])
    }

    /// The rule that counts in `slot`.
    pub(super) fn rule(&self, slot: u32) -> Option<&str> {
        self.0.get(slot as usize)?.name.as_deref()
    }

    /// Slots for the rules `wanted`: those that hold keep theirs, the others begin in one that
    /// was never used, or else in one whose rule is gone. `None` if there are too many.
    pub(super) fn assign(&self, wanted: &[&str]) -> Option<Assignment> {
        let mut slots = self.clone();
        let names: BTreeSet<&str> = wanted.iter().copied().collect();
        let mut held = BTreeMap::new();
        let (mut never, mut gone, mut leaving) = (Vec::new(), Vec::new(), Vec::new());
        let mut retired = BTreeSet::new();
        for (number, slot) in (0_u32..).zip(&mut slots.0) {
            match slot.name.take_if(|name| !names.contains(name.as_str())) {
                Some(_) => {
                    leaving.push(number);
                    retired.insert(number);
                }
                None => match &slot.name {
                    Some(name) => {
                        held.insert(name.clone(), number);
                    }
                    None if slot.used => gone.push(number),
                    None => never.push(number),
                },
            }
        }
        let mut free = never.into_iter().chain(gone).chain(leaving);
        let (mut of_rules, mut fresh) = (Vec::with_capacity(wanted.len()), BTreeSet::new());
        for name in wanted {
            let number = match held.get(*name) {
                Some(number) => *number,
                None => {
                    let number = free.next()?;
                    fresh.insert(number);
                    if let Some(slot) = slots.0.get_mut(number as usize) {
                        slot.name = Some((*name).to_owned());
                        slot.used = true;
                    }
                    number
                }
            };
            of_rules.push(number);
        }
        Some(Assignment {
            of_rules,
            fresh,
            retired,
            slots,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_keeps_its_slot_and_a_new_one_takes_an_unused() {
        let first = Slots::new().assign(&["a", "b"]).unwrap();
        assert_eq!(first.of_rules, [0, 1]);
        let second = first.slots.assign(&["b", "c"]).unwrap();
        assert_eq!(second.of_rules, [1, 2]);
        assert!(second.retired.contains(&0) && second.fresh.contains(&2));
        assert_eq!(second.slots.rule(0), None);
        // One that was away begins anew.
        let third = second.slots.assign(&["a", "b", "c"]).unwrap();
        assert_eq!(third.of_rules, [3, 1, 2]);
    }

    #[test]
    fn all_slots_can_be_replaced_at_once_and_no_more() {
        let names = |letter: char, count: u32| -> Vec<String> {
            (0..count).map(|i| format!("{letter}{i}")).collect()
        };
        let mut slots = Slots::new();
        for letter in ['a', 'b', 'c'] {
            let names = names(letter, CAPACITY);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let assigned = slots.assign(&names).unwrap();
            assert_eq!(assigned.fresh.len(), CAPACITY as usize);
            slots = assigned.slots;
        }
        let more = names('d', CAPACITY + 1);
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        assert!(slots.assign(&more).is_none());
    }
}
