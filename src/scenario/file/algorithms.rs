//! `algorithms = ["kind:key=value", …]` and `[[algorithm]]`: what limits.

use std::ops::Range;
use std::path::Path;

use flow::policy::Defaults;
use flow::spec::{Fields, SpecError};
use flow::{Nanos, Policy};
use toml::Spanned;

use super::super::limits;
use super::super::problem::Problem;
use super::super::section::{self, Entry, Node, Section};
use super::super::{Algorithm, KernelLimiter, Mode, Reference, TcpSender, check};
use super::external;
use super::spec;
use super::{CONGESTIONS, KERNEL_LIMITERS, MODES};

/// An algorithm with the places that later checks point at.
pub(in super::super) struct Placed {
    pub(in super::super) algorithm: Algorithm,
    /// Its kind.
    pub(in super::super) at: Range<usize>,
    /// What decided its mode, if anything was written.
    pub(in super::super) mode_at: Option<Range<usize>>,
    /// What decided how much it lets through at once, if it was written here.
    pub(in super::super) size_at: Option<Range<usize>>,
    /// Its label, or the kind that stands for it.
    label_at: Range<usize>,
}

/// What an algorithm inherits; `None` where the file's own mistakes hide it.
struct Inherited<'f> {
    defaults: Option<Defaults>,
    mode: Option<Spanned<Mode>>,
    folder: Option<&'f Path>,
}

impl Inherited<'_> {
    /// The policy of `kind`, or its mistake; what is missing because the
    /// reference is wrong is no mistake of its own.
    fn policy(
        &self,
        kind: &str,
        fields: &Fields,
        wrong: impl FnOnce(&SpecError) -> Problem,
        problems: &mut Vec<Problem>,
    ) -> Option<Policy> {
        let defaults = self.defaults.unwrap_or_default();
        match Policy::from_fields(kind, fields, &defaults) {
            Ok(policy) => Some(policy),
            Err(SpecError::Missing { .. }) if self.defaults.is_none() => None,
            Err(why) => {
                problems.push(wrong(&why));
                None
            }
        }
    }
}

/// Fields that say how much may pass at once.
const SIZES: [&str; 4] = ["burst", "limit", "cbs", "mtu"];

/// Reads all algorithms, in the order of the file.
pub(super) fn read(
    top: &mut Section<'_>,
    reference: Option<Reference>,
    mode: Option<Spanned<Mode>>,
    folder: Option<&Path>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<Placed>> {
    let inherited = Inherited {
        defaults: reference.map(|reference| Defaults {
            rate: Some(reference.rate),
            burst: Some(reference.burst),
        }),
        mode,
        folder,
    };
    let (short, long) = (top.get("algorithms"), top.get("algorithm"));
    let Some(first) = short.or(long) else {
        problems.push(
            Problem::new(top.at(), "no algorithm is named")
                .label("nothing would be limited")
                .help("add `algorithms = [\"token-bucket\"]` or an `[[algorithm]]` table; `kind = \"none\"` limits nothing"),
        );
        return None;
    };
    let shorts = elements(short, problems)?;
    let longs = elements(long, problems)?;
    if shorts.is_empty() && longs.is_empty() {
        problems.push(
            Problem::new(first.at(), "the list of algorithms is empty")
                .label("nothing would be limited")
                .help("name at least one, such as \"token-bucket\""),
        );
        return None;
    }
    if shorts.len() + longs.len() > limits::ALGORITHMS {
        let most = limits::ALGORITHMS;
        problems.push(Problem::new(
            first.at(),
            format!("more than {most} algorithms"),
        ));
        return None;
    }
    let mut all = Vec::new();
    for node in shorts {
        all.push(one_line(node, &inherited, problems));
    }
    for node in longs {
        all.push(table(node, &inherited, problems));
    }
    let all = all.into_iter().collect::<Option<Vec<_>>>()?;
    unique(&all, problems);
    Some(all)
}

fn elements<'a>(entry: Option<Entry<'a>>, problems: &mut Vec<Problem>) -> Option<Vec<Node<'a>>> {
    entry.map_or(Some(Vec::new()), |entry| entry.elements(problems))
}

/// An element of `algorithms`: a kind, or a kind with parameters as `replay --limiter` takes them.
fn one_line(
    node: Node<'_>,
    inherited: &Inherited<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Placed> {
    let text = section::string(node, problems)?;
    let wrong = |why: &SpecError| spec::problem(why, node.span(), &[]);
    let (kind, fields) = flow::spec::parse(text)
        .map_err(|why| problems.push(wrong(&why)))
        .ok()?;
    let policy = inherited.policy(&kind, &fields, wrong, problems)?;
    Some(Placed {
        algorithm: Algorithm {
            label: policy.kind().to_owned(),
            policy,
            mode: *inherited.mode.as_ref()?.get_ref(),
            kernel: None,
            tcp: None,
            external: None,
        },
        at: node.span(),
        mode_at: None,
        size_at: None,
        label_at: node.span(),
    })
}

fn table(node: Node<'_>, inherited: &Inherited<'_>, problems: &mut Vec<Problem>) -> Option<Placed> {
    let mut section = Section::of(node, "in `algorithm`", problems)?;
    let kind = section
        .require("kind", "\"token-bucket\"")
        .and_then(|entry| Some((entry, entry.string(problems)?)));
    let label = section.get("label");
    let label_at = label
        .or(kind.map(|(entry, _)| entry))
        .map(|entry| entry.at());
    let label = match label {
        Some(entry) => entry
            .string(problems)
            .filter(|label| check::is_name(label, entry.at(), "an algorithm's label", problems)),
        None => kind.map(|(_, kind)| kind),
    };
    let kernel_entry = section.get("kernel");
    let kernel = kernel_entry.and_then(|entry| entry.word(&KERNEL_LIMITERS, problems));
    let tcp_entry = section.get("tcp");
    let tcp = tcp(tcp_entry, section.get("rtt"), problems);
    let external_entry = section.get("external");
    let external = match external_entry {
        Some(entry) => Some(external::read(entry, inherited.folder, problems)?),
        None => None,
    };
    let mode_entry = section.get("mode");
    special(
        &[mode_entry, kernel_entry, tcp_entry, external_entry],
        problems,
    );
    let special_mode = kernel
        .map(KernelLimiter::mode)
        .or(tcp.map(|_| Mode::Police))
        .or(external.as_ref().map(|_| Mode::Stream));
    let mode = match mode_entry {
        Some(entry) if special_mode.is_none() || tcp.is_some() => entry.word(&MODES, problems),
        _ => special_mode.or(inherited.mode.as_ref().map(|mode| *mode.get_ref())),
    };
    let rest = section.into_rest(problems);
    let (kind_entry, kind) = kind?;
    let fields = spec::fields(&rest, problems)?;
    let wrong = |why: &SpecError| spec::problem(why, kind_entry.at(), &rest);
    let policy = inherited.policy(kind, &fields, wrong, problems);
    let size_at = rest
        .iter()
        .find(|entry| SIZES.contains(&&**entry.key.get_ref()))
        .map(Entry::at);
    Some(Placed {
        algorithm: Algorithm {
            label: label?.to_owned(),
            policy: policy?,
            mode: mode?,
            kernel,
            tcp,
            external,
        },
        at: kind_entry.at(),
        mode_at: mode_entry.map(|entry| entry.at()),
        size_at,
        label_at: label_at?,
    })
}

/// Round-trip time of a simulated path that is not written: two machines in one hall.
const DEFAULT_RTT: Nanos = Nanos::from_millis(1);
/// From one in a machine to one by way of a satellite.
const RTT: (Nanos, Nanos) = (Nanos::from_micros(1), Nanos::from_secs(10));

/// `tcp`, and `rtt` beside it.
fn tcp(
    kind: Option<Entry<'_>>,
    rtt: Option<Entry<'_>>,
    problems: &mut Vec<Problem>,
) -> Option<TcpSender> {
    let (least, most) = RTT;
    let written = rtt.and_then(|entry| Some((entry, entry.quantity("1 ms", problems)?)));
    if let Some((entry, value)) = written
        && !(least..=most).contains(&value)
    {
        let problem = Problem::new(entry.at(), "`rtt` is out of range").label("out of range");
        problems.push(problem.help(format!("from {least} to {most}")));
    }
    match (kind, rtt) {
        (None, Some(rtt)) => {
            let problem = Problem::new(rtt.at(), "`rtt` without `tcp`").label("of whom?");
            problems.push(problem.help("add `tcp = \"reno\"` or `tcp = \"cubic\"`"));
            None
        }
        (kind, _) => Some(TcpSender {
            congestion: kind?.word(&CONGESTIONS, problems)?,
            rtt: written.map_or(DEFAULT_RTT, |(_, rtt)| rtt),
        }),
    }
}

/// Each of `mode`, `kernel`, `tcp` and `external` says how the algorithm is applied.
fn special(entries: &[Option<Entry<'_>>], problems: &mut Vec<Problem>) {
    let written: Vec<_> = entries.iter().flatten().collect();
    // A simulated TCP stands before a policer, or a shaper.
    let packets = |entry: &&&Entry<'_>| {
        let mode = entry.value.get_ref().as_str();
        **entry.key.get_ref() == *"mode" && matches!(mode, Some("police" | "shape"))
    };
    let others = [entries.get(1), entries.get(3)];
    let none = others.into_iter().flatten().all(Option::is_none);
    if let [first, second, ..] = written.as_slice()
        && !(none && packets(&first))
    {
        problems.push(
            Problem::new(second.at(), "this says twice how the algorithm is applied")
                .label("again")
                .also(first.at(), "first")
                .help("keep one of `mode`, `kernel`, `tcp` and `external`; `tcp` may have the modes police and shape"),
        );
    }
}

fn unique(all: &[Placed], problems: &mut Vec<Problem>) {
    for (i, placed) in all.iter().enumerate() {
        let label = &placed.algorithm.label;
        if let Some(first) = all.iter().take(i).find(|p| p.algorithm.label == *label) {
            problems.push(
                Problem::new(
                    placed.label_at.clone(),
                    format!("two algorithms are labelled \"{label}\""),
                )
                .label("again")
                .also(first.label_at.clone(), "first")
                .help(format!("give one of them a `label`, such as \"{label}-2\"")),
            );
        }
    }
}
