//! `sslocal` of shadowsocks-rust: the code that program is made of, SOCKS5 in front of
//! it, TCP and UDP. `WEIRGATE_SS_MEGABYTES` says how much is moved by each.

use std::net::SocketAddr;

use proxy::Limits;
use proxy::users::Access;
use shadowsocks::config::Mode;
use shadowsocks_service::config::{
    Config, ConfigType, LocalConfig, LocalInstanceConfig, ProtocolType, ServerInstanceConfig,
};

use crate::carried::*;
use crate::client::*;
use crate::support::{echo, socks5_connect};

/// Runs it; the port where it speaks SOCKS5.
async fn start(access: &Access) -> u16 {
    let port = free_port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut socks = LocalConfig::new_with_addr(address.into(), ProtocolType::Socks);
    socks.mode = Mode::TcpAndUdp;
    let mut config = Config::new(ConfigType::Local);
    let socks = LocalInstanceConfig::with_local_config(socks);
    config.local.push(socks);
    let server = ServerInstanceConfig::with_server_config(server(access));
    config.server.push(server);
    tokio::spawn(shadowsocks_service::run_local(config));
    open(port).await;
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn sslocal_carries_tcp_and_udp_by_every_method() {
    let proxy = crate::client::start().await;
    let (target, datagrams) = (echo().await, datagram_echo().await);
    let bytes = megabytes() * 1_000_000;
    for (number, method) in (1..).zip(METHODS) {
        let access = access(free_port(), method, &password(method, number));
        let name = format!("user-{number}");
        add(&proxy, &name, Limits::Unlimited, &access).await;
        let local = start(&access).await;
        let (client, _) = socks5(local, &socks5_connect(target)).await;
        comes_back(client, bytes).await;
        used(&proxy, &name, u64::try_from(bytes).unwrap()).await;
        datagrams_come_back(local, datagrams, 4_000, bytes).await;
    }
    proxy.stop().await;
}
