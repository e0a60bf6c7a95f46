//! Quantities in files: always as text.

use core::fmt;
use core::marker::PhantomData;
use core::str::FromStr;

use ::serde::de::{Deserialize, Deserializer, Error, Visitor};
use ::serde::ser::{Serialize, Serializer};

use super::{ByteRate, ByteSize, Problem, Quantity, UnitError, Weight};
use crate::Nanos;

/// Reads one quantity; a number without quotes gets the same error as one without a unit.
struct Text<T>(Quantity, PhantomData<T>);

impl<T: FromStr<Err = UnitError>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.forms())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        Err(bare(self.0, &number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        Err(bare(self.0, &number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        Err(bare(self.0, &number))
    }
}

fn bare<E: Error>(quantity: Quantity, number: &impl alloc::string::ToString) -> E {
    E::custom(UnitError::new(
        quantity,
        &number.to_string(),
        Problem::NoUnit,
    ))
}

macro_rules! as_text {
    ($($type:ty => $quantity:ident),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_any(Text(Quantity::$quantity, PhantomData))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    )*};
}

as_text!(ByteSize => Size, ByteRate => Rate, Nanos => Time, Weight => Weight);

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};

    use ::serde::Deserialize;
    use ::serde::de::IntoDeserializer;
    use ::serde::de::value::Error;

    use crate::{ByteRate, ByteSize};

    fn rate<'de>(from: impl IntoDeserializer<'de, Error>) -> Result<ByteRate, String> {
        ByteRate::deserialize(from.into_deserializer()).map_err(|e| e.to_string())
    }

    #[test]
    fn text_is_read_and_a_bare_number_says_what_it_lacks() {
        assert_eq!(rate("40 kbit/s").ok(), ByteRate::new(5_000));
        for error in [rate(5_000_u64), rate(5_000_i64), rate("5000")] {
            let error = error.unwrap_err();
            assert!(
                error.starts_with("\"5000\" has no unit; write a rate like"),
                "{error}"
            );
        }
        assert!(rate(0.5).is_err());
        assert!(rate(true).unwrap_err().contains("a rate like"));
        let size: Result<ByteSize, Error> = ByteSize::deserialize("1 MiB".into_deserializer());
        assert_eq!(size, Ok(ByteSize::new(1 << 20)));
    }
}
