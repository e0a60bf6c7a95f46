//! `external` of an `[[algorithm]]`: a server that somebody else runs.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use bench_clients::Via;
use toml::de::DeValue;

use super::super::problem::Problem;
use super::super::section::{self, Entry, Section};
use super::super::{External, Process};

/// Words of a command.
const MOST_WORDS: usize = 100;
/// Where connections arrive unless the file says otherwise: any port of this machine.
const TARGET: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Reads the table behind `external`.
pub(super) fn read(
    entry: Entry<'_>,
    folder: Option<&Path>,
    problems: &mut Vec<Problem>,
) -> Option<External> {
    let mut section = Section::of(entry.value, "in `external`", problems)?;
    let via = section.require("via", "\"socks5://ann@127.0.0.1:1080\"");
    let via = via.and_then(|entry| via_of(entry, problems));
    let target: Option<(Entry<'_>, SocketAddr)> = match section.get("target") {
        Some(entry) => Some((entry, entry.quantity("127.0.0.1:7001", problems)?)),
        None => None,
    };
    let command = match section.get("command") {
        Some(entry) => command(entry, problems),
        None => Some(Vec::new()),
    };
    let process = match section.get("pid") {
        Some(entry) => process(entry, problems).map(Some),
        None => Some(None),
    };
    section.finish(problems);
    let (via, command, process) = (via?, command?, process?);
    let forwards = matches!(via, Via::Forward { .. });
    if forwards && target.is_none_or(|(_, target)| target.port() == 0) {
        let at = target.map_or(entry.at(), |(entry, _)| entry.at());
        problems.push(
            Problem::new(at, "a plain forwarder passes everything on to one `target`")
                .label("which one?")
                .help("add the address and port that it was told, such as `target = \"127.0.0.1:7001\"`"),
        );
        return None;
    }
    Some(External {
        via,
        target: target.map_or(TARGET, |(_, target)| target),
        command,
        start: false,
        process,
        folder: folder.map(Path::to_owned),
    })
}

fn via_of(entry: Entry<'_>, problems: &mut Vec<Problem>) -> Option<Via> {
    let text = entry.string(problems)?;
    let help = "socks5://USER@HOST:PORT or http://USER@HOST:PORT, the user (with :PASSWORD, or the password in WEIRGATE_PROXY_PASSWORD) where there is one; tcp://HOST:PORT for a plain forwarder";
    let mut wrong = |message: String| {
        problems.push(
            Problem::new(entry.at(), format!("`via`: {message}"))
                .label("no way to a server")
                .help(help),
        );
    };
    match text.parse::<Via>() {
        Ok(Via::Direct) => {
            wrong("`direct` is not by way of a server".to_owned());
            None
        }
        Ok(via) => Some(via),
        Err(why) => {
            wrong(why.to_string());
            None
        }
    }
}

fn command(entry: Entry<'_>, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
    let nodes = entry.elements(problems)?;
    if nodes.is_empty() || nodes.len() > MOST_WORDS {
        problems.push(
            Problem::new(entry.at(), "`command` is no program with its arguments")
                .label("not a command")
                .help("write for example `command = [\"haproxy\", \"-f\", \"haproxy.cfg\"]`"),
        );
        return None;
    }
    let word = |node| section::string(node, problems).map(str::to_owned);
    nodes.into_iter().map(word).collect()
}

/// A number, or the name of a file that holds it.
fn process(entry: Entry<'_>, problems: &mut Vec<Problem>) -> Option<Process> {
    match entry.value.get_ref() {
        DeValue::String(name) => Some(Process::File(name.clone().into_owned())),
        _ => {
            let number = entry.integer(1..=u64::from(u32::MAX), problems)?;
            u32::try_from(number).ok().map(Process::Number)
        }
    }
}
