//! Values as they are written: text with a unit, a kind, an address.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use flow::{Nanos, Policy};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use crate::users::{LimitError, Limits};

/// A value written as text.
#[derive(Clone, Debug)]
pub(super) struct Text<T>(pub(super) T);

impl<'de, T> Deserialize<'de> for Text<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor(PhantomData))
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T> Visitor<'_> for TextVisitor<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    type Value = Text<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in quotes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<T>, E> {
        let parsed = text.parse().map(Text);
        parsed.map_err(|error| E::custom(format_args!("{text:?}: {error}")))
    }

    /// A number is never one of these; what it lacks is told as of the text.
    fn visit_i64<E: Error>(self, number: i64) -> Result<Text<T>, E> {
        match number.to_string().parse::<T>() {
            Err(error) => Err(E::custom(format_args!("{number}: {error}"))),
            Ok(_) => Err(E::invalid_type(Unexpected::Signed(number), &self)),
        }
    }
}

/// A length of time above zero, with its unit.
#[derive(Clone, Debug)]
pub(super) struct Length(Duration);

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let nanos: Nanos = text
            .parse()
            .map_err(|error: flow::units::UnitError| error.to_string())?;
        if nanos == Nanos::ZERO {
            return Err("must be above zero".to_owned());
        }
        Ok(Self(Duration::from_nanos(nanos.get())))
    }
}

/// One budget for both directions, as `user add --algorithm` takes it.
#[derive(Clone, Debug)]
pub(super) struct Limit(pub(super) Limits);

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        Limits::policy(text, None, None).map(|policy| Self(Limits::Shared(policy)))
    }
}

/// The limit of all users together.
#[derive(Clone, Debug)]
pub(super) struct Total(pub(super) Policy);

impl FromStr for Total {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        Limits::policy(text, None, None).map(Self)
    }
}

/// Takes over what is there.
pub(super) fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// The values themselves.
pub(super) fn all<T>(texts: Vec<Text<T>>) -> Vec<T> {
    texts.into_iter().map(|text| text.0).collect()
}

/// The time itself.
pub(super) fn length(text: Text<Length>) -> Duration {
    text.0.0
}
