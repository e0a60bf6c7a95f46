//! Where the accounts are changed: by the server, if one runs, else in the database.

use std::path::Path;

use proxy::users::view::{RulesView, UsageView, UserView};
use proxy::users::{Audit, Rules, RulesChange, Secret, UserChange, UserRecord};
use proxy::{Database, PasswordCost, Users};

#[cfg(feature = "admin")]
use proxy::admin::{Ask, Client, ClientError, view};
#[cfg(feature = "admin")]
use proxy::users::view::change_body;
#[cfg(feature = "admin")]
use serde_json::Value;

use super::{Failure, failure, unknown};
use crate::cli::settings::AdminClientArg;

/// The accounts.
pub(super) enum Books {
    /// Through the server.
    #[cfg(feature = "admin")]
    Server(Client),
    /// In the database, and who does it.
    Database(Box<Users>, String),
}

impl Books {
    /// The server's, if it runs; unless somebody says where it is, its database must be
    /// this one.
    pub(super) async fn open(admin: &AdminClientArg, database: &Database) -> Result<Self, Failure> {
        #[cfg(feature = "admin")]
        if let Some(client) = server(admin, database).await? {
            return Ok(Self::Server(client));
        }
        #[cfg(not(feature = "admin"))]
        let _ = admin;
        let users = Users::open(database, PasswordCost::default()).await;
        let users = Box::new(users.map_err(failure)?);
        Ok(Self::Database(users, actor()))
    }

    pub(super) async fn add(
        &self,
        name: &str,
        password: Vec<u8>,
        change: &RulesChange,
    ) -> Result<UserView, Failure> {
        match self {
            #[cfg(feature = "admin")]
            Self::Server(client) => {
                let mut body = change_body(change);
                body["name"] = name.into();
                body["password"] = text(password)?.into();
                ask(client, Ask::post("/api/v1/users", &body)).await
            }
            Self::Database(users, actor) => {
                let rules = Rules::default().changed(change);
                let record = UserRecord::new(name.to_owned(), Secret::Password(password), rules);
                let audit = audit(actor, "user.create", name);
                users.create(record, &audit).await.map_err(failure)?;
                known(users, name)
            }
        }
    }

    pub(super) async fn list(&self) -> Result<Vec<UserView>, Failure> {
        match self {
            #[cfg(feature = "admin")]
            Self::Server(client) => list(client).await,
            Self::Database(users, _) => Ok(users.list().iter().map(UserView::from).collect()),
        }
    }

    pub(super) async fn show(&self, name: &str) -> Result<UserView, Failure> {
        match self {
            #[cfg(feature = "admin")]
            Self::Server(client) => ask(client, Ask::get(&Client::user(name))).await,
            Self::Database(users, _) => known(users, name),
        }
    }

    pub(super) async fn usage(&self, name: &str) -> Result<UsageView, Failure> {
        match self {
            #[cfg(feature = "admin")]
            Self::Server(client) => {
                let path = format!("{}/usage", Client::user(name));
                ask(client, Ask::get(&path)).await
            }
            Self::Database(users, _) => {
                let user = users.get(name).ok_or_else(|| unknown(name))?;
                Ok((&user).into())
            }
        }
    }

    pub(super) async fn edit(&self, name: &str, change: UserChange) -> Result<UserView, Failure> {
        match self {
            #[cfg(feature = "admin")]
            Self::Server(client) => {
                let mut body = change_body(&change.rules);
                if let Some(enabled) = change.enabled {
                    body["enabled"] = enabled.into();
                }
                if let Some(password) = change.password {
                    body["password"] = text(password)?.into();
                }
                ask(client, Ask::patch(&Client::user(name), &body)).await
            }
            Self::Database(users, actor) => {
                let audit = audit(actor, "user.change", name);
                let edited = users.edit(name, change, None, &audit).await;
                edited.map_err(failure)?;
                known(users, name)
            }
        }
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), Failure> {
        match self {
            #[cfg(feature = "admin")]
            Self::Server(client) => {
                let done: Value = ask(client, Ask::delete(&Client::user(name))).await?;
                drop(done);
                Ok(())
            }
            Self::Database(users, actor) => {
                let audit = audit(actor, "user.delete", name);
                users.delete(name, None, &audit).await.map_err(failure)
            }
        }
    }

    pub(super) async fn rules(&self) -> Result<RulesView, Failure> {
        match self {
            #[cfg(feature = "admin")]
            Self::Server(client) => ask(client, Ask::get("/api/v1/rules")).await,
            Self::Database(users, _) => Ok((&users.rules()).into()),
        }
    }

    pub(super) async fn edit_rules(&self, change: RulesChange) -> Result<RulesView, Failure> {
        match self {
            #[cfg(feature = "admin")]
            Self::Server(client) => {
                let body = change_body(&change);
                ask(client, Ask::patch("/api/v1/rules", &body)).await
            }
            Self::Database(users, actor) => {
                let audit = audit(actor, "rules.change", "");
                let edited = users.edit_rules(change, None, &audit).await;
                edited.map_err(failure)?;
                Ok((&users.rules()).into())
            }
        }
    }
}

fn known(users: &Users, name: &str) -> Result<UserView, Failure> {
    users
        .get(name)
        .map(|user| UserView::from(&user))
        .ok_or_else(|| unknown(name))
}

pub(super) fn audit<'a>(actor: &'a str, action: &'static str, subject: &'a str) -> Audit<'a> {
    Audit {
        actor,
        action,
        subject,
        detail: "{}".to_owned(),
    }
}

/// Who changes the database, as the audit log names them.
pub(super) fn actor() -> String {
    use std::os::unix::fs::MetadataExt as _;
    let uid = std::fs::metadata(Path::new("/proc/self")).map(|of| of.uid());
    uid.map_or_else(
        |_| "command line".to_owned(),
        |uid| format!("command line uid={uid}"),
    )
}

/// The server that serves `database`, if it runs.
#[cfg(feature = "admin")]
async fn server(admin: &AdminClientArg, database: &Database) -> Result<Option<Client>, Failure> {
    let (client, is_said) = admin.client(database)?;
    if is_said {
        return Ok(Some(client));
    }
    let absolute = |database: &Database| match database.path() {
        Some(path) => std::fs::canonicalize(path)
            .unwrap_or_else(|_| path.to_owned())
            .display()
            .to_string(),
        None => database.to_string(),
    };
    match client
        .ask::<view::ServerView>(Ask::get("/api/v1/server"))
        .await
    {
        Ok(server) => {
            let theirs: Option<Database> = server.database.parse().ok();
            let same = theirs.is_some_and(|theirs| absolute(&theirs) == absolute(database));
            Ok(same.then_some(client))
        }
        Err(ClientError::Absent { .. }) => Ok(None),
        Err(error) => {
            tracing::warn!(%error, "the server's admin API does not help; going to the database");
            Ok(None)
        }
    }
}

#[cfg(feature = "admin")]
async fn list(client: &Client) -> Result<Vec<UserView>, Failure> {
    let (mut users, mut after) = (Vec::new(), None);
    loop {
        let behind = after
            .as_deref()
            .map(|name| format!("&after={}", Client::quoted(name)));
        let path = format!("/api/v1/users?limit=1000{}", behind.unwrap_or_default());
        let page: view::UserPage = ask(client, Ask::get(&path)).await?;
        users.extend(page.users);
        after = page.next;
        if after.is_none() {
            return Ok(users);
        }
    }
}

#[cfg(feature = "admin")]
async fn ask<T: serde::de::DeserializeOwned>(client: &Client, ask: Ask<'_>) -> Result<T, Failure> {
    client.ask(ask).await.map_err(|error| match &error {
        ClientError::Refused(problem) if problem.status < 500 => Failure::request(error),
        _ => Failure::environment(error),
    })
}

/// Passwords go as JSON, which is text.
#[cfg(feature = "admin")]
fn text(password: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(password).map_err(|_| {
        Failure::request("the password is not UTF-8: while the server runs, it must be")
    })
}
