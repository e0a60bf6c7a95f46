//! "Did you mean": the nearest of a few known names.

use alloc::vec::Vec;

/// Names that are longer are not compared.
const LONGEST: usize = 64;

/// The name in `known` that `given` was probably meant to be: the nearest by
/// edit distance, if at most a third of it (and at least one letter) differs.
#[must_use]
pub fn suggestion<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    if given.len() > LONGEST {
        return None;
    }
    let nearest = known
        .iter()
        .map(|name| (distance(given, name), *name))
        .min_by_key(|(distance, _)| *distance);
    let (distance, name) = nearest?;
    (distance <= (name.len() / 3).max(1)).then_some(name)
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a`
/// into `b` (optimal string alignment), ignoring case and taking `_` for `-`.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().map(folded).collect();
    let b: Vec<char> = b.chars().map(folded).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, to) in b.iter().enumerate() {
            let mut least = (above[j] + usize::from(from != to))
                .min(above[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *from == b[j - 1] && a[i - 1] == *to {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = above;
        above = row;
    }
    above[b.len()]
}

const fn folded(c: char) -> char {
    match c {
        '_' => '-',
        _ => c.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::{distance, suggestion};

    #[test]
    fn distances() {
        assert_eq!(distance("burst", "burst"), 0);
        assert_eq!(distance("brust", "burst"), 1);
        assert_eq!(distance("bust", "burst"), 1);
        assert_eq!(distance("", "rate"), 4);
        assert_eq!(distance("Token_Bucket", "token-bucket"), 0);
    }

    #[test]
    fn only_what_is_near() {
        assert_eq!(suggestion("rates", &["rate", "burst"]), Some("rate"));
        assert_eq!(suggestion("queue", &["rate", "burst"]), None);
        assert_eq!(suggestion("", &["rate"]), None);
        assert_eq!(suggestion("x", &[]), None);
    }
}
