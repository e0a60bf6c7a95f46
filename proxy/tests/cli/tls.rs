//! Certificates of the test's own, and the admin API behind them.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::support::*;

/// An authority that signs what it is asked to.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// `NAME.pem` in `folder`: the authority's own certificate.
    pub(crate) fn write(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.pem")), &self.pem).unwrap();
    }

    /// `NAME.pem` and `NAME.key` in `folder`: a certificate for localhost.
    pub(crate) fn sign(&self, folder: &Path, name: &str) {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// With required client certificates and a token, each alone opens nothing.
#[test]
fn the_commands_reach_an_admin_api_that_wants_certificates() {
    let place = Place::new();
    let folder = place.path();
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    ours.write(folder, "roots");
    others.write(folder, "other-roots");
    ours.sign(folder, "server");
    ours.sign(folder, "client");
    others.sign(folder, "stranger");
    let address = free_port();
    std::fs::write(folder.join("token"), "0123456789abcdef-token").unwrap();
    std::fs::write(folder.join("wrong-token"), "0123456789abcdef-wrong").unwrap();
    std::fs::write(
        folder.join("config.toml"),
        format!(
            "[admin]\nlisten = [\"{address}\"]\ntoken_file = \"token\"\n\
             tls = {{ certificate = \"server.pem\", key = \"server.key\", client_roots = \"roots.pem\" }}\n"
        ),
    )
    .unwrap();
    place.json("user add ada --password-file password --json");
    let server = place.serve("--config config.toml");
    let by = |host: &str, roots: &str, certificate: &str, token: &str| {
        let port = address.port();
        let mut flags = format!("--admin https://{host}:{port}");
        for (flag, value) in [("roots", roots), ("token-file", token)] {
            if !value.is_empty() {
                flags.push_str(&format!(" --admin-{flag} {value}"));
            }
        }
        if !certificate.is_empty() {
            flags.push_str(&format!(
                " --admin-certificate {certificate}.pem --admin-key {certificate}.key"
            ));
        }
        flags
    };
    let good = by("localhost", "roots.pem", "client", "token");
    let set = place.json(&format!("user set ada --rate 5kB/s --json {good}"));
    assert_eq!(set["name"], "ada");
    // It was the server that did it.
    let log = place.output(&format!("health {good}"));
    assert_eq!(String::from_utf8_lossy(&log.stdout), "ready\n", "{log:?}");
    // By address, too: the certificate names it.
    place.json(&format!(
        "user show ada --json {}",
        by("127.0.0.1", "roots.pem", "client", "token")
    ));
    // It has got as far as wanting a terminal.
    let (_, error) = place.failure(&format!("top {good}"));
    assert!(error.contains("terminal"), "{error}");
    for (what, flags, code) in [
        (
            "no certificate",
            by("localhost", "roots.pem", "", "token"),
            1,
        ),
        (
            "a stranger's",
            by("localhost", "roots.pem", "stranger", "token"),
            1,
        ),
        ("no token", by("localhost", "roots.pem", "client", ""), 2),
        (
            "a wrong token",
            by("localhost", "roots.pem", "client", "wrong-token"),
            2,
        ),
        (
            "the server unknown",
            by("localhost", "other-roots.pem", "client", "token"),
            1,
        ),
        (
            "the server unknown to the system",
            by("localhost", "", "client", "token"),
            1,
        ),
        (
            "no roots",
            by("localhost", "nothing.pem", "client", "token"),
            2,
        ),
    ] {
        let (found, error) = place.failure(&format!("user set ada --rate 9kB/s {flags}"));
        assert_eq!(found, Some(code), "{what}: {error}");
    }
    for certificate in ["", "stranger"] {
        let flags = by("localhost", "roots.pem", certificate, "token");
        let (code, error) = place.failure(&format!("health {flags}"));
        assert_eq!(code, Some(3), "{certificate}: {error}");
    }
    // Plain HTTP gets nowhere either.
    let (code, error) = place.failure(&format!("user list --admin {address}"));
    assert_eq!(code, Some(1), "{error}");
    let user = place.json(&format!("user show ada --json {good}"));
    assert_eq!(
        user["limit_shared"], "token-bucket:rate=5000B/s,burst=1500B",
        "nobody else has changed it"
    );
    server.signal("TERM");
    assert_eq!(server.ended().0, Some(0));
}
