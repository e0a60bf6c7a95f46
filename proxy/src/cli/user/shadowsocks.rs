//! `weirgate-proxy user shadowsocks`: a user's port, method and password there.

use clap::Args;
use proxy::protocol::shadowsocks::Method;
use proxy::users::{Access, Audit};
use serde_json::{Value, json};

use super::args::{Common, PasswordFile};
use super::{Failure, books, failure};

#[derive(Args)]
pub(crate) struct Shadowsocks {
    /// The name.
    name: String,
    /// The port, TCP and UDP.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// aes-128-gcm, aes-256-gcm, chacha20-ietf-poly1305, 2022-blake3-aes-128-gcm, 2022-blake3-aes-256-gcm; where they are switched on none, aes-128-cfb, aes-192-cfb or aes-256-cfb.
    #[arg(long, value_name = "METHOD")]
    method: Option<Method>,
    /// Read the password from this file, `-` for standard input. It is kept in the clear, since
    /// keys derive from it. For the 2022 edition: base64, or "key of the port:key of the user".
    #[arg(long, value_name = "FILE|-")]
    password_file: Option<PasswordFile>,
    /// The number by which panels and gRPC call the user.
    #[arg(long, value_name = "NUMBER")]
    number: Option<i64>,
    /// Let the user in by shadowsocks no longer.
    #[arg(long, conflicts_with_all = ["port", "method", "password_file", "number"])]
    off: bool,
    #[command(flatten)]
    common: Common,
}

impl Shadowsocks {
    /// Changes what is given, and shows what there is then, without the password.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let password = self.password_file.as_ref().map(PasswordFile::read);
        let password = password.transpose()?.map(String::from_utf8);
        let password = password.transpose().map_err(Failure::request)?;
        let (users, printer) = self.common.open_database().await?;
        let before = users.shadowsocks(&self.name);
        let says = self.port.is_some()
            || self.method.is_some()
            || password.is_some()
            || self.number.is_some();
        if self.off || says {
            let detail = json!({ "off": self.off, "port": self.port, "number": self.number,
                "method": self.method.map(|method| method.name()), "password": password.is_some() });
            let actor = books::actor();
            let audit = Audit {
                detail: detail.to_string(),
                ..books::audit(&actor, "user.shadowsocks", &self.name)
            };
            users.note(&audit).await.map_err(failure)?;
        }
        if self.off {
            let done = users.set_shadowsocks(&self.name, None).await;
            done.map_err(failure)?;
        } else if says {
            let known = before.as_ref();
            let lacks = |what: &str| Failure::request(format!("a first access needs --{what}"));
            let port = self.port.or(known.map(|known| known.port));
            let method = self.method.or(known.map(|known| known.method));
            let password = password.or_else(|| known.map(|known| known.password.clone()));
            let access = Access {
                number: self.number.or(known.and_then(|known| known.number)),
                port: port.ok_or_else(|| lacks("port"))?,
                method: method.ok_or_else(|| lacks("method"))?,
                password: password.ok_or_else(|| lacks("password-file"))?,
            };
            let done = users.set_shadowsocks(&self.name, Some(access)).await;
            done.map_err(failure)?;
        }
        let value = match users.shadowsocks(&self.name) {
            None => json!({ "name": self.name, "shadowsocks": Value::Null }),
            Some(access) => json!({ "name": self.name, "shadowsocks": {
                "port": access.port, "method": access.method.name(), "number": access.number,
            } }),
        };
        printer.print(&value, || match users.shadowsocks(&self.name) {
            None => format!("{}  no shadowsocks", self.name),
            Some(access) => format!("{}  port {}  {}", self.name, access.port, access.method),
        })
    }
}
