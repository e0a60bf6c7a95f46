//! Users from elsewhere: a file, or a panel. Both say
//! `{"users": [{"user_id", "port", "method", "password", "enable", "speed_limit"}]}`;
//! `enable` is true if it is left out, `speed_limit` is in bytes a second for both
//! directions together, 0 for none, left out to leave it as it is.
//!
//! What is said is the truth about users with a number: who is left out is let in no
//! longer. Who is as before is not touched. A list that cannot be read changes
//! nothing; an entry that cannot be read leaves that user as they are.

use std::collections::HashSet;

use flow::ByteRate;
use serde::Deserialize;

use super::Front;
use crate::budget::default_burst;
use crate::protocol::shadowsocks::{KeyError, UnknownMethod};
use crate::users::{Access, Limits, Subscriber, UserError, token_bucket};

pub(super) mod file;
#[cfg(feature = "panel")]
pub(super) mod panel;

/// A list of users, as far as it can be read.
#[derive(Debug)]
struct List {
    subscribers: Vec<Subscriber>,
    /// Users of whom something cannot be read.
    unreadable: Vec<i64>,
}

#[derive(Deserialize)]
struct Listed {
    users: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    user_id: i64,
    port: Option<u16>,
    method: Option<String>,
    password: Option<String>,
    #[serde(default = "yes")]
    enable: bool,
    speed_limit: Option<u64>,
}

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
enum ListError {
    /// It is none.
    #[error("not a list of users: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Two users have one number.
    #[error("two users have the user_id {0}")]
    Twice(i64),
    /// The database.
    #[error(transparent)]
    Users(#[from] UserError),
}

/// Why a user cannot be let in.
#[derive(Debug, thiserror::Error)]
enum EntryError {
    #[error("no port from 1 to 65535")]
    Port,
    #[error("no method")]
    NoMethod,
    #[error("the method {0}")]
    Method(#[from] UnknownMethod),
    #[error("no password")]
    NoPassword,
    #[error(transparent)]
    Key(#[from] KeyError),
}

const fn yes() -> bool {
    true
}

impl List {
    fn read(text: &[u8]) -> Result<Self, ListError> {
        let listed: Listed = serde_json::from_slice(text)?;
        let mut numbers = HashSet::new();
        let mut list = Self {
            subscribers: Vec::with_capacity(listed.users.len()),
            unreadable: Vec::new(),
        };
        for entry in listed.users {
            let number = entry.user_id;
            if !numbers.insert(number) {
                return Err(ListError::Twice(number));
            }
            match entry.subscriber() {
                Ok(subscriber) => list.subscribers.push(subscriber),
                Err(error) => {
                    tracing::error!(user_id = number, %error, "this user is left as they are");
                    list.unreadable.push(number);
                }
            }
        }
        Ok(list)
    }
}

impl Entry {
    fn subscriber(self) -> Result<Subscriber, EntryError> {
        let access = Access {
            number: Some(self.user_id),
            port: self.port.filter(|&port| port > 0).ok_or(EntryError::Port)?,
            method: self.method.ok_or(EntryError::NoMethod)?.parse()?,
            password: self.password.ok_or(EntryError::NoPassword)?,
        };
        access.keys()?;
        Ok(Subscriber {
            access,
            enabled: self.enable,
            limits: self.speed_limit.map(limits),
        })
    }
}

/// What a speed limit comes to: one budget for both directions.
pub(super) fn limits(speed: u64) -> Limits {
    ByteRate::new(speed).map_or(Limits::Unlimited, |rate| {
        Limits::Shared(token_bucket(rate, default_burst(rate)))
    })
}

impl Front {
    /// Brings the users to what `text` says.
    async fn take_over(&self, text: &[u8]) -> Result<(), ListError> {
        let list = List::read(text)?;
        let users = &self.users;
        let changed = users
            .subscribe_all(&list.subscribers, &list.unreadable)
            .await?;
        if changed > 0 {
            let users = list.subscribers.len();
            tracing::info!(users, changed, "shadowsocks users taken over");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_own_example_is_read() {
        let text = br#"{"users":[{"user_id":1,"port":2345,"method":"none","password":"hellotheworld1","transfer":104857600,"speed_limit":384000},
            {"user_id":2,"port":2346,"method":"aes-128-gcm","password":"hellotheworld2","enable":false}]}"#;
        let list = List::read(text).unwrap();
        let [one, two] = &list.subscribers[..] else {
            panic!("{list:?}")
        };
        assert!(one.enabled, "enabled if nothing is said");
        assert_eq!(one.limits, Some(limits(384_000)));
        assert_eq!((two.enabled, two.limits), (false, None));
        assert_eq!(limits(0), Limits::Unlimited);
    }

    #[test]
    fn one_bad_user_does_not_cost_the_others() {
        let text = br#"{"users":[{"user_id":1,"port":0,"method":"none","password":"x"},{"user_id":2},
            {"user_id":3,"port":1,"method":"rc4-md5","password":"x"},{"user_id":4,"port":1,"method":"2022-blake3-aes-128-gcm","password":"x"},
            {"user_id":5,"port":1,"method":"AES-256-GCM","password":"x"}]}"#;
        let list = List::read(text).unwrap();
        assert_eq!(list.unreadable, [1, 2, 3, 4]);
        assert_eq!(list.subscribers.len(), 1);
        for wrong in [
            &b"{}"[..],
            b"[]",
            b"{\"users\":[{\"port\":1}]}",
            b"{\"users\":[{\"user_id\":1},{\"user_id\":1}]}",
            b"<html>",
        ] {
            assert!(List::read(wrong).is_err());
        }
    }
}
