//! How many bytes of requests and answers are in memory at once.

use std::sync::Arc;

use flow::ByteSize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::fault::Fault;

/// What is counted: a permit for each begun unit.
const UNIT: usize = 4_096;

/// The memory of all requests.
#[derive(Clone, Debug)]
pub(crate) struct Memory(Arc<Semaphore>);

/// What one request has of it.
#[derive(Debug)]
pub(crate) struct Held {
    memory: Memory,
    permit: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Memory {
    pub(crate) fn new(size: ByteSize) -> Self {
        let units = usize::try_from(size.get()).unwrap_or(usize::MAX) / UNIT;
        Self(Arc::new(Semaphore::new(
            units.clamp(1, Semaphore::MAX_PERMITS),
        )))
    }

    /// Nothing yet.
    pub(crate) fn hold(&self) -> Held {
        Held {
            memory: self.clone(),
            permit: None,
            bytes: 0,
        }
    }
}

impl Held {
    /// Takes room for `more` bytes.
    ///
    /// # Errors
    /// [`Fault::NoMemory`]
    pub(crate) fn grow(&mut self, more: usize) -> Result<(), Fault> {
        let units = |bytes: usize| bytes.div_ceil(UNIT);
        let bytes = self.bytes.saturating_add(more);
        let missing = units(bytes) - units(self.bytes);
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        if missing > 0 {
            let semaphore = Arc::clone(&self.memory.0);
            let permit = semaphore.try_acquire_many_owned(missing);
            let permit = permit.map_err(|_| Fault::NoMemory)?;
            match &mut self.permit {
                Some(held) => held.merge(permit),
                None => self.permit = Some(permit),
            }
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Takes room for `bytes` in all, if it has less.
    ///
    /// # Errors
    /// [`Fault::NoMemory`]
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), Fault> {
        self.grow(bytes.saturating_sub(self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_free_again() {
        let memory = Memory::new(ByteSize::new(8 * 4_096));
        let (mut one, mut other) = (memory.hold(), memory.hold());
        for _ in 0..7 {
            one.grow(4_096).unwrap();
        }
        other.grow(1).unwrap();
        other.grow(4_095).unwrap();
        assert!(matches!(other.grow(1), Err(Fault::NoMemory)));
        drop(one);
        other.grow(7 * 4_096).unwrap();
    }
}
