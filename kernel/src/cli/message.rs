//! What `run` and its clients say to each other: a word to `run`, one JSON object a line back.

use flow::monitor::Rates;
use kernel::engine::{FlowCounts, RuleCounts};
use kernel::rule::protocol_name;
use serde_json::{Value, json};

/// What a client may ask for.
pub(super) const LIST: &str = "list";
/// One record a second and rule.
pub(super) const WATCH: &str = "watch";
/// Records of flows, too.
pub(super) const WATCH_FLOWS: &str = "watch-flows";
/// The end.
pub(super) const CLEAR: &str = "clear";

/// The rates of what was offered, passed and lost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sides {
    pub(super) offered: Rates,
    pub(super) passed: Rates,
    pub(super) lost: Rates,
}

/// As wirefisher's records count rates.
fn mib(rate: Option<u64>) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let value = rate.map(|rate| (rate as f64 / f64::from(1 << 20) * 1e6).round() / 1e6);
    json!(value)
}

fn side(rates: &Rates, packets: u64) -> Value {
    json!({
        "bytes": rates.total,
        "packets": packets,
        "instant_Bps": rates.instantaneous,
        "average_Bps": rates.average,
        "peak_Bps": rates.peak,
        "smoothed_Bps": rates.smoothed,
    })
}

/// One record: wirefisher's keys first, its rates in MiB/s and of what passed; then ours.
pub(super) fn record(timestamp: &str, rule: &RuleCounts, sides: &Sides) -> Value {
    let counts = &rule.counts;
    json!({
        "instant_rate_bps": mib(sides.passed.instantaneous),
        "rate_bps": mib(sides.passed.average),
        "peak_rate_bps": mib(sides.passed.peak),
        "smoothed_rate_bps": mib(sides.passed.smoothed),
        "timestamp": timestamp,
        "rule": rule.rule,
        "hook": rule.hook.name(),
        "offered": side(&sides.offered, counts.offered().packets),
        "passed": side(&sides.passed, counts.passed.packets),
        "dropped": side(&sides.lost, counts.lost().packets),
        "connections": rule.paced,
    })
}

/// The same of one flow, with its addresses; source and target as the packets have them.
pub(super) fn flow_record(
    timestamp: &str,
    seen: &FlowCounts,
    ingress: bool,
    sides: &Sides,
) -> Value {
    let (flow, counts) = (&seen.flow, &seen.counts);
    let (remote, local) = (
        (flow.remote, flow.remote_port),
        (flow.local, flow.local_port),
    );
    let (source, target) = if ingress {
        (remote, local)
    } else {
        (local, remote)
    };
    json!({
        "instant_rate_bps": mib(sides.passed.instantaneous),
        "rate_bps": mib(sides.passed.average),
        "peak_rate_bps": mib(sides.passed.peak),
        "smoothed_rate_bps": mib(sides.passed.smoothed),
        "timestamp": timestamp,
        "src_ip": source.0.to_string(),
        "dst_ip": target.0.to_string(),
        "src_port": source.1,
        "dst_port": target.1,
        "protocol": protocol_name(flow.protocol).to_uppercase(),
        "rule": seen.rule,
        "offered": side(&sides.offered, counts.offered().packets),
        "passed": side(&sides.passed, counts.passed.packets),
        "dropped": side(&sides.lost, counts.lost().packets),
    })
}

/// `HH:MM:SS.mmm` since the system started, as wirefisher has it.
pub(super) fn timestamp(monotonic: u64) -> String {
    let millis = monotonic / 1_000_000;
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{millis:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_since_the_start() {
        assert_eq!(timestamp(765_675_999_999), "00:12:45.675");
    }

    /// S4: ports were byte-swapped, and one record stood for all flows.
    #[test]
    fn a_flow_is_named_as_its_packets_are() {
        let seen = FlowCounts {
            rule: "downloads".into(),
            flow: kernel::engine::Flow {
                protocol: 6,
                remote: [192, 0, 2, 7].into(),
                remote_port: 443,
                local: [10, 0, 0, 1].into(),
                local_port: 50_000,
            },
            counts: kernel::engine::Counts::default(),
        };
        let record = |ingress| flow_record("00:00:01.000", &seen, ingress, &Sides::default());
        let (to_us, from_us) = (record(true), record(false));
        assert_eq!(
            (&to_us["src_ip"], &to_us["src_port"]),
            (&json!("192.0.2.7"), &json!(443))
        );
        assert_eq!(
            (&to_us["dst_ip"], &to_us["dst_port"]),
            (&json!("10.0.0.1"), &json!(50_000))
        );
        assert_eq!(
            (&from_us["dst_ip"], &from_us["protocol"]),
            (&json!("192.0.2.7"), &json!("TCP"))
        );
    }

    #[test]
    fn rates_are_in_mib() {
        assert_eq!(mib(Some(1 << 20)), json!(1.0));
        assert_eq!(mib(Some(1_572_864)), json!(1.5));
        assert_eq!(mib(None), Value::Null);
    }
}
