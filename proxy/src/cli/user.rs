//! `weirgate-proxy user` and `weirgate-proxy rules`: the accounts, through the
//! server where one runs and in the database where none does.

use clap::Subcommand;
use proxy::UserError;
use proxy::users::{Audit, StoreError, UserChange};

use super::{DatabaseArg, Failure};

mod args;
mod books;
mod import;
mod lines;
mod print;
#[cfg(feature = "shadowsocks")]
mod shadowsocks;

pub(crate) use args::PasswordFile;
use args::{Common, One, PasswordArg, ResetArgs, RuleArgs};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Add a user.
    Add {
        /// The name.
        name: String,
        #[command(flatten)]
        password: PasswordArg,
        #[command(flatten)]
        rules: Box<RuleArgs>,
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
    /// Change some of a user's rules; open connections feel it at once.
    Set {
        /// The name.
        name: String,
        #[command(flatten)]
        rules: Box<RuleArgs>,
        #[command(flatten)]
        reset: ResetArgs,
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
    /// Let a user in by shadowsocks, on a port of their own or shared with others.
    #[cfg(feature = "shadowsocks")]
    Shadowsocks(shadowsocks::Shadowsocks),
    /// Let a user log in again.
    Enable(One),
    /// Close a user's connections and let them not log in.
    Disable(One),
    /// Show how many bytes a user has moved, ever and in the current period.
    Usage(One),
    /// Add users from JSON lines, as `export` writes them, or from the user.db of an
    /// older proxy: all of them or none.
    Import(import::Import),
    /// Write everybody as JSON lines, with their hashes, rules and usage.
    Export {
        #[command(flatten)]
        database: DatabaseArg,
    },
}

#[derive(Subcommand)]
pub(crate) enum RulesCommand {
    /// Show the rules that hold for whoever has none of their own.
    Show {
        #[command(flatten)]
        common: Common,
    },
    /// Change some of them; open connections feel it at once.
    Set {
        #[command(flatten)]
        rules: Box<RuleArgs>,
        #[command(flatten)]
        reset: ResetArgs,
        #[command(flatten)]
        common: Common,
    },
}

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Add {
            name,
            password,
            rules,
            common,
        } => {
            let password = password.read()?;
            let change = rules.read()?;
            let (books, printer) = common.open().await?;
            printer.user(&books.add(&name, password, &change).await?)
        }
        Command::List { common } => {
            let (books, printer) = common.open().await?;
            printer.everybody(&books.list().await?)
        }
        Command::Show(one) => {
            let (books, printer) = one.common.open().await?;
            printer.user(&books.show(&one.name).await?)
        }
        Command::Set {
            name,
            rules,
            reset,
            common,
        } => {
            let change = UserChange {
                rules: rules.with(&reset)?,
                ..UserChange::default()
            };
            edit(name, change, common).await
        }
        Command::Del(one) => {
            let (books, printer) = one.common.open().await?;
            books.delete(&one.name).await?;
            printer.gone(&one.name)
        }
        Command::Passwd {
            name,
            password,
            common,
        } => {
            let change = UserChange {
                password: Some(password.read()?),
                ..UserChange::default()
            };
            edit(name, change, common).await
        }
        #[cfg(feature = "shadowsocks")]
        Command::Shadowsocks(shadowsocks) => shadowsocks.run().await,
        Command::Enable(one) => enable(one, true).await,
        Command::Disable(one) => enable(one, false).await,
        Command::Usage(one) => {
            let (books, printer) = one.common.open().await?;
            printer.usage(&books.usage(&one.name).await?)
        }
        Command::Import(import) => import.run().await,
        Command::Export { database } => {
            let users = args::open(database).await?;
            let records = users.export();
            let actor = books::actor();
            let detail = format!("{{\"users\": {}}}", records.len());
            let audit = Audit {
                detail,
                ..books::audit(&actor, "user.export", "")
            };
            // Hashes leave the house: not without a note.
            users.note(&audit).await.map_err(failure)?;
            lines::write(&records)
        }
    }
}

/// The rules for everybody.
pub(crate) async fn run_rules(command: RulesCommand) -> Result<(), Failure> {
    match command {
        RulesCommand::Show { common } => {
            let (books, printer) = common.open().await?;
            printer.rules(&books.rules().await?)
        }
        RulesCommand::Set {
            rules,
            reset,
            common,
        } => {
            let change = rules.with(&reset)?;
            let (books, printer) = common.open().await?;
            printer.rules(&books.edit_rules(change).await?)
        }
    }
}

async fn enable(one: One, enabled: bool) -> Result<(), Failure> {
    let change = UserChange {
        enabled: Some(enabled),
        ..UserChange::default()
    };
    edit(one.name, change, one.common).await
}

async fn edit(name: String, change: UserChange, common: Common) -> Result<(), Failure> {
    let (books, printer) = common.open().await?;
    printer.user(&books.edit(&name, change).await?)
}

fn unknown(name: &str) -> Failure {
    Failure::request(StoreError::Unknown {
        name: name.to_owned(),
    })
}

/// Whose fault an error of the accounts is.
pub(crate) fn failure(error: UserError) -> Failure {
    match error {
        UserError::Store(StoreError::Exists { .. } | StoreError::Unknown { .. })
        | UserError::Name { .. }
        | UserError::Password(proxy::users::PasswordError::Unfit) => Failure::request(error),
        #[cfg(feature = "shadowsocks")]
        UserError::Key(_) => Failure::request(error),
        error => Failure::environment(error),
    }
}
