//! `weirgate-proxy init`: a config to start from, and the first user.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use proxy::config::file::File;
use proxy::users::{Rules, Secret, StoreError, UserRecord, random_password};
use proxy::{PasswordCost, Users};

use super::Failure;
use super::settings::DatabaseArg;
use super::user::PasswordFile;

/// Every key with its default, behind a `#` each.
const TEMPLATE: &str = include_str!("config.toml");

#[derive(Args)]
pub(crate) struct Init {
    /// Write the config here; a file that is there is not touched.
    #[arg(long, value_name = "FILE", default_value = "weirgate.toml")]
    config: PathBuf,
    /// The first user's name.
    #[arg(long, value_name = "NAME", default_value = "weirgate")]
    user: String,
    /// Read the first user's password from this file, `-` for standard input [default: a random one, printed once].
    #[arg(long, value_name = "FILE|-")]
    password_file: Option<PasswordFile>,
    #[command(flatten)]
    database: DatabaseArg,
}

impl Init {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let database = self.database.resolve(None);
        let given = self.password_file.as_ref().map(PasswordFile::read);
        let given = given.transpose()?;
        // A password in its URL is not for a file that others may read: the URL is
        // left to the environment then.
        let line = match database.path() {
            Some(path) => {
                let path = std::path::absolute(path).map_err(Failure::environment)?;
                format!("database = {:?}", path.display().to_string())
            }
            None => "# database = as WEIRGATE_DATABASE or --database says".to_owned(),
        };
        let text = TEMPLATE.replace("# database = \"/var/lib/weirgate/weirgate.db\"", &line);
        File::parse(&self.config, &text).map_err(Failure::environment)?;
        let users = Users::open(&database, PasswordCost::default()).await;
        let users = users.map_err(Failure::environment)?;
        if users.get(&self.user).is_some() {
            let name = self.user.clone();
            return Err(Failure::request(StoreError::Exists { name }));
        }
        let password = match &given {
            Some(password) => password.clone(),
            None => random_password()
                .map_err(Failure::environment)?
                .into_bytes(),
        };
        let secret = Secret::Password(password.clone());
        let user = UserRecord::new(self.user.clone(), secret, Rules::default());
        // Before there is a file that would be in the way of the next attempt.
        user.check().map_err(super::user::failure)?;
        write(&self.config, &text)?;
        users.import([user]).await.map_err(super::user::failure)?;
        let mut out = io::stdout();
        let mut say = |line: String| writeln!(out, "{line}").map_err(Failure::environment);
        say(format!("config {}", self.config.display()))?;
        say(format!("database {database}"))?;
        match given {
            Some(_) => say(format!("user {}", self.user)),
            None => say(format!(
                "login {} {}",
                self.user,
                String::from_utf8_lossy(&password)
            )),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        Failure::request(format!(
            "cannot write the config {}: {error}",
            path.display()
        ))
    })
}
