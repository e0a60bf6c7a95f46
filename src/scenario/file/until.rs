//! `until` and `of` of `[repetitions]`: when to stop repeating.

use super::super::problem::{Problem, remedy};
use super::super::section::{self, Section};
use super::super::{Until, limits, metric};

/// Half widths in millionths of the mean.
const RANGE: std::ops::RangeInclusive<u32> = 1..=500_000;

/// `Some(None)`: the file does not ask for it.
pub(super) fn read(
    section: &mut Section<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Option<Until>> {
    let (within, of) = (section.get("until"), section.get("of"));
    let Some(entry) = within else {
        if let Some(of) = of {
            problems.push(
                Problem::new(
                    of.key.span(),
                    "`of` says of which figures, and `until` is missing",
                )
                .label("needs `until`")
                .help("add for example `until = \"1 %\"`"),
            );
            return None;
        }
        return Some(None);
    };
    let within_ppm = entry.quantity_by(percent, "1 %", problems);
    let of = match of {
        Some(entry) => figures(entry.elements(problems)?, entry.at(), problems)?,
        None => limits::DEFAULT_UNTIL.map(str::to_owned).to_vec(),
    };
    Some(Some(Until {
        within_ppm: within_ppm?,
        of,
    }))
}

fn figures(
    nodes: Vec<section::Node<'_>>,
    at: std::ops::Range<usize>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<String>> {
    if nodes.is_empty() {
        problems.push(
            Problem::new(at, "`of` is empty")
                .label("nothing to wait for")
                .help("name at least one column of summary.csv, such as \"delay_p99_us\""),
        );
        return None;
    }
    let known = metric::names();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let mut all = Vec::new();
    for node in nodes {
        let name = section::string(node, problems)?;
        if !known.contains(&name) {
            problems.push(
                Problem::new(node.span(), "no such column of summary.csv")
                    .label("unknown figure")
                    .help(remedy(name, &known, "figures")),
            );
            return None;
        }
        all.push(name.to_owned());
    }
    Some(all)
}

/// "1 %" as 10,000 millionths.
fn percent(text: &str) -> Result<u32, &'static str> {
    const WRONG: &str = "not a percentage from 0.0001 % to 50 %";
    let number = text.strip_suffix('%').ok_or(WRONG)?.trim();
    let (whole, rest) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(rest) || rest.len() > 4 || whole.len() > 2 {
        return Err(WRONG);
    }
    let ppm: u32 = format!("{whole}{rest:0<4}").parse().map_err(|_| WRONG)?;
    RANGE.contains(&ppm).then_some(ppm).ok_or(WRONG)
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn percentages() {
        assert_eq!(percent("1 %"), Ok(10_000));
        assert_eq!(percent("0.5%"), Ok(5_000));
        assert_eq!(percent("0.0001 %"), Ok(1));
        for wrong in [
            "1",
            "%",
            "0 %",
            "51 %",
            "1.00000 %",
            "-1 %",
            "1. %",
            "100 %",
        ] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }
}
