//! `ss-local` of shadowsocks-libev, where it is installed: SOCKS5 in front of it,
//! TCP and UDP. `WEIRGATE_REQUIRE_SS_LOCAL` has its absence fail,
//! `WEIRGATE_SS_MEGABYTES` says how much is moved by TCP (100 for a full run).

use std::process::{Child, Command, Stdio};

use proxy::Limits;
use proxy::protocol::shadowsocks::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::carried::*;
use crate::client::*;
use crate::support::{echo, in_time, socks5_connect};

struct SsLocal {
    child: Child,
    port: u16,
}

impl SsLocal {
    /// `None` if there is no such program.
    async fn start(access: &proxy::users::Access) -> Option<Self> {
        let port = free_port();
        let child = Command::new("ss-local")
            .args(["-s", "127.0.0.1", "-b", "127.0.0.1", "-u", "-t", "30"])
            .args(["-p", &access.port.to_string(), "-l", &port.to_string()])
            .args(["-k", &access.password, "-m", access.method.name()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            let required = std::env::var_os("WEIRGATE_REQUIRE_SS_LOCAL").is_some();
            assert!(!required, "ss-local is not installed");
            return None;
        };
        open(port).await;
        Some(Self { child, port })
    }
}

impl Drop for SsLocal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ss_local_carries_tcp_and_udp() {
    let mut settings = settings();
    settings.allow_unencrypted = true;
    let proxy = start_with(settings, |_| ()).await;
    let target = echo().await;
    let datagrams = datagram_echo().await;
    for (number, method) in [
        (1, Method::Aes128Gcm),
        (2, Method::Aes256Gcm),
        (3, Method::Chacha20IetfPoly1305),
        (4, Method::Aes128Cfb),
        (5, Method::Aes192Cfb),
        (6, Method::Aes256Cfb),
    ] {
        let access = access(free_port(), method, &password(method, number));
        let name = format!("user-{number}");
        add(&proxy, &name, Limits::Unlimited, &access).await;
        let Some(local) = SsLocal::start(&access).await else {
            return;
        };
        let (client, _) = socks5(local.port, &socks5_connect(target)).await;
        let bytes = megabytes() * 1_000_000;
        comes_back(client, bytes).await;
        used(&proxy, &name, u64::try_from(bytes).unwrap()).await;
        // As much as it takes in one.
        datagrams_come_back(local.port, datagrams, 1_000, bytes).await;
    }
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_crates_client_carries_as_much() {
    let proxy = start().await;
    let target = echo().await;
    for (number, method) in (1..).zip(METHODS) {
        let access = access(free_port(), method, &password(method, number));
        let name = format!("user-{number}");
        add(&proxy, &name, Limits::Unlimited, &access).await;
        let bytes = megabytes() * 1_000_000;
        let mut stream = connect(&access, target).await;
        echoes(&mut stream, b"x").await;
        let (mut source, mut sink) = tokio::io::split(stream);
        let sending = tokio::spawn(async move {
            for from in (0..bytes).step_by(50_000) {
                let block: Vec<u8> = (from..from + 50_000).map(byte).collect();
                sink.write_all(&block).await.unwrap();
            }
            sink
        });
        let mut block = vec![0; 50_000];
        for from in (0..bytes).step_by(50_000) {
            in_time(source.read_exact(&mut block)).await.unwrap();
            let same = block
                .iter()
                .enumerate()
                .all(|(at, &got)| got == byte(from + at));
            assert!(same, "{method}: other bytes after {from}");
        }
        drop(sending.await.unwrap());
        used(&proxy, &name, u64::try_from(bytes + 1).unwrap()).await;
    }
    proxy.stop().await;
}
