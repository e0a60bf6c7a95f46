//! Instants of the wall clock and the periods that a quota begins anew in, all UTC.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime};

const DAY: i64 = 86_400;

/// Monday first, as in ISO 8601.
const WEEKDAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// An instant of the wall clock, in whole seconds since 1970 began (UTC).
///
/// Written as RFC 3339 has it (`2027-01-31T12:00:00Z`); a date alone is the
/// first instant of that day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(i64);

/// How often a quota begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// Never: it holds for the life of the account.
    Never,
    /// At midnight.
    Daily,
    /// At the midnight that begins this day of the week, from Monday (0) to Sunday (6).
    Weekly(u8),
    /// At the midnight that begins this day of the month (1 to 31), or the last
    /// day of a month that is shorter.
    Monthly(u8),
}

/// One period: `start` belongs to it, `end` to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first instant.
    pub start: Moment,
    /// The first instant of the next one; `None` if there is no next one.
    pub end: Option<Moment>,
}

/// Why a text is no date or period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// No date.
    #[error("{given:?} is no date: write 2027-01-31 or 2027-01-31T12:00:00Z")]
    Moment {
        /// What was written.
        given: String,
    },
    /// No period.
    #[error(
        "{given:?} is no period: write never, daily, weekly, weekly@friday, monthly or monthly@15"
    )]
    Period {
        /// What was written.
        given: String,
    },
}

impl Moment {
    /// What the wall clock shows.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }

    /// So many seconds after 1970 began.
    #[must_use]
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since 1970 began.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0
    }

    const fn of_day(day: i64) -> Self {
        Self(day.saturating_mul(DAY))
    }

    const fn day(self) -> i64 {
        self.0.div_euclid(DAY)
    }
}

impl Period {
    /// The calendar month: what usage is kept by where there is no quota.
    pub const MONTH: Self = Self::Monthly(1);

    /// The period that `now` lies in.
    #[must_use]
    pub fn around(self, now: Moment) -> Span {
        let span = |start, end| Span {
            start: Moment::of_day(start),
            end: Some(Moment::of_day(end)),
        };
        let day = now.day();
        match self {
            Self::Never => Span {
                start: Moment(0),
                end: None,
            },
            Self::Daily => span(day, day + 1),
            Self::Weekly(first) => {
                // The first of January 1970 was a Thursday.
                let since = (day + 3 - i64::from(first)).rem_euclid(7);
                span(day - since, day - since + 7)
            }
            Self::Monthly(first) => {
                month_around(day, first).map_or_else(|| span(day, day + 1), |(a, b)| span(a, b))
            }
        }
    }
}

/// The days (since 1970 began) that a period which begins on the `first` of
/// each month has around `day`; `None` beyond the years that have four digits.
fn month_around(day: i64, first: u8) -> Option<(i64, i64)> {
    let date = OffsetDateTime::from_unix_timestamp(day.checked_mul(DAY)?)
        .ok()?
        .date();
    let this = day_of_month(date.year(), date.month(), first)?;
    if day >= this {
        let year = date.year() + i32::from(date.month() == Month::December);
        Some((this, day_of_month(year, date.month().next(), first)?))
    } else {
        let year = date.year() - i32::from(date.month() == Month::January);
        Some((day_of_month(year, date.month().previous(), first)?, this))
    }
}

/// The `wanted` day of a month, or its last one, in days since 1970 began.
fn day_of_month(year: i32, month: Month, wanted: u8) -> Option<i64> {
    let last = month.length(year);
    let date = Date::from_calendar_date(year, month, wanted.clamp(1, last)).ok()?;
    Some(date.midnight().assume_utc().unix_timestamp() / DAY)
}

impl FromStr for Moment {
    type Err = CalendarError;

    fn from_str(text: &str) -> Result<Self, CalendarError> {
        let text = text.trim();
        let whole = if text.contains(['T', 't']) {
            text.to_owned()
        } else {
            format!("{text}T00:00:00Z")
        };
        let moment = OffsetDateTime::parse(&whole, &Rfc3339);
        moment
            .map(|moment| Self(moment.unix_timestamp()))
            .map_err(|_| CalendarError::Moment {
                given: text.to_owned(),
            })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp(self.0)
            .ok()
            .and_then(|moment| moment.format(&Rfc3339).ok());
        match text {
            Some(text) => f.write_str(&text),
            None => write!(f, "{} s after 1970 began", self.0),
        }
    }
}

impl FromStr for Period {
    type Err = CalendarError;

    fn from_str(text: &str) -> Result<Self, CalendarError> {
        let (kind, from) = match text.trim().split_once('@') {
            Some((kind, from)) => (kind, Some(from)),
            None => (text.trim(), None),
        };
        let period = match (kind, from) {
            ("never", None) => Some(Self::Never),
            ("daily", None) => Some(Self::Daily),
            ("weekly", None) => Some(Self::Weekly(0)),
            ("weekly", Some(day)) => (0..)
                .zip(WEEKDAYS)
                .find(|(_, name)| *name == day)
                .map(|(number, _)| Self::Weekly(number)),
            ("monthly", None) => Some(Self::MONTH),
            ("monthly", Some(day)) => day
                .parse()
                .ok()
                .filter(|day| (1..=31).contains(day))
                .map(Self::Monthly),
            _ => None,
        };
        period.ok_or_else(|| CalendarError::Period {
            given: text.trim().to_owned(),
        })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Daily => f.write_str("daily"),
            Self::Weekly(first) => {
                let name = WEEKDAYS.get(usize::from(*first)).unwrap_or(&WEEKDAYS[0]);
                write!(f, "weekly@{name}")
            }
            Self::Monthly(first) => write!(f, "monthly@{first}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Moment {
        text.parse().unwrap()
    }

    fn around(period: &str, now: &str) -> (String, String) {
        let span = period.parse::<Period>().unwrap().around(moment(now));
        (span.start.to_string(), span.end.unwrap().to_string())
    }

    fn days(from: &str, to: &str) -> (String, String) {
        (format!("{from}T00:00:00Z"), format!("{to}T00:00:00Z"))
    }

    #[test]
    fn moments_are_written_as_rfc_3339_has_it() {
        assert_eq!(moment("1970-01-02").unix_seconds(), 86_400);
        assert_eq!(
            moment("2027-01-31T12:00:00+02:00").to_string(),
            "2027-01-31T10:00:00Z"
        );
        for wrong in ["", "tomorrow", "2027-02-29", "2027-1-1", "12:00"] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
        // Beyond what has a date.
        assert!(
            Moment::from_unix_seconds(i64::MAX)
                .to_string()
                .contains("1970")
        );
    }

    #[test]
    fn days_and_weeks() {
        assert_eq!(
            around("daily", "2026-11-22T23:59:59Z"),
            days("2026-11-22", "2026-11-23")
        );
        // The 22nd was a Sunday.
        assert_eq!(
            around("weekly", "2026-11-22"),
            days("2026-11-16", "2026-11-23")
        );
        assert_eq!(
            around("weekly@sunday", "2026-11-22"),
            days("2026-11-22", "2026-11-29")
        );
        assert_eq!(
            around("weekly@friday", "1969-12-31"),
            days("1969-12-26", "1970-01-02")
        );
    }

    #[test]
    fn months_that_are_too_short_end_with_their_last_day() {
        assert_eq!(
            around("monthly", "2026-12-31"),
            days("2026-12-01", "2027-01-01")
        );
        assert_eq!(
            around("monthly@15", "2027-01-14T23:59:59Z"),
            days("2026-12-15", "2027-01-15")
        );
        assert_eq!(
            around("monthly@31", "2028-02-28"),
            days("2028-01-31", "2028-02-29")
        );
        assert_eq!(
            around("monthly@31", "2028-02-29"),
            days("2028-02-29", "2028-03-31")
        );
        let span = Period::MONTH.around(Moment(i64::MAX));
        assert!(span.start <= Moment(i64::MAX));
    }

    #[test]
    fn every_instant_lies_in_its_period() {
        for period in ["daily", "weekly@wednesday", "monthly@30", "monthly@1"] {
            let period: Period = period.parse().unwrap();
            assert_eq!(period.to_string().parse(), Ok(period));
            let mut now = moment("2027-01-01");
            for _ in 0..4_000 {
                let span = period.around(now);
                assert!(span.start <= now && span.end.is_some_and(|end| now < end));
                let end = span.end.unwrap();
                assert_eq!(period.around(end).start, end, "periods leave no gap");
                now = Moment(now.0 + 9_973);
            }
        }
        assert_eq!(Period::Never.around(moment("2027-01-01")).end, None);
        for wrong in [
            "",
            "yearly",
            "monthly@0",
            "monthly@32",
            "weekly@8",
            "daily@1",
        ] {
            assert!(wrong.parse::<Period>().is_err(), "{wrong}");
        }
    }
}
