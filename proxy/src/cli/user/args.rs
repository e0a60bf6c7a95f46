//! What the commands about users take.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use flow::{ByteRate, ByteSize, Policy};
use proxy::acl::RuleList;
use proxy::users::{Beyond, Cap, Expiry, FloorRule, Quota, RulesChange, Weight};
use proxy::{Limits, PasswordCost, Users};

use super::books::Books;
use super::print::Printer;
use super::{DatabaseArg, Failure, failure};
use crate::cli::settings::AdminClientArg;

/// As much is read where a password should be, in bytes.
const LONGEST: u64 = 64 * 1024;

#[derive(Args)]
pub(crate) struct One {
    /// The name.
    pub(super) name: String,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args)]
pub(crate) struct Common {
    #[command(flatten)]
    database: DatabaseArg,
    #[command(flatten)]
    admin: AdminClientArg,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct PasswordArg {
    /// Read the password from this file, `-` for standard input; one newline at the end is not part of it.
    #[arg(long, value_name = "FILE|-")]
    password_file: PasswordFile,
}

/// Where a password is read from.
#[derive(Clone)]
pub(crate) struct PasswordFile(PathBuf);

#[derive(Args)]
pub(crate) struct RuleArgs {
    #[command(flatten)]
    limits: LimitArgs,
    /// Connections at once, or `none` for any number.
    #[arg(long, value_name = "NUMBER")]
    max_connections: Option<Cap>,
    /// Addresses at once (an IPv6 /64 counts as one), or `none` for any number.
    #[arg(long, value_name = "NUMBER")]
    max_addresses: Option<Cap>,
    /// Payload of both directions in a period, as in 10GB/monthly@15, 5GiB/weekly@friday,
    /// 1GB/daily (all UTC), 1TB for ever, or `none`.
    #[arg(long, value_name = "SIZE/PERIOD")]
    quota: Option<Quota>,
    /// The end of the account, as in 2027-01-31 or 2027-01-31T12:00:00Z, or `never`.
    #[arg(long, value_name = "DATE")]
    expires: Option<Expiry>,
    /// What holds beyond quota and expiry: `refuse`, or a rate to slow down to.
    #[arg(long, value_name = "refuse|RATE")]
    beyond: Option<Beyond>,
    /// Which targets may be reached, the first rule about a resolved address decides:
    /// "allow|deny NETWORK|ADDRESS|* [PORT|PORT-PORT]" with commas between, as in
    /// "allow 10.1.0.0/16 443, deny * 25", or `none`.
    #[arg(long, value_name = "RULES")]
    egress: Option<RuleList>,
    /// The share in what is left of the limit of the whole server, from 1 to 1000.
    #[arg(long, value_name = "NUMBER")]
    weight: Option<Weight>,
    /// What is assured of the limit of the whole server: a rate, or `none`.
    #[arg(long, value_name = "RATE")]
    floor: Option<FloorRule>,
}

/// What can be set back.
#[derive(Args)]
pub(crate) struct ResetArgs {
    /// Set these back to what holds for everybody (or, for everybody, to the default).
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    reset: Vec<Rule>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Rule {
    Limits,
    MaxConnections,
    MaxAddresses,
    Quota,
    Expires,
    Beyond,
    Egress,
    Weight,
    Floor,
}

#[derive(Args)]
struct LimitArgs {
    /// No limit of the bandwidth.
    #[arg(long, conflicts_with_all = ["rate", "rate_up", "rate_down", "burst", "algorithm"])]
    unlimited: bool,
    /// One budget for both directions, as in 5000B/s or 40kbit/s.
    #[arg(long, value_name = "RATE", conflicts_with_all = ["rate_up", "rate_down"])]
    rate: Option<ByteRate>,
    /// A budget from the user to the targets.
    #[arg(long, value_name = "RATE")]
    rate_up: Option<ByteRate>,
    /// A budget from the targets to the user.
    #[arg(long, value_name = "RATE")]
    rate_down: Option<ByteRate>,
    /// What may pass at once after a pause [default: the larger of 1500B and 10 ms of the rate].
    #[arg(long, value_name = "SIZE")]
    burst: Option<ByteSize>,
    /// What holds the rate; parameters may follow, as in sliding-window-log:window=10s.
    #[arg(long, value_name = "KIND", default_value = "token-bucket")]
    algorithm: String,
}

impl Common {
    /// The accounts, by way of the server if it runs.
    pub(super) async fn open(self) -> Result<(Books, Printer), Failure> {
        let database = self.database.resolve(None);
        let books = Books::open(&self.admin, &database).await?;
        Ok((books, Printer::new(self.json)))
    }

    /// The accounts in the database itself.
    pub(super) async fn open_database(self) -> Result<(Users, Printer), Failure> {
        let users = open(self.database).await?;
        Ok((users, Printer::new(self.json)))
    }
}

/// The accounts of a database.
pub(super) async fn open(database: DatabaseArg) -> Result<Users, Failure> {
    let database = database.resolve(None);
    Users::open(&database, PasswordCost::default())
        .await
        .map_err(failure)
}

impl PasswordArg {
    pub(super) fn read(&self) -> Result<Vec<u8>, Failure> {
        self.password_file.read()
    }
}

impl PasswordFile {
    /// The password: what the file holds, but for one newline at its end.
    pub(crate) fn read(&self) -> Result<Vec<u8>, Failure> {
        let mut password = Vec::new();
        // Far more than any password has, and less than some devices.
        let mut all = |source: &mut dyn Read| source.take(LONGEST).read_to_end(&mut password);
        let read = match self.0 == Path::new("-") {
            true => all(&mut io::stdin().lock()),
            false => File::open(&self.0).and_then(|mut file| all(&mut file)),
        };
        read.map_err(|error| {
            Failure::request(format!(
                "cannot read the password from {}: {error}",
                self.0.display()
            ))
        })?;
        if password.last() == Some(&b'\n') {
            password.pop();
            if password.last() == Some(&b'\r') {
                password.pop();
            }
        }
        Ok(password)
    }
}

impl From<OsString> for PasswordFile {
    fn from(path: OsString) -> Self {
        Self(path.into())
    }
}

impl RuleArgs {
    /// What the flags change.
    pub(super) fn read(&self) -> Result<RulesChange, Failure> {
        Ok(RulesChange {
            limits: self.limits.read()?.map(Some),
            max_connections: self.max_connections.map(Some),
            max_addresses: self.max_addresses.map(Some),
            quota: self.quota.map(Some),
            expires: self.expires.map(Some),
            beyond: self.beyond.map(Some),
            egress: self.egress.clone().map(Some),
            weight: self.weight.map(Some),
            floor: self.floor.map(Some),
        })
    }

    /// What these flags and those of `reset` change; at least one thing.
    pub(super) fn with(&self, reset: &ResetArgs) -> Result<RulesChange, Failure> {
        let mut change = self.read()?;
        for rule in &reset.reset {
            let twice = match rule {
                Rule::Limits => change.limits.replace(None).is_some(),
                Rule::MaxConnections => change.max_connections.replace(None).is_some(),
                Rule::MaxAddresses => change.max_addresses.replace(None).is_some(),
                Rule::Quota => change.quota.replace(None).is_some(),
                Rule::Expires => change.expires.replace(None).is_some(),
                Rule::Beyond => change.beyond.replace(None).is_some(),
                Rule::Egress => change.egress.replace(None).is_some(),
                Rule::Weight => change.weight.replace(None).is_some(),
                Rule::Floor => change.floor.replace(None).is_some(),
            };
            if twice {
                return Err(Failure::request("one rule is both set and reset"));
            }
        }
        if change == RulesChange::default() {
            return Err(Failure::request(
                "nothing to set: give --rate, --unlimited, --quota or another rule",
            ));
        }
        Ok(change)
    }
}

impl LimitArgs {
    /// The limits; none if no flag speaks of any.
    fn read(&self) -> Result<Option<Limits>, Failure> {
        if self.unlimited {
            return Ok(Some(Limits::Unlimited));
        }
        let policy =
            |rate| Limits::policy(&self.algorithm, rate, self.burst).map_err(Failure::request);
        let optional = |rate: Option<ByteRate>| rate.map(|rate| policy(Some(rate))).transpose();
        if self.rate_up.is_some() || self.rate_down.is_some() {
            return Ok(Some(Limits::PerDirection {
                up: optional(self.rate_up)?,
                down: optional(self.rate_down)?,
            }));
        }
        // A kind whose parameters say it all needs no --rate.
        let complete = self.algorithm.contains(':') || self.algorithm == Policy::None.kind();
        if self.rate.is_some() || complete {
            return Ok(Some(Limits::Shared(policy(self.rate)?)));
        }
        if self.burst.is_some() || self.algorithm != "token-bucket" {
            return Err(Failure::request(
                "a limit needs a rate: give --rate, --rate-up or --rate-down",
            ));
        }
        Ok(None)
    }
}
