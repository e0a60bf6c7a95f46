//! Logging in.

use std::net::IpAddr;
use std::sync::Arc;

use super::lockout::Leave;
use super::password::{Question, Verdict};
use super::{Authenticated, PasswordError, Revocation, Users};
use crate::protocol::Credentials;

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Unknown name, wrong password, disabled user, or too many guesses: which,
    /// nobody is told.
    #[error("name or password is wrong")]
    Refused,
    /// Name and password are right, but the user may not be connected now:
    /// quota or expiry.
    #[error(transparent)]
    Barred(Revocation),
    /// Not the client's fault.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

impl Users {
    /// Checks a name and a password that came from `source`. Whether the name
    /// is unknown or the password wrong, the answer and its cost are the same;
    /// whoever guesses too much gets the same answer without any work.
    pub(crate) async fn authenticate(
        &self,
        credentials: &Credentials,
        source: IpAddr,
    ) -> Result<Authenticated, LoginError> {
        let attempt = self.0.lockout.attempt(source, &credentials.name);
        let known = match self.0.lockout.ask(attempt) {
            Leave::Try { known } => known,
            Leave::Wait { first } => return Err(locked_out(credentials, source, first)),
        };
        let name = std::str::from_utf8(&credentials.name).unwrap_or_default();
        let account = self.0.accounts.read().get(name).map(Arc::clone);
        let question = Question {
            name: &credentials.name,
            stored: account.as_ref().map(|account| account.password_hash()),
            password: &credentials.password,
            known,
        };
        let hash = question.stored.clone();
        let may = || matches!(self.0.lockout.ask(attempt), Leave::Try { .. });
        match self.0.passwords.verify(question, may).await? {
            Verdict::Right => {}
            Verdict::Untried => return Err(locked_out(credentials, source, false)),
            Verdict::Wrong { anew } => {
                if anew {
                    self.0.lockout.wrong(attempt);
                }
                return Err(failed_login(credentials, source, "credentials"));
            }
        }
        self.0.lockout.right(attempt);
        let (Some(account), Some(hash)) = (account, hash) else {
            return Err(LoginError::Refused);
        };
        account.admit(&hash).map_err(|why| match why {
            Revocation::Changed => failed_login(credentials, source, "disabled"),
            why => LoginError::Barred(why),
        })
    }

    /// Lets in somebody who need not prove who they are: the operator has said so.
    #[cfg(feature = "https-service")]
    pub(crate) fn guest(&self, name: &str) -> Result<Authenticated, LoginError> {
        let account = self.0.accounts.read().get(name).map(Arc::clone);
        let account = account.ok_or(LoginError::Refused)?;
        let hash = account.password_hash();
        account.admit(&hash).map_err(|why| match why {
            Revocation::Changed => LoginError::Refused,
            why => LoginError::Barred(why),
        })
    }
}

/// Writes the line that operators' tools read: its form is documented, and
/// what the client chose comes last and escaped.
fn failed_login(credentials: &Credentials, source: IpAddr, reason: &'static str) -> LoginError {
    let source = source.to_canonical();
    let name = String::from_utf8_lossy(&credentials.name);
    let user: String = name.chars().take(64).collect();
    tracing::warn!(%source, reason, user = user.as_str(), "auth_failed");
    LoginError::Refused
}

/// A guess that was not tried: the first after each that was is told.
fn locked_out(credentials: &Credentials, source: IpAddr, first: bool) -> LoginError {
    if first {
        failed_login(credentials, source, "locked_out")
    } else {
        LoginError::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::{Database, NewUser, PasswordCost, Rules};

    #[tokio::test]
    async fn an_unknown_name_and_a_wrong_password_get_the_same_for_the_same_work() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::file(folder.path().join("users.db"));
        let cost = PasswordCost::LEAST;
        let users = Users::open(&database, cost).await.unwrap();
        for name in ["ada", "eve"] {
            let user = NewUser {
                name: name.to_owned(),
                password: b"secret".to_vec(),
                rules: Rules::default(),
            };
            users.add(user).await.unwrap();
        }
        users.set_enabled("eve", false).await.unwrap();
        let tries = async |name: &str, password: &str, host: u8| {
            let credentials = Credentials {
                name: name.as_bytes().to_vec(),
                password: password.as_bytes().to_vec(),
            };
            let before = users.0.passwords.work();
            // Each from an address of its own, so that nobody has to wait.
            let source = IpAddr::from([192, 0, 2, host]);
            let said = users.authenticate(&credentials, source).await;
            let said = said.map(drop).map_err(|error| error.to_string());
            (said, users.0.passwords.work() - before)
        };
        let once = u64::from(cost.memory_kib) * u64::from(cost.passes);
        let refused = Err("name or password is wrong".to_owned());
        for (host, (name, password)) in (1..).zip([
            ("ada", "wrong"),
            ("nobody", "wrong"),
            ("nobody", "secret"),
            ("", "secret"),
            ("eve", "wrong"),
            ("eve", "secret"),
        ]) {
            let (said, work) = tries(name, password, host).await;
            assert_eq!((said, work), (refused.clone(), once), "{name} {password}");
        }
        // Asked again, neither costs anything: which it is cannot be told by that.
        for (host, name) in [(1, "ada"), (2, "nobody")] {
            assert_eq!(tries(name, "wrong", host).await, (refused.clone(), 0));
        }
        assert_eq!(tries("ada", "secret", 9).await, (Ok(()), once));
    }
}
