//! Rules about targets that an operator writes, for everybody and for one user.
//!
//! ```text
//! allow|deny NETWORK|ADDRESS|* [PORT|PORT-PORT]      deny * 25      allow 10.1.0.0/16 443-444
//! ```
//!
//! The first rule that covers a resolved address decides; where none does, what
//! holds without rules holds.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

/// The most rules in a [`RuleList`].
const MOST_RULES: usize = 64;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    allows: bool,
    /// None: every address.
    network: Option<IpNet>,
    ports: RangeInclusive<u16>,
}

/// What a rule must look like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no rule: write allow or deny, a network or *, and if you like a port or a range, as in \"deny * 25\" or \"allow 10.1.0.0/16 443-444\""
)]
pub struct RuleSyntax;

/// Rules in the order in which they are asked, cheap to clone. Written with commas
/// between them, or `none`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RuleList(Arc<[Rule]>);

/// Why a list of rules is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleListError {
    /// One of them is none.
    #[error("{given:?} {source}")]
    Rule {
        /// What was written.
        given: String,
        /// What a rule looks like.
        source: RuleSyntax,
    },
    /// There are too many.
    #[error("these are more than {MOST_RULES} rules")]
    TooMany,
}

impl RuleList {
    /// The rules.
    #[must_use]
    pub fn as_slice(&self) -> &[Rule] {
        &self.0
    }
}

impl Rule {
    /// Whether the target may be reached; `None` if the rule is not about it.
    /// The address is canonical: not an IPv4 one in the disguise of IPv6.
    fn verdict(&self, ip: IpAddr, port: u16) -> Option<bool> {
        let network = self.network.is_none_or(|network| network.contains(&ip));
        (network && self.ports.contains(&port)).then_some(self.allows)
    }
}

/// What the first of `rules` that is about `target` says.
pub(crate) fn verdict(rules: &[Rule], target: SocketAddr) -> Option<bool> {
    let (ip, port) = (target.ip(), target.port());
    rules.iter().find_map(|rule| rule.verdict(ip, port))
}

impl FromStr for Rule {
    type Err = RuleSyntax;

    fn from_str(text: &str) -> Result<Self, RuleSyntax> {
        let mut words = text.split_whitespace();
        let allows = match words.next() {
            Some("allow") => true,
            Some("deny") => false,
            _ => return Err(RuleSyntax),
        };
        let network = match words.next() {
            Some("*") => None,
            Some(network) => Some(parse_network(network)?),
            None => return Err(RuleSyntax),
        };
        let ports = words.next().map_or(Ok(0..=u16::MAX), parse_ports)?;
        match words.next() {
            None => Ok(Self {
                allows,
                network,
                ports,
            }),
            Some(_) => Err(RuleSyntax),
        }
    }
}

impl FromStr for RuleList {
    type Err = RuleListError;

    fn from_str(text: &str) -> Result<Self, RuleListError> {
        if text.trim() == "none" {
            return Ok(Self::default());
        }
        let rule = |text: &str| {
            text.parse().map_err(|source| RuleListError::Rule {
                given: text.trim().to_owned(),
                source,
            })
        };
        let mut rules = Vec::new();
        for text in text.split(',') {
            if rules.len() == MOST_RULES {
                return Err(RuleListError::TooMany);
            }
            rules.push(rule(text)?);
        }
        Ok(Self(rules.into()))
    }
}

impl fmt::Display for RuleList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, rule) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{rule}")?;
        }
        Ok(())
    }
}

fn parse_network(text: &str) -> Result<IpNet, RuleSyntax> {
    let network = text.parse::<IpNet>();
    network
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| RuleSyntax)
}

fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, RuleSyntax> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse::<u16>().map_err(|_| RuleSyntax);
    let ports = port(first)?..=port(last)?;
    if ports.is_empty() {
        Err(RuleSyntax)
    } else {
        Ok(ports)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.allows { "allow " } else { "deny " })?;
        match self.network {
            Some(network) => write!(f, "{network}")?,
            None => f.write_str("*")?,
        }
        match (*self.ports.start(), *self.ports.end()) {
            (0, u16::MAX) => Ok(()),
            (first, last) if first == last => write!(f, " {first}"),
            (first, last) => write!(f, " {first}-{last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_first_that_is_about_it_decides() {
        let rules = rules(&[
            "deny * 25",
            "allow 10.1.0.0/16 443-444",
            "deny 10.0.0.0/8",
            "allow 2001:db8::1",
        ]);
        for (target, said) in [
            ("192.0.2.1:25", Some(false)),
            ("10.1.2.3:25", Some(false)),
            ("10.1.2.3:443", Some(true)),
            ("10.1.2.3:444", Some(true)),
            ("10.1.2.3:445", Some(false)),
            ("10.2.0.0:443", Some(false)),
            ("192.0.2.1:26", None),
            ("[2001:db8::1]:1", Some(true)),
            ("[2001:db8::2]:1", None),
        ] {
            assert_eq!(verdict(&rules, target.parse().unwrap()), said, "{target}");
        }
    }

    #[test]
    fn lists_are_written_as_they_are_read() {
        for text in ["none", "deny * 25", "deny * 25, allow 10.1.0.0/16 443-444"] {
            assert_eq!(text.parse::<RuleList>().unwrap().to_string(), text);
        }
        assert_eq!(
            "deny * 25,allow *".parse::<RuleList>().unwrap().as_slice(),
            rules(&["deny * 25", "allow *"])
        );
        for no in ["", "none, deny *", "deny *,", "deny * 25; allow *"] {
            assert!(no.parse::<RuleList>().is_err(), "{no}");
        }
        let many = ["deny * 25"; MOST_RULES + 1];
        assert!(many[1..].join(",").parse::<RuleList>().is_ok());
        let error = many.join(",").parse::<RuleList>();
        assert_eq!(error, Err(RuleListError::TooMany));
    }

    #[test]
    fn rules_are_written_as_they_are_read() {
        for text in [
            "deny * 25",
            "allow 10.1.0.0/16 443-444",
            "deny *",
            "allow 2001:db8::/32",
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
        for no in [
            "",
            "allow",
            "permit *",
            "deny example.com",
            "deny * 70000",
            "deny * 5-4",
            "deny * 25 26",
            "allow 10.0.0.0/33",
        ] {
            assert_eq!(no.parse::<Rule>(), Err(RuleSyntax), "{no}");
        }
    }
}
