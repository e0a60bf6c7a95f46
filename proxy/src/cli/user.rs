//! `weirgate-proxy user` and `weirgate-proxy rules`: the accounts, with or
//! without a server running.

use clap::Subcommand;
use proxy::users::StoreError;
use proxy::{NewUser, Rules, UserError};

use super::{DatabaseArg, Failure};

mod args;
mod import;
mod lines;
mod print;

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
            let rules = Rules::default().changed(&rules.read()?);
            let (users, printer) = common.open().await?;
            let user = NewUser {
                name: name.clone(),
                password,
                rules,
            };
            users.add(user).await.map_err(failure)?;
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
            rules,
            reset,
            common,
        } => {
            let change = rules.with(&reset)?;
            let (users, printer) = common.open().await?;
            users.set_rules(&name, change).await.map_err(failure)?;
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
            let changed = users.set_password(&name, &password).await;
            changed.map_err(failure)?;
            printer.user(&users, &name)
        }
        Command::Enable(one) => enable(one, true).await,
        Command::Disable(one) => enable(one, false).await,
        Command::Usage(one) => {
            let (users, printer) = one.common.open().await?;
            printer.usage(&users, &one.name)
        }
        Command::Import(import) => import.run().await,
        Command::Export { database } => {
            let users = args::open(database).await?;
            lines::write(&users.export())
        }
    }
}

/// The rules for everybody.
pub(crate) async fn run_rules(command: RulesCommand) -> Result<(), Failure> {
    let (users, printer) = match command {
        RulesCommand::Show { common } => common.open().await?,
        RulesCommand::Set {
            rules,
            reset,
            common,
        } => {
            let change = rules.with(&reset)?;
            let (users, printer) = common.open().await?;
            let changed = users.set_everybodys_rules(change).await;
            changed.map_err(failure)?;
            (users, printer)
        }
    };
    printer.rules(&users.rules())
}

async fn enable(one: One, enabled: bool) -> Result<(), Failure> {
    let (users, printer) = one.common.open().await?;
    let changed = users.set_enabled(&one.name, enabled).await;
    changed.map_err(failure)?;
    printer.user(&users, &one.name)
}

/// Whose fault an error of the accounts is.
pub(crate) fn failure(error: UserError) -> Failure {
    match error {
        UserError::Store(StoreError::Exists { .. } | StoreError::Unknown { .. })
        | UserError::Name { .. }
        | UserError::Password(proxy::users::PasswordError::Unfit) => Failure::request(error),
        error => Failure::environment(error),
    }
}
