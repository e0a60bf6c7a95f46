//! The choice, sent to a running proxy by its admin API.

use std::io::{self, BufRead as _, IsTerminal as _, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use flow::Policy;
use miette::Diagnostic;
use serde_json::{Value, json};

use super::super::{Failure, note, print};
use crate::cli::ApplyArgs;
use crate::scenario::{Direction, Scenario};

/// How long the proxy may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const LONGEST: u64 = 1 << 20;

/// A proxy that did not do what it was asked.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum ApplyError {
    /// Nothing there.
    #[error("cannot reach the admin API at {address}")]
    #[diagnostic(help(
        "give the path of its socket (weirgate.db has weirgate.sock), or HOST:PORT of `[admin] listen`"
    ))]
    Reach { address: String, source: io::Error },
    /// The token.
    #[error("cannot read the token from {}", path.display())]
    Token { path: PathBuf, source: io::Error },
    /// It said no.
    #[error("the proxy answered {status} to {method} {path}: {detail}")]
    Refused {
        method: &'static str,
        path: String,
        status: u16,
        detail: String,
    },
    /// It is something else.
    #[error("what listens at {address} does not answer as an admin API: {what}")]
    Foreign { address: String, what: String },
    /// The names allow no other.
    #[error("the user's name holds a control character")]
    Name,
    /// Standard input.
    #[error("cannot read the answer")]
    Answer(#[source] io::Error),
}

/// Shows what would change for the user, and changes it if that is wanted.
pub(super) fn apply(args: &ApplyArgs, scenario: &Scenario, policy: Policy) -> Result<(), Failure> {
    let (Some(address), Some(user)) = (&args.apply, &args.user) else {
        return Ok(());
    };
    run(args, address, user, scenario, policy).map_err(|error| match error {
        ApplyError::Name | ApplyError::Token { .. } => Failure::input(error),
        other => Failure::environment(other),
    })?
}

fn run(
    args: &ApplyArgs,
    address: &str,
    user: &str,
    scenario: &Scenario,
    policy: Policy,
) -> Result<Result<(), Failure>, ApplyError> {
    let api = Api {
        address,
        token: token(args)?,
    };
    let path = format!("/api/v1/users/{}", segment(user)?);
    let field = match scenario.direction {
        Direction::Down => "limit_down",
        Direction::Up => "limit_up",
    };
    let before = api.ask("GET", &path, None)?;
    let (old, new) = (&before.body[field], policy.to_string());
    if old.as_str() == Some(&new) {
        return Ok(print(&format!("{user} has {field} {new} already.\n")));
    }
    if let Err(failed) = print(&format!(
        "For {user} at {address}:\n  before: {}\n  then:   {field} {new}\n",
        limits(&before.body)
    )) {
        return Ok(Err(failed));
    }
    if !args.yes && !confirmed()? {
        note("nothing was changed; --yes changes it without a question");
        return Ok(Ok(()));
    }
    let change = json!({ field: new });
    let after = api.ask("PATCH", &path, Some((&change, &before.tag)))?;
    Ok(print(&format!("{user} now: {}.\n", limits(&after.body))))
}

/// The limits of a user of their own, by name.
fn limits(user: &Value) -> String {
    let own = ["limit_shared", "limit_up", "limit_down"].into_iter();
    let named = own.filter_map(|name| Some(format!("{name} {}", user[name].as_str()?)));
    let named: Vec<String> = named.collect();
    if named.is_empty() {
        "as for everybody".to_owned()
    } else {
        named.join(", ")
    }
}

fn token(args: &ApplyArgs) -> Result<Option<String>, ApplyError> {
    let Some(path) = &args.admin_token_file else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path).map_err(|source| ApplyError::Token {
        path: path.clone(),
        source,
    })?;
    Ok(Some(text.trim().to_owned()))
}

/// A question, if there is somebody to ask.
fn confirmed() -> Result<bool, ApplyError> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    note("change it? [y/N]");
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(ApplyError::Answer)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// A name as one segment of a path (RFC 3986, section 3.3).
fn segment(name: &str) -> Result<String, ApplyError> {
    if name.contains(char::is_control) {
        return Err(ApplyError::Name);
    }
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(out)
}

/// Where to ask.
struct Api<'a> {
    address: &'a str,
    token: Option<String>,
}

/// What was answered.
struct Answer {
    body: Value,
    tag: String,
}

impl Api<'_> {
    /// One exchange on a connection of its own.
    fn ask(
        &self,
        method: &'static str,
        path: &str,
        body: Option<(&Value, &str)>,
    ) -> Result<Answer, ApplyError> {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: application/json\r\n"
        );
        if let Some(token) = &self.token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        let mut content = String::new();
        if let Some((body, tag)) = body {
            content = body.to_string();
            head.push_str(&format!(
                "If-Match: {tag}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
                content.len()
            ));
        }
        let unreachable = |source| ApplyError::Reach {
            address: self.address.to_owned(),
            source,
        };
        let bytes = self
            .exchange(&format!("{head}\r\n{content}"))
            .map_err(unreachable)?;
        let foreign = |what: &str| ApplyError::Foreign {
            address: self.address.to_owned(),
            what: what.to_owned(),
        };
        let text = String::from_utf8(bytes).map_err(|_| foreign("no text"))?;
        let (head, body) = text
            .split_once("\r\n\r\n")
            .ok_or_else(|| foreign("no HTTP response"))?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse::<u16>().ok());
        let status = status.ok_or_else(|| foreign("no HTTP status"))?;
        let body: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        if status != 200 {
            return Err(ApplyError::Refused {
                method,
                path: path.to_owned(),
                status,
                detail: ["detail", "title"]
                    .iter()
                    .find_map(|key| body[key].as_str())
                    .unwrap_or("no reason was given")
                    .to_owned(),
            });
        }
        let tag = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("etag")
                .then(|| value.trim().to_owned())
        });
        match (tag, body.is_object()) {
            (Some(tag), true) => Ok(Answer { body, tag }),
            _ => Err(foreign("no user, or one without an ETag")),
        }
    }

    fn exchange(&self, request: &str) -> io::Result<Vec<u8>> {
        if self.address.contains('/') || !self.address.contains(':') {
            let stream = UnixStream::connect(self.address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            spoken(stream, request)
        } else {
            let stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            spoken(stream, request)
        }
    }
}

fn spoken(mut stream: impl Read + Write, request: &str) -> io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    Ok(answer)
}
