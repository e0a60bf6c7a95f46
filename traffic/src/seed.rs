//! One seed, many independent streams of random numbers.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

/// The generator of random numbers behind every pattern: fast, and the same on
/// every machine.
pub type Random = Xoshiro256PlusPlus;

/// What a stream of random numbers is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// What a connection sends, and when.
    Traffic,
    /// Resampling in statistics.
    Bootstrap,
    /// How long requests take.
    Service,
}

/// The seed of one stream of random numbers.
///
/// Each identity has its own stream, so one more user, connection or repetition
/// changes nobody else's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamSeed([u64; 4]);

impl StreamSeed {
    /// The stream of `purpose` for connection `connection` of user `user` in
    /// repetition `repetition` of a run seeded with `seed`.
    ///
    /// Four chains of the SplitMix64 finaliser, one a word of the generator's
    /// state, so that two identities would have to collide in all 256 bits.
    #[must_use]
    pub const fn derive(
        seed: u64,
        repetition: u32,
        user: u32,
        connection: u32,
        purpose: Purpose,
    ) -> Self {
        let identity = [
            seed,
            (repetition as u64) << 32 | user as u64,
            (connection as u64) << 32 | purpose.number(),
        ];
        Self([
            chain(1, identity),
            chain(2, identity),
            chain(3, identity),
            chain(4, identity),
        ])
    }

    /// The stream's random numbers, from the first.
    #[must_use]
    pub fn random(self) -> Random {
        let mut bytes = [0; 32];
        for (place, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        Random::from_seed(bytes)
    }
}

impl Purpose {
    /// Part of every derived seed: never renumber, or all results change.
    const fn number(self) -> u64 {
        match self {
            Self::Traffic => 0,
            Self::Bootstrap => 1,
            Self::Service => 2,
        }
    }
}

const fn chain(lane: u64, identity: [u64; 3]) -> u64 {
    let mut state = mix(lane);
    state = mix(state ^ identity[0]);
    state = mix(state ^ identity[1]);
    mix(state ^ identity[2])
}

/// One step of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014; constants of Vigna's `splitmix64.c`).
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use std::collections::HashSet;

    #[test]
    fn every_identity_has_its_own_stream() {
        let mut firsts = HashSet::new();
        for seed in [0, 1, u64::MAX] {
            for number in 0..50 {
                for derived in [
                    StreamSeed::derive(seed, 1 + number, 0, 0, Purpose::Traffic),
                    StreamSeed::derive(seed, 0, 1 + number, 0, Purpose::Traffic),
                    StreamSeed::derive(seed, 0, 0, 1 + number, Purpose::Traffic),
                    StreamSeed::derive(seed, number, number, number, Purpose::Bootstrap),
                ] {
                    assert!(firsts.insert(derived.random().next_u64()));
                }
            }
        }
        assert_eq!(firsts.len(), 600);
    }

    /// Computed by another implementation of SplitMix64 and xoshiro256++.
    #[test]
    fn a_stream_is_the_same_for_ever() {
        let mut random = StreamSeed::derive(42, 3, 2, 1, Purpose::Traffic).random();
        let numbers = [random.next_u64(), random.next_u64()];
        assert_eq!(
            numbers,
            [12_286_116_510_233_358_658, 16_864_544_703_264_688_467]
        );
    }

    /// First output of `splitmix64.c` seeded with 1234567.
    #[test]
    fn mix_is_splitmix64() {
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317);
    }
}
