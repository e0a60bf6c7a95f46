//! A queue threaded through the slots: anybody can leave it at once.

use super::Slot;

/// No slot: the end of a line.
pub(super) const NOBODY: u32 = u32::MAX;

/// Who stands before and behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    pub(super) previous: u32,
    pub(super) next: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            previous: NOBODY,
            next: NOBODY,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    head: u32,
    tail: u32,
    len: usize,
}

impl Line {
    pub(super) const EMPTY: Self = Self {
        head: NOBODY,
        tail: NOBODY,
        len: 0,
    };

    pub(super) fn head(&self) -> Option<u32> {
        (self.head != NOBODY).then_some(self.head)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push_back(&mut self, slots: &mut [Slot], index: u32) {
        slots[index as usize].links = Links {
            previous: self.tail,
            next: NOBODY,
        };
        match slots.get_mut(self.tail as usize) {
            Some(last) => last.links.next = index,
            None => self.head = index,
        }
        self.tail = index;
        self.len += 1;
    }

    pub(super) fn remove(&mut self, slots: &mut [Slot], index: u32) {
        let Links { previous, next } = slots[index as usize].links;
        match slots.get_mut(previous as usize) {
            Some(before) => before.links.next = next,
            None => self.head = next,
        }
        match slots.get_mut(next as usize) {
            Some(behind) => behind.links.previous = previous,
            None => self.tail = previous,
        }
        self.len -= 1;
    }
}
