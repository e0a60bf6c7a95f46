//! The exact models as what is tested, in virtual time.

use std::convert::Infallible;

use super::config::Config;
use super::procedures::{Bench, run_on};
use super::profile::Stream;
use super::stateful::{self, Pattern};
use super::streams::{Element, Port, Sent};
use super::{Figures, Test, time_of};

/// Runs every test that `config` has profiles for on the exact models; `config` has been checked.
#[must_use]
pub fn run(config: &Config) -> Vec<Test> {
    let mut tests = Vec::new();
    let mut model = Model(Port::of(config));
    let Ok(()) = run_on(config, &mut model, &mut tests);
    tests
}

struct Model(Port);

impl Bench for Model {
    type Error = Infallible;

    fn ran(&mut self) {}

    fn pass(&mut self, sent: &mut [Sent], streams: &[&Stream]) -> Result<(), Infallible> {
        let mut elements: Vec<Element> = streams.iter().map(|stream| stream.element()).collect();
        for packet in sent {
            let element = elements.get_mut(packet.stream);
            packet.left = element.and_then(|element| element.pass(packet.at, packet.size));
        }
        Ok(())
    }

    fn transfers(
        &mut self,
        loads: &[(&Stream, &Pattern)],
        first: u64,
    ) -> Result<Vec<Figures>, Infallible> {
        let profiles = loads
            .iter()
            .map(|(stream, pattern)| (*pattern, stream.element()));
        Ok(stateful::run(&self.0, profiles.collect(), first))
    }

    /// One and a half packets of the line.
    fn train_gap(&self, _: &Stream) -> u64 {
        time_of(self.0.packet, self.0.line) * 3 / 2
    }

    fn own_delay(&self) -> [f64; 2] {
        [0.0; 2]
    }

    fn ease(&self) -> u64 {
        0
    }

    fn words(&self, pattern: &Pattern) -> String {
        pattern.setting()
    }
}
