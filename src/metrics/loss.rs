//! What did not pass, by reason, and the longest run of losses (RFC 3357).

use crate::record::DropReason;

/// Packets and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl Count {
    #[inline]
    pub(crate) fn add(&mut self, bytes: u64) {
        self.packets += 1;
        self.bytes += bytes;
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// Losses of one user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    pub(crate) police: Count,
    pub(crate) queue: Count,
    pub(crate) oversize: Count,
    /// The most packets in a row that did not pass.
    pub(crate) longest_run: u64,
    run: u64,
}

impl Losses {
    pub(crate) fn add(&mut self, bytes: u64, why: DropReason) {
        match why {
            DropReason::Police => self.police.add(bytes),
            DropReason::Queue => self.queue.add(bytes),
            DropReason::Oversize => self.oversize.add(bytes),
        }
        self.run += 1;
        self.longest_run = self.longest_run.max(self.run);
    }

    /// A packet passed: the run of losses is over.
    #[inline]
    pub(crate) fn passed(&mut self) {
        self.run = 0;
    }

    pub(crate) fn total(&self) -> Count {
        let mut total = self.police;
        total.merge(self.queue);
        total.merge(self.oversize);
        total
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.police.merge(other.police);
        self.queue.merge(other.queue);
        self.oversize.merge(other.oversize);
        self.longest_run = self.longest_run.max(other.longest_run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_a_packet_passes() {
        let mut losses = Losses::default();
        losses.add(5, DropReason::Police);
        losses.add(6, DropReason::Queue);
        losses.passed();
        losses.add(7, DropReason::Oversize);
        assert_eq!(losses.longest_run, 2);
        assert_eq!(
            losses.total(),
            Count {
                packets: 3,
                bytes: 18
            }
        );
    }
}
