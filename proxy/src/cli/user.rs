//! `weirgate-proxy user`: the accounts, with or without a server running.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use flow::{ByteRate, ByteSize, Policy};
use proxy::users::StoreError;
use proxy::{Limits, NewUser, PasswordCost, User, UserError, Users};
use serde_json::{Value, json};

use super::{DatabaseArg, Failure};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Add a user.
    Add {
        /// The name.
        name: String,
        #[command(flatten)]
        password: PasswordArg,
        #[command(flatten)]
        limits: LimitArgs,
        #[command(flatten)]
        common: Common,
    },
    /// List everybody.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show one user.
    Show(One),
    /// Replace a user's limits; open connections feel it at once.
    Set {
        /// The name.
        name: String,
        /// No limit.
        #[arg(long, conflicts_with_all = ["rate", "rate_up", "rate_down", "burst", "algorithm"])]
        unlimited: bool,
        #[command(flatten)]
        limits: LimitArgs,
        #[command(flatten)]
        common: Common,
    },
    /// Forget a user, usage and all; their connections are closed.
    Del(One),
    /// Change a password; the user's connections are closed.
    Passwd {
        /// The name.
        name: String,
        #[command(flatten)]
        password: PasswordArg,
        #[command(flatten)]
        common: Common,
    },
    /// Let a user log in again.
    Enable(One),
    /// Close a user's connections and let them not log in.
    Disable(One),
    /// Show how many bytes a user has moved.
    Usage(One),
}

#[derive(Args)]
pub(crate) struct One {
    /// The name.
    name: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub(crate) struct Common {
    #[command(flatten)]
    database: DatabaseArg,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct PasswordArg {
    /// Read the password from this file, `-` for standard input; one newline at the end is not part of it.
    #[arg(long, value_name = "FILE|-")]
    password_file: PathBuf,
}

#[derive(Args)]
pub(crate) struct LimitArgs {
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

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Add {
            name,
            password,
            limits,
            common,
        } => {
            let password = password.read()?;
            let rules = limits.read()?.map(Into::into).unwrap_or_default();
            let (users, printer) = common.open().await?;
            users
                .add(NewUser {
                    name: name.clone(),
                    password,
                    rules,
                })
                .await
                .map_err(failure)?;
            printer.user(&users, &name)
        }
        Command::List { common } => {
            let (users, printer) = common.open().await?;
            printer.everybody(&users.list())
        }
        Command::Show(one) => {
            let (users, printer) = one.common.open().await?;
            printer.user(&users, &one.name)
        }
        Command::Set {
            name,
            unlimited,
            limits,
            common,
        } => {
            let limits = if unlimited {
                Some(Limits::Unlimited)
            } else {
                limits.read()?
            };
            let limits = limits.ok_or_else(|| {
                Failure::request(
                    "nothing to set: give --rate, --rate-up, --rate-down or --unlimited",
                )
            })?;
            let (users, printer) = common.open().await?;
            users.set_limits(&name, limits).await.map_err(failure)?;
            printer.user(&users, &name)
        }
        Command::Del(one) => {
            let (users, printer) = one.common.open().await?;
            users.remove(&one.name).await.map_err(failure)?;
            printer.gone(&one.name)
        }
        Command::Passwd {
            name,
            password,
            common,
        } => {
            let password = password.read()?;
            let (users, printer) = common.open().await?;
            users
                .set_password(&name, &password)
                .await
                .map_err(failure)?;
            printer.user(&users, &name)
        }
        Command::Enable(one) => enable(one, true).await,
        Command::Disable(one) => enable(one, false).await,
        Command::Usage(one) => {
            let (users, printer) = one.common.open().await?;
            printer.usage(&users, &one.name)
        }
    }
}

async fn enable(one: One, enabled: bool) -> Result<(), Failure> {
    let (users, printer) = one.common.open().await?;
    users
        .set_enabled(&one.name, enabled)
        .await
        .map_err(failure)?;
    printer.user(&users, &one.name)
}

impl Common {
    async fn open(self) -> Result<(Users, Printer), Failure> {
        let database = self.database.resolve(None)?;
        let users = Users::open(&database, PasswordCost::default())
            .await
            .map_err(failure)?;
        Ok((users, Printer { json: self.json }))
    }
}

impl PasswordArg {
    fn read(&self) -> Result<Vec<u8>, Failure> {
        let mut password = Vec::new();
        let read = if self.password_file == Path::new("-") {
            io::stdin()
                .lock()
                .take(64 * 1024)
                .read_to_end(&mut password)
                .map(drop)
        } else {
            std::fs::read(&self.password_file).map(|bytes| password = bytes)
        };
        read.map_err(|error| {
            Failure::request(format!(
                "cannot read the password from {}: {error}",
                self.password_file.display()
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

impl LimitArgs {
    /// The limits; none if no flag speaks of any.
    fn read(&self) -> Result<Option<Limits>, Failure> {
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

/// Results to stdout, as text or as JSON.
struct Printer {
    json: bool,
}

impl Printer {
    fn user(&self, users: &Users, name: &str) -> Result<(), Failure> {
        let user = known(users, name)?;
        self.print(&to_json(&user), || line(&user))
    }

    fn everybody(&self, users: &[User]) -> Result<(), Failure> {
        let all = users.iter().map(to_json).collect();
        self.print(&Value::Array(all), || {
            users.iter().map(line).collect::<Vec<_>>().join("\n")
        })
    }

    fn usage(&self, users: &Users, name: &str) -> Result<(), Failure> {
        let user = known(users, name)?;
        let (up, down) = (user.usage.upload_bytes, user.usage.download_bytes);
        let value = json!({ "name": user.name, "upload_bytes": up, "download_bytes": down });
        self.print(&value, || format!("{name}  up {up} B  down {down} B"))
    }

    fn gone(&self, name: &str) -> Result<(), Failure> {
        self.print(&json!({ "name": name, "deleted": true }), || {
            format!("{name}  deleted")
        })
    }

    fn print(&self, value: &Value, text: impl FnOnce() -> String) -> Result<(), Failure> {
        let line = if self.json { value.to_string() } else { text() };
        if line.is_empty() {
            return Ok(());
        }
        writeln!(io::stdout(), "{line}").map_err(Failure::environment)
    }
}

fn known(users: &Users, name: &str) -> Result<User, Failure> {
    users.get(name).ok_or_else(|| {
        Failure::request(StoreError::Unknown {
            name: name.to_owned(),
        })
    })
}

fn line(user: &User) -> String {
    let state = if user.enabled { "enabled" } else { "disabled" };
    let (up, down) = (user.usage.upload_bytes, user.usage.download_bytes);
    format!(
        "{}  {state}  {}  up {up} B  down {down} B",
        user.name, user.limits
    )
}

fn to_json(user: &User) -> Value {
    let [shared, up, down] = user
        .limits
        .policies()
        .map(|policy| policy.map(|policy| policy.to_string()));
    json!({
        "name": user.name,
        "enabled": user.enabled,
        "limit_shared": shared,
        "limit_up": up,
        "limit_down": down,
        "upload_bytes": user.usage.upload_bytes,
        "download_bytes": user.usage.download_bytes,
    })
}

/// Whose fault an error of the accounts is.
fn failure(error: UserError) -> Failure {
    match error {
        UserError::Store(StoreError::Exists { .. } | StoreError::Unknown { .. })
        | UserError::Name { .. }
        | UserError::Password(proxy::users::PasswordError::Unfit) => Failure::request(error),
        error => Failure::environment(error),
    }
}
