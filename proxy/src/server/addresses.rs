//! How many connections there are from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::users::Network;

/// Connections by where they come from; an IPv6 network of 64 bits counts as
/// one address.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// None: nobody counts.
    most: Option<usize>,
    taken: Arc<Taken>,
}

/// One connection; it is counted while this lives.
#[derive(Debug)]
pub(crate) struct Counted(Option<(Network, Arc<Taken>)>);

type Taken = Mutex<HashMap<Network, usize>>;

impl Addresses {
    pub(super) fn new(most: Option<usize>) -> Self {
        Self {
            most,
            taken: Arc::default(),
        }
    }

    /// The same connections under another cap, which holds for those to come.
    pub(super) fn with_most(&self, most: Option<usize>) -> Self {
        Self {
            most,
            taken: Arc::clone(&self.taken),
        }
    }

    /// Counts one more from `source`; `None` if there are as many as there may be.
    pub(crate) fn enter(&self, source: IpAddr) -> Option<Counted> {
        let Some(most) = self.most else {
            return Some(Counted(None));
        };
        let network = Network::of(source);
        let mut taken = self.taken.lock();
        let count = taken.entry(network).or_default();
        if *count >= most {
            if *count == 0 {
                taken.remove(&network);
            }
            return None;
        }
        *count += 1;
        Some(Counted(Some((network, Arc::clone(&self.taken)))))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some((network, taken)) = self.0.take() {
            let mut taken = taken.lock();
            if let Some(count) = taken.get_mut(&network) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    taken.remove(&network);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_so_many() {
        let addresses = Addresses::new(Some(2));
        let enter = |text: &str| addresses.enter(text.parse().unwrap());
        let (first, second) = (enter("192.0.2.1"), enter("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(enter("192.0.2.1").is_none());
        let other = enter("192.0.2.2");
        assert!(other.is_some());
        let six = [enter("2001:db8::1"), enter("2001:db8::2")];
        assert!(enter("2001:db8::3").is_none());
        drop(first);
        assert!(enter("192.0.2.1").is_some());
        drop((second, other, six));
        assert!(addresses.taken.lock().is_empty(), "nothing is kept");
        assert!(Addresses::new(None).enter([192, 0, 2, 1].into()).is_some());
    }
}
