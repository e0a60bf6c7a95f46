//! What opens the operator's side by TCP: a token, certificates, and the browsers that
//! have shown the token. Read again together with the config.

use std::path::PathBuf;

use parking_lot::RwLock;

use super::access::{Logins, Token};
use crate::config::{AdminConfig, AdminError};
use crate::tls::Certificates;

/// The keys of one server.
#[derive(Debug)]
pub(crate) struct Keys {
    token_file: Option<PathBuf>,
    token: RwLock<Option<Token>>,
    certificates: Certificates,
    logins: Logins,
}

impl Keys {
    /// Reads what `config` names.
    ///
    /// # Errors
    /// [`AdminError`] if something cannot be used.
    pub(super) fn read(config: &AdminConfig) -> Result<Self, AdminError> {
        let token_file = config.token_file.clone();
        Ok(Self {
            token: RwLock::new(token_file.as_deref().map(Token::read).transpose()?),
            certificates: Certificates::load(config.tls.clone())?,
            logins: Logins::default(),
            token_file,
        })
    }

    /// Reads all of them again; where one cannot be used the old ones stay. With another
    /// token nobody is logged in any more who has shown the one before.
    ///
    /// # Errors
    /// [`AdminError`]
    pub(crate) fn renew(&self) -> Result<(), AdminError> {
        let token = self.token_file.as_deref().map(Token::read).transpose()?;
        self.certificates.reload()?;
        let mut current = self.token.write();
        if *current != token {
            *current = token;
            self.logins.clear();
        }
        Ok(())
    }

    pub(super) fn token(&self) -> Option<Token> {
        self.token.read().clone()
    }

    pub(super) const fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    pub(super) const fn logins(&self) -> &Logins {
        &self.logins
    }
}
