//! Which cells a process runs: all, or one of n shares.

use std::str::FromStr;

use super::Cell;

/// Share `index` of `count`, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    count: u64,
}

/// What cannot be a share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum ShardError {
    /// As it was written.
    #[error("\"{0}\" is no share; write for example 1/4, the first of four")]
    Written(String),
    /// As a scheduler says.
    #[error("{name} is \"{value}\", which says no share")]
    #[diagnostic(help("give the share with --shard i/n"))]
    Environment {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// Kubernetes numbers the pods of a job and does not say how many there are.
    #[error("JOB_COMPLETION_INDEX is set, and JOB_COMPLETIONS is not")]
    #[diagnostic(help(
        "set JOB_COMPLETIONS to the job's `completions` in its env, or give --shard i/n"
    ))]
    NoCompletions,
}

impl Shard {
    /// Everything.
    pub const ALL: Self = Self { index: 0, count: 1 };

    /// Every count-th of `cells`, from the index-th on.
    pub fn of(self, cells: &[Cell]) -> impl Iterator<Item = &Cell> {
        (0_u64..)
            .zip(cells)
            .filter(move |(number, _)| number % self.count == self.index)
            .map(|(_, cell)| cell)
    }

    /// Whether it is all there is.
    #[must_use]
    pub const fn is_all(self) -> bool {
        self.count == 1
    }

    /// What the scheduler that started this process says in its environment, with the
    /// variable that said it: a task of a Slurm array, a pod of an indexed job of Kubernetes.
    ///
    /// # Errors
    /// If what it says makes no share.
    pub fn of_environment(
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<(Self, &'static str)>, ShardError> {
        let number = |name: &'static str| {
            get(name)
                .map(|value| {
                    value
                        .trim()
                        .parse::<u64>()
                        .map_err(|_| ShardError::Environment { name, value })
                })
                .transpose()
        };
        if let Some(id) = number("SLURM_ARRAY_TASK_ID")? {
            let name = "SLURM_ARRAY_TASK_COUNT";
            let first = number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
            let step = number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
            let count = number(name)?.unwrap_or(0);
            let index = id.checked_sub(first).map(|past| past / step);
            return match index.and_then(|index| Self::new(index, count)) {
                Some(shard) => Ok(Some((shard, "SLURM_ARRAY_TASK_ID"))),
                None => Err(ShardError::Environment {
                    name,
                    value: get(name).unwrap_or_default(),
                }),
            };
        }
        let Some(index) = number("JOB_COMPLETION_INDEX")? else {
            return Ok(None);
        };
        let count = number("JOB_COMPLETIONS")?.ok_or(ShardError::NoCompletions)?;
        let name = "JOB_COMPLETION_INDEX";
        let value = index.to_string();
        let shard = Self::new(index, count).ok_or(ShardError::Environment { name, value })?;
        Ok(Some((shard, name)))
    }

    const fn new(index: u64, count: u64) -> Option<Self> {
        if index < count {
            Some(Self { index, count })
        } else {
            None
        }
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    /// "1/4" to "4/4".
    fn from_str(text: &str) -> Result<Self, ShardError> {
        let wrong = || ShardError::Written(text.to_owned());
        let (number, count) = text.split_once('/').ok_or_else(wrong)?;
        let number: u64 = number.trim().parse().map_err(|_| wrong())?;
        let count = count.trim().parse().map_err(|_| wrong())?;
        let index = number.checked_sub(1).ok_or_else(wrong)?;
        Self::new(index, count).ok_or_else(wrong)
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(set: &[(&str, &str)]) -> Result<Option<String>, ShardError> {
        let get = |name: &str| {
            let found = set.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Shard::of_environment(get).map(|found| found.map(|(shard, _)| shard.to_string()))
    }

    #[test]
    fn shares_are_written_from_one() {
        assert_eq!("2/4".parse(), Ok(Shard { index: 1, count: 4 }));
        assert_eq!("1/1".parse(), Ok(Shard::ALL));
        for wrong in ["0/4", "5/4", "4", "a/b", "1/0", "-1/4"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn schedulers_say_which() {
        assert_eq!(environment(&[]), Ok(None));
        let array = [
            ("SLURM_ARRAY_TASK_ID", "3"),
            ("SLURM_ARRAY_TASK_COUNT", "4"),
            ("SLURM_ARRAY_TASK_MIN", "1"),
        ];
        assert_eq!(environment(&array), Ok(Some("3/4".to_owned())));
        assert!(environment(&array[..1]).is_err());
        let pod = [("JOB_COMPLETION_INDEX", "0"), ("JOB_COMPLETIONS", "8")];
        assert_eq!(environment(&pod), Ok(Some("1/8".to_owned())));
        assert_eq!(environment(&pod[..1]), Err(ShardError::NoCompletions));
    }

    #[test]
    fn every_cell_is_in_one_share() {
        let cells: Vec<Cell> = (0..11)
            .map(|n| Cell {
                hash: n.to_string(),
                values: Vec::new(),
            })
            .collect();
        let mut all: Vec<&str> = Vec::new();
        for share in ["1/3", "2/3", "3/3"] {
            let shard: Shard = share.parse().unwrap();
            all.extend(shard.of(&cells).map(|cell| cell.hash.as_str()));
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 11);
    }
}
