//! Many senders' packets as one stream.

use crate::generator::AnyGenerator;
use crate::source::{Generator, Packet, Send};
use flow::{ByteSize, Timestamp};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

/// One connection that sends.
#[derive(Clone, Debug)]
pub struct Source<G = AnyGenerator> {
    /// Index of the user in the scenario.
    pub user: u32,
    /// Index of the connection among the user's.
    pub connection: u32,
    /// When it opens.
    pub start: Timestamp,
    /// How it sends.
    pub generator: G,
}

/// The packets of open-loop senders in order of time, at one instant in order of
/// user and connection, each connection's own in its order.
///
/// It holds one packet a sender and never more. A sender whose time never moves
/// (see [`crate::Pattern::is_blocking_only`]) holds up all others for ever. The
/// stream has no end of its own where its senders have none: take packets while
/// they are due within the run.
#[derive(Clone, Debug)]
pub struct Mix<G = AnyGenerator>(Merge<G>);

#[derive(Clone, Debug)]
enum Merge<G> {
    /// A lone sender, and when its previous packet was due; `None` at its end.
    One(Option<Source<G>>),
    Many {
        /// By user and connection.
        sources: Vec<Source<G>>,
        /// The next packet of each source that has not ended.
        heads: BinaryHeap<Reverse<Head>>,
    },
}

/// Sorted by time, then by place in the list of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    at: Timestamp,
    source: usize,
    size: ByteSize,
}

impl<G: Generator> Mix<G> {
    /// Merges `sources`, in any order.
    pub fn new(sources: impl IntoIterator<Item = Source<G>>) -> Self {
        let mut sources: Vec<_> = sources.into_iter().collect();
        if sources.len() <= 1 {
            return Self(Merge::One(sources.pop()));
        }
        sources.sort_by_key(|source| (source.user, source.connection));
        let heads = sources
            .iter_mut()
            .enumerate()
            .filter_map(|(index, source)| {
                let send = source.advance()?;
                Some(Reverse(Head::new(index, send)))
            });
        Self(Merge::Many {
            heads: heads.collect(),
            sources,
        })
    }
}

impl<G: Generator> Iterator for Mix<G> {
    type Item = Packet;

    #[inline]
    fn next(&mut self) -> Option<Packet> {
        match &mut self.0 {
            Merge::One(lone) => {
                let source = lone.as_mut()?;
                let Some(send) = source.advance() else {
                    *lone = None;
                    return None;
                };
                Some(source.packet(send))
            }
            Merge::Many { sources, heads } => next_of_many(sources, heads),
        }
    }
}

fn next_of_many<G: Generator>(
    sources: &mut [Source<G>],
    heads: &mut BinaryHeap<Reverse<Head>>,
) -> Option<Packet> {
    let mut head = heads.peek_mut()?;
    let Head { at, source, size } = head.0;
    let sender = sources.get_mut(source)?;
    let packet = sender.packet(Send { at, size });
    match sender.advance() {
        Some(send) => head.0 = Head::new(source, send),
        None => drop(PeekMut::pop(head)),
    }
    Some(packet)
}

impl<G: Generator> Source<G> {
    /// The next send in open loop; `start` becomes the instant that it is due.
    #[inline]
    fn advance(&mut self) -> Option<Send> {
        let send = self.generator.next_send(self.start)?;
        self.start = send.at;
        Some(send)
    }

    #[inline]
    const fn packet(&self, send: Send) -> Packet {
        Packet {
            at: send.at,
            size: send.size,
            user: self.user,
            connection: self.connection,
        }
    }
}

impl Head {
    const fn new(source: usize, send: Send) -> Self {
        Self {
            at: send.at,
            source,
            size: send.size,
        }
    }
}
