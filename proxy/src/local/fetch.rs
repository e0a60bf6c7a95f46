//! `weirgate-local fetch`: one request through an HTTPS service, as the client of
//! seed 003.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use proxy::https_service::message::{Encoding, ResponseText};
use proxy::protocol::{WireError, https_relay};
use serde_json::{Map, Value, json};

use crate::account::{Account, Server};
use crate::failure::Failure;
use crate::remote::{Talk, dial};
use crate::secret;

/// The port of a service.
const DEFAULT_PORT: u16 = 8888;
/// So many characters of the body are printed, as the seed does.
const SHOWN: usize = 500;
/// Longer than a service lets a request wait and run by default.
const DEADLINE: Duration = Duration::from_secs(90);

#[derive(Args)]
pub(crate) struct Fetch {
    /// What to fetch: http:// or https://.
    url: String,
    /// The method [default: GET, or POST with a body].
    method: Option<String>,
    /// The service's host [default: that of the account, else 127.0.0.1].
    host: Option<String>,
    /// Its port [default: 8888].
    port: Option<u16>,
    /// What to send.
    body: Option<String>,
    /// A field for the target; may be given several times.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Log in as this user; without it, as the account's if there is one.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    password: secret::PasswordArg,
    /// Speak TLS with the service, as is done for accounts that were logged in with TLS.
    #[arg(long)]
    tls: bool,
    /// Trust the certificates of this PEM file instead of the system's.
    #[arg(long, value_name = "FILE")]
    roots: Option<PathBuf>,
    /// Send name and password without TLS: everybody on the way reads them.
    #[arg(long)]
    insecure_plain: bool,
    /// Print the answer as JSON, the body in it.
    #[arg(long)]
    json: bool,
    /// Write the body to this file, byte for byte.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Who asks, where.
struct Way {
    server: Server,
    tls: bool,
    roots: Option<PathBuf>,
    login: Option<(String, String)>,
}

impl Fetch {
    /// Fetches, prints, and says how it went.
    pub(crate) async fn run(self, account: Option<PathBuf>) -> Result<(), Failure> {
        let way = self.way(account.as_deref()).await?;
        let request = self.request(&way)?;
        let asked = tokio::time::timeout(DEADLINE, way.ask(&request));
        let answer = asked
            .await
            .map_err(|_| Failure::Environment("no answer in time".into()))??;
        let body = Encoding::bytes(answer.body_encoding, answer.body.clone());
        let body = body.map_err(|error| Failure::Environment(format!("the body {error}")))?;
        if let Some(path) = &self.output {
            let fault = |error| Failure::Environment(format!("{}: {error}", path.display()));
            std::fs::write(path, &body).map_err(fault)?;
        }
        self.print(&answer, &body)?;
        match answer.status_code {
            ..400 => Ok(()),
            status => Err(Failure::Status {
                status,
                error: answer.error,
            }),
        }
    }

    async fn way(&self, path: Option<&Path>) -> Result<Way, Failure> {
        let path = path.filter(|path| path.exists());
        let account = path.map(Account::load).transpose()?;
        let host = self.host.clone().or_else(|| {
            let account = account.as_ref();
            account.map(|account| account.server.host.clone())
        });
        let own = account.as_ref().filter(|_| self.user.is_none());
        let name = self
            .user
            .clone()
            .or_else(|| own.map(|own| own.name.clone()));
        let tls = !self.insecure_plain && (self.tls || own.is_some_and(|own| own.tls));
        let login = match name {
            None => None,
            Some(_) if !tls && !self.insecure_plain => {
                return Err(Failure::Request(
                    "name and password go over TLS (--tls), or to everybody on the way (--insecure-plain)".into(),
                ));
            }
            Some(name) => {
                let saved = own.and(path).map(Account::password_path);
                let given = self.password.password_file.as_deref();
                let password = secret::of(given, saved.as_deref()).await?;
                let password = String::from_utf8(password);
                let password =
                    password.map_err(|_| Failure::Request("the password is not text".into()))?;
                Some((name, password))
            }
        };
        Ok(Way {
            server: Server {
                host: host.unwrap_or_else(|| "127.0.0.1".to_owned()),
                port: self.port.unwrap_or(DEFAULT_PORT),
            },
            tls,
            roots: self.roots.clone().or_else(|| own?.roots.clone()),
            login,
        })
    }

    fn request(&self, way: &Way) -> Result<Vec<u8>, Failure> {
        let mut headers: Map<String, Value> = Map::new();
        for line in &self.headers {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| Failure::Request(format!("{line:?} is not NAME: VALUE")))?;
            let values = headers.entry(name.trim()).or_insert_with(|| json!([]));
            if let Value::Array(values) = values {
                values.push(value.trim().into());
            }
        }
        let mut request = json!({ "url": self.url, "headers": headers, "body_encoding": "base64" });
        if let Some(method) = &self.method {
            request["method"] = method.to_ascii_uppercase().into();
        }
        if let Some(body) = &self.body {
            request["post_data"] = body.as_str().into();
        }
        if let Some((name, password)) = &way.login {
            request["user"] = name.as_str().into();
            request["password"] = password.as_str().into();
        }
        let data = request.to_string();
        // It goes with the frame: nothing hangs on that it cannot be guessed.
        let key: Vec<u8> = (0..40_u8).map(|i| i.wrapping_mul(151) ^ 0x6b).collect();
        let frame = https_relay::request([0x57, 0x45, 0x49, 0x52], &key, data.as_bytes());
        frame.map_err(|error| Failure::Request(error.to_string()))
    }

    fn print(&self, answer: &ResponseText, body: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout();
        if self.json {
            let (body, body_encoding) = match std::str::from_utf8(body) {
                Ok(text) => (text.to_owned(), None),
                Err(_) => (answer.body.clone(), answer.body_encoding),
            };
            let printed = ResponseText {
                body,
                body_encoding,
                ..answer.clone()
            };
            let text = serde_json::to_string(&printed);
            let text = text.map_err(|error| Failure::Environment(error.to_string()))?;
            writeln!(out, "{text}")?;
            return Ok(out.flush()?);
        }
        writeln!(out, "Status: {}", answer.status_code)?;
        for (name, value) in answer.header_lines() {
            writeln!(out, "{name}: {}", value.escape_debug())?;
        }
        if self.output.is_none() {
            let text = String::from_utf8_lossy(body);
            let shown: String = text
                .chars()
                .take(SHOWN)
                .map(|c| {
                    if c.is_control() && !c.is_whitespace() {
                        '\u{fffd}'
                    } else {
                        c
                    }
                })
                .collect();
            writeln!(out, "\n{shown}")?;
        }
        Ok(out.flush()?)
    }
}

impl Way {
    async fn ask(&self, request: &[u8]) -> Result<ResponseText, Failure> {
        let (stream, peer) = dial(&self.server, self.tls, self.roots.as_deref()).await?;
        let mut talk = Talk::new(stream, peer);
        talk.say(request).await?;
        let len = talk.hear(https_relay::length).await?;
        let blob = talk
            .hear(|bytes| {
                let whole = bytes.get(..len).map(|blob| (blob.to_vec(), len));
                Ok::<_, WireError>(whole)
            })
            .await?;
        let fault = |why: String| Failure::Environment(format!("the service says: {why}"));
        let data = https_relay::reveal(blob).map_err(|error| fault(error.to_string()))?;
        serde_json::from_slice(&data).map_err(|error| fault(error.to_string()))
    }
}
