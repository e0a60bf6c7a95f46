use std::time::Duration;

use super::*;
use crate::config::HttpsService;

fn config(text: &str) -> Result<Config, String> {
    let mut config = Config::new(Database::file("x.db"));
    File::parse(Path::new("x.toml"), text)
        .map_err(|error| error.to_string())?
        .apply(&mut config);
    Ok(config)
}

#[test]
fn what_is_left_out_stays() {
    let plain = Config::new(Database::file("x.db"));
    let config = config("[timeouts]\nconnect = \"250ms\"\n").unwrap();
    assert_eq!(config.timeouts.connect, Duration::from_millis(250));
    assert_eq!(config.timeouts.handshake, plain.timeouts.handshake);
    assert_eq!(config.listen, plain.listen);
}

#[test]
fn the_documented_file_is_one() {
    let documented = include_str!("../file.rs")
        .lines()
        .skip_while(|line| *line != "//! ```toml")
        .skip(1);
    let text: Vec<_> = documented
        .take_while(|line| *line != "//! ```")
        .map(|line| line.trim_start_matches("//!"))
        .collect();
    assert!(text.len() > 10);
    let config = config(&text.join("\n")).unwrap();
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.caps.connections, 9_000);
    assert_eq!(config.listeners.len(), 1);
    assert!(config.registration.is_some());
    assert!(
        config
            .bandwidth
            .is_some_and(|bandwidth| bandwidth.floor.is_some())
    );
    assert_eq!(config.egress.users["ada"].len(), 2);
    let service = config.https_service.unwrap();
    let plain = HttpsService::default();
    assert_eq!(service.admission(), plain.admission());
    assert_eq!(service.max_connections, plain.max_connections);
    assert_eq!(service.upstreams[0].check.path.as_deref(), Some("/health"));
}

#[test]
fn listeners_take_the_place_of_the_default_one() {
    let own = "[[listener]]\naddress = \"127.0.0.1:1\"\nprotocols = [\"http\"]\n";
    let config_ = config(own).unwrap();
    assert!(config_.listen.is_empty());
    let listener = &config_.listeners[0];
    assert!(listener.dialects.contains(Opening::Http));
    assert!(!listener.dialects.contains(Opening::Socks5));
    let both = config(&format!("listen = [\"127.0.0.1:2\"]\n{own}")).unwrap();
    assert_eq!((both.listen.len(), both.listeners.len()), (1, 1));
}

#[test]
fn mistakes_are_shown_where_they_are() {
    for (text, said) in [
        ("lisen = []", "unknown field"),
        ("listen = [\"127.0.0.1\"]", "invalid socket address"),
        ("allow_egress = [\"10.0.0.0/33\"]", "10.0.0.0/33"),
        ("\n[timeouts]\nhandshake = 10", "line 3"),
        ("accounting_interval = \"0s\"", "above zero"),
        ("[[listener]]", "address"),
        ("[egress]\nrules = [\"deny 10.0.0.0/33\"]", "is no rule"),
        ("[tls]\nkey = \"k\"", "certificate"),
        ("[registration]", "limit"),
        ("[https_service]\nworkers = 0", "line 2"),
        ("[https_service]\nmax_connections = 0", "nonzero"),
        ("[https_service]\nper_user = { requests = 0 }", "nonzero"),
        (
            "[[https_service.upstream]]\norigin = \"http://a\"\ninstances = []",
            "the list is empty",
        ),
        (
            "[[https_service.upstream]]\norigin = \"http://a\"\ninstances = [\"b:1\"]\n\
             [[https_service.upstream]]\norigin = \"http://a:80\"\ninstances = [\"b:2\"]",
            "http://a:80 has two tables",
        ),
        (
            "[[https_service.upstream]]\norigin = \"ftp://a\"\ninstances = [\"b:1\"]",
            "is not the origin",
        ),
        #[cfg(feature = "shadowsocks")]
        (
            "[shadowsocks]\nusers = \"u.json\"\npanel = \"http://p/\"",
            "users come from one place",
        ),
        ("[bandwidth]\nfloor = \"1kB/s\"", "limit"),
        ("[bandwidth]\nlimit = \"sr-tcm\"", "line 2"),
        ("[registration]\nlimit = \"token-bucket\"", "is missing"),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nprotocols = [\"socks4\"]",
            "socks5, http, line",
        ),
    ] {
        let error = config(text).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}
