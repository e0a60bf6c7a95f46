//! A home for an account, `weirgate-local` in it, and what it is tried with.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use proxy::tls::{ClientCertificate, TlsFiles};
use proxy::{Limits, Listener, ListenerTls, Registration};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::*;

/// A folder with certificates, and the account that a test makes in it.
pub(crate) struct Home {
    folder: tempfile::TempDir,
    pub(crate) files: TlsFiles,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let authority = KeyPair::generate().unwrap();
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        let name = DnType::CommonName;
        root.distinguished_name.push(name, "an authority");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = root.self_signed(&authority).unwrap().pem();
        std::fs::write(path("roots.pem"), pem).unwrap();
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let issuer = Issuer::new(root, authority);
        let certificate = server.signed_by(&key, &issuer).unwrap();
        let files = TlsFiles {
            certificate: path("server.pem"),
            key: path("server.key"),
            client_roots: None,
            client_certificate: ClientCertificate::Required,
        };
        std::fs::write(&files.certificate, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        Self { folder, files }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A proxy where TLS is required and anybody registers.
    pub(crate) async fn proxy(&self) -> Proxy {
        Proxy::start_with(Limits::Unlimited, |config| {
            config.listen.clear();
            for tls in [ListenerTls::Required, ListenerTls::Off] {
                let mut listener = Listener::new("127.0.0.1:0".parse().unwrap());
                listener.tls = tls;
                config.listeners.push(listener);
            }
            config.tls = Some(self.files.clone());
            config.registration = Some(Registration {
                limits: Limits::Unlimited,
                most_users: 10,
            });
        })
        .await
    }

    pub(crate) fn local(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weirgate-local"));
        command.arg("--account").arg(self.path("account.toml"));
        command.args(arguments).env_remove("WEIRGATE_PASSWORD");
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    pub(crate) async fn identity(
        &self,
        what: &str,
        name: &str,
        port: u16,
        more: &[&str],
    ) -> Output {
        let server = format!("localhost:{port}");
        let mut command = self.local(&[what, name, "--server", &server]);
        command.args(more);
        in_time(command.output()).await.unwrap()
    }

    /// A local proxy that runs, and where.
    pub(crate) async fn run(&self) -> (Child, String) {
        self.run_with(&[]).await
    }

    pub(crate) async fn run_with(&self, more: &[&str]) -> (Child, String) {
        let mut command = self.local(&["run", "--listen", "127.0.0.1:0"]);
        command.args(more);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = in_time(lines.next_line()).await.unwrap().unwrap();
        let address = line.strip_prefix("listening ").unwrap().to_owned();
        (child, address)
    }
}

pub(crate) async fn curl(through: &str, url: &str) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "50"]);
    command.args(["--proxytunnel", "--proxy", through, url]);
    command
        .output()
        .await
        .expect("curl is installed: .ci/run sees to that")
}

/// A web server that sends back the body it got, 300 kB at most.
pub(crate) async fn web() -> u16 {
    let address = target(|mut client| async move {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n")
            && client.read_buf(&mut request).await.unwrap_or(0) > 0
        {}
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\nConnection: close\r\n\r\n";
        let _ = client
            .write_all(&[&head[..], &[b'p'; 300_000]].concat())
            .await;
    })
    .await;
    address.port()
}

pub(crate) fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
