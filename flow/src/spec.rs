//! The grammar `kind:key=value,key=value` that policies and traffic patterns share.
//!
//! `token-bucket:rate=5000B/s,burst=5000B` names a kind and its fields. Order
//! does not matter, spaces around names and values are allowed, and a field
//! may be written once. What a field means is its owner's business; a table of
//! a scenario file gives the same [`Fields`] without the text around them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;
use core::str::FromStr;

use crate::units::UnitError;

mod suggest;

pub use suggest::suggestion;

/// Fields of one specification in the order in which they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// No fields.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a field.
    ///
    /// # Errors
    /// [`SpecError::Conflict`] if it was written before.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), SpecError> {
        if self.get(key).is_some() {
            return Err(SpecError::conflict(key, "it is written twice"));
        }
        self.0.push((key.to_string(), value.to_string()));
        Ok(())
    }

    /// The value of `key` as it was written.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(name, _)| name == key)?;
        Some(value)
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses every field that is not in `allowed`.
    ///
    /// # Errors
    /// [`SpecError::UnknownField`] for the first of them.
    pub fn only(&self, kind: &str, allowed: &'static [&'static str]) -> Result<(), SpecError> {
        match self.iter().find(|(key, _)| !allowed.contains(key)) {
            None => Ok(()),
            Some((key, _)) => Err(SpecError::UnknownField {
                kind: kind.to_string(),
                field: key.to_string(),
                allowed,
            }),
        }
    }

    /// The value of `key`, read as `T`; `None` if it was not written.
    ///
    /// # Errors
    /// [`SpecError::Value`] if it cannot be read.
    pub fn read<T>(&self, key: &str) -> Result<Option<T>, SpecError>
    where
        T: FromStr,
        ValueError: From<T::Err>,
    {
        self.get(key)
            .map(|value| value.parse().map_err(|e| SpecError::value(key, e)))
            .transpose()
    }

    /// The value of `key`, read as `T`.
    ///
    /// # Errors
    /// [`SpecError::Missing`] if it was not written, [`SpecError::Value`] if it
    /// cannot be read.
    pub fn require<T>(&self, key: &str) -> Result<T, SpecError>
    where
        T: FromStr,
        ValueError: From<T::Err>,
    {
        self.read(key)?.ok_or_else(|| SpecError::missing(key))
    }
}

/// Splits `kind:key=value,key=value`; the kind may stand alone.
///
/// # Errors
/// [`SpecError::Syntax`] if a field has no `=` or a name is empty,
/// [`SpecError::Conflict`] if a field is written twice.
pub fn parse(text: &str) -> Result<(String, Fields), SpecError> {
    let (kind, rest) = match text.split_once(':') {
        Some((kind, rest)) => (kind.trim(), Some(rest)),
        None => (text.trim(), None),
    };
    if kind.is_empty() {
        return Err(SpecError::Syntax {
            given: text.to_string(),
            why: "a kind comes first, as in \"token-bucket:rate=5000B/s,burst=5000B\"",
        });
    }
    let mut fields = Fields::new();
    for field in rest.into_iter().flat_map(|rest| rest.split(',')) {
        let (key, value) = split_field(field)?;
        fields.insert(key, value)?;
    }
    Ok((kind.to_string(), fields))
}

fn split_field(field: &str) -> Result<(&str, &str), SpecError> {
    match field.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim(), value.trim())),
        _ => Err(SpecError::Syntax {
            given: field.trim().to_string(),
            why: "a field is written key=value, and fields are separated by commas",
        }),
    }
}

/// Why a specification was refused.
///
/// [`Self::field`] names the field at fault, for a layer that knows where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The text is not `kind:key=value,...`.
    #[error("cannot read \"{given}\": {why}")]
    Syntax {
        /// The part that cannot be read.
        given: String,
        /// The form it should have.
        why: &'static str,
    },
    /// There is no such kind.
    #[error("unknown kind \"{given}\"{}; the kinds are {}", did_you_mean(*suggestion), kinds.join(", "))]
    UnknownKind {
        /// What was written.
        given: String,
        /// The nearest kind that exists.
        suggestion: Option<&'static str>,
        /// All kinds.
        kinds: &'static [&'static str],
    },
    /// The kind has no such field.
    #[error(
        "{kind} has no field \"{field}\"{}{}",
        did_you_mean(suggestion(field, allowed)),
        list(allowed)
    )]
    UnknownField {
        /// The kind.
        kind: String,
        /// What was written.
        field: String,
        /// The fields of the kind.
        allowed: &'static [&'static str],
    },
    /// A field without a default was not written.
    #[error("\"{field}\" is missing")]
    Missing {
        /// The field.
        field: String,
    },
    /// The value of a field cannot be read.
    #[error("cannot read \"{field}\"")]
    Value {
        /// The field.
        field: String,
        /// What is wrong with its value.
        source: ValueError,
    },
    /// A field contradicts another one.
    #[error("\"{field}\": {why}")]
    Conflict {
        /// The field.
        field: String,
        /// What it contradicts.
        why: String,
    },
}

/// What is wrong with the value of a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// It is not the quantity it should be.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// It is none of the words allowed here.
    #[error("\"{given}\" is none of {}{}", allowed.join(", "), did_you_mean(suggestion(given, allowed)))]
    Word {
        /// What was written.
        given: String,
        /// The words.
        allowed: &'static [&'static str],
    },
    /// It is neither `true` nor `false`.
    #[error("write true or false")]
    Bool(#[from] core::str::ParseBoolError),
    /// It is not a whole number.
    #[error("write a whole number")]
    Integer(#[from] core::num::ParseIntError),
    /// It is not a number.
    #[error("write a number such as 1.5")]
    Float(#[from] core::num::ParseFloatError),
    /// It is outside what the field allows.
    #[error("\"{given}\" is not {range}")]
    Range {
        /// What was written.
        given: String,
        /// What is allowed.
        range: &'static str,
    },
}

impl SpecError {
    /// A missing field.
    #[must_use]
    pub fn missing(field: &str) -> Self {
        Self::Missing {
            field: field.to_string(),
        }
    }

    /// A value that cannot be read.
    pub fn value(field: &str, source: impl Into<ValueError>) -> Self {
        Self::Value {
            field: field.to_string(),
            source: source.into(),
        }
    }

    /// A contradiction.
    pub fn conflict(field: &str, why: impl Display) -> Self {
        Self::Conflict {
            field: field.to_string(),
            why: why.to_string(),
        }
    }

    /// A kind that does not exist, with the nearest one that does.
    #[must_use]
    pub fn unknown_kind(given: &str, kinds: &'static [&'static str]) -> Self {
        Self::UnknownKind {
            given: given.to_string(),
            suggestion: suggestion(given, kinds),
            kinds,
        }
    }

    /// The field at fault.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Syntax { .. } | Self::UnknownKind { .. } => None,
            Self::UnknownField { field, .. }
            | Self::Missing { field }
            | Self::Value { field, .. }
            | Self::Conflict { field, .. } => Some(field),
        }
    }
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    match suggestion {
        Some(name) => alloc::format!(", did you mean \"{name}\"?"),
        None => String::new(),
    }
}

fn list(allowed: &[&str]) -> String {
    if allowed.is_empty() {
        return "; it has no fields".into();
    }
    alloc::format!("; its fields are {}", allowed.join(", "))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::{Fields, SpecError, parse};

    #[test]
    fn a_kind_and_its_fields() {
        let (kind, fields) = parse("token-bucket: rate = 5000B/s ,burst=1 MiB").unwrap();
        assert_eq!(kind, "token-bucket");
        let written: alloc::vec::Vec<_> = fields.iter().collect();
        assert_eq!(written, [("rate", "5000B/s"), ("burst", "1 MiB")]);
        assert_eq!(parse("none").unwrap(), ("none".into(), Fields::new()));
    }

    #[test]
    fn what_is_not_the_grammar_is_refused() {
        for text in [
            "",
            ":rate=1B/s",
            "x:",
            "x:rate",
            "x:=1",
            "x:a=1,",
            "x:a=1,a=2",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        let twice = parse("x:a=1,a=2").unwrap_err();
        assert_eq!(twice.field(), Some("a"));
    }

    #[test]
    fn an_unknown_field_gets_a_suggestion() {
        let (kind, fields) = parse("x:bust=1B").unwrap();
        let error = fields.only(&kind, &["rate", "burst"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "x has no field \"bust\", did you mean \"burst\"?; its fields are rate, burst"
        );
        assert_eq!(error.field(), Some("bust"));
    }

    #[test]
    fn an_unknown_kind_gets_a_suggestion() {
        let error = SpecError::unknown_kind("tokenbucket", &["gcra", "token-bucket"]);
        assert!(error.to_string().contains("did you mean \"token-bucket\"?"));
        let error = SpecError::unknown_kind("zzz", &["gcra", "token-bucket"]);
        assert!(!error.to_string().contains("did you mean"));
    }
}
