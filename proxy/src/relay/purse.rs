//! Paying for datagrams, which pass whole or not at all.

use std::future::poll_fn;
use std::time::Duration;

use super::{Ending, Lane};

/// How long a datagram waits for its bytes before it is dropped.
const PATIENCE: Duration = Duration::from_secs(1);

/// What one direction has been granted and not spent.
///
/// A limit grants bytes, a datagram needs all of its own. What a dropped one
/// had been granted is kept for the next, so that a rate holds however small it
/// is beside the datagrams. It is never more than one datagram.
#[derive(Debug)]
pub(crate) struct Purse<'a> {
    lane: &'a mut Lane,
    credit: usize,
    patience: Duration,
}

impl<'a> Purse<'a> {
    pub(crate) const fn new(lane: &'a mut Lane) -> Self {
        Self {
            lane,
            credit: 0,
            patience: PATIENCE,
        }
    }

    /// One out of which nothing waits: what has no bytes at once has none.
    #[cfg(feature = "shadowsocks")]
    pub(crate) const fn policing(lane: &'a mut Lane) -> Self {
        Self {
            lane,
            credit: 0,
            patience: Duration::ZERO,
        }
    }

    /// Whether `len` bytes may pass: at once, or after a wait of a second at most.
    pub(crate) async fn pay(&mut self, len: usize) -> Result<bool, Ending> {
        let Self {
            lane,
            credit,
            patience,
        } = self;
        // Who looks after the session does so between datagrams.
        lane.renews();
        let paid = async {
            while let Some(most) = len.checked_sub(*credit).filter(|&most| most > 0) {
                *credit += poll_fn(|context| lane.poll_acquire(context, most)).await?;
            }
            Ok::<_, Ending>(())
        };
        match tokio::time::timeout(*patience, paid).await {
            Ok(Ok(())) => {
                *credit -= len;
                Ok(true)
            }
            Ok(Err(ending)) => Err(ending),
            Err(_) => {
                lane.drop_one();
                Ok(false)
            }
        }
    }

    /// `len` paid bytes have been sent.
    pub(crate) fn count(&mut self, len: usize) {
        self.lane.count(len);
        self.lane.pass_one();
    }

    /// `len` paid bytes could not be sent.
    pub(crate) const fn keep(&mut self, len: usize) {
        self.credit += len;
    }
}

impl Drop for Purse<'_> {
    fn drop(&mut self) {
        self.lane.give_back(self.credit);
    }
}
