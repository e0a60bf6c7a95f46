//! A proxy with a port of shadowsocks for the users of a batch.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use ::proxy::config::{Shadowsocks, UdpLimit};
use ::proxy::protocol::shadowsocks::Method;
use ::proxy::users::Access;
use bench_clients::{Credentials, DatagramEnds, Identify, Target, Via};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::ShadowsocksError;
use crate::driver::proxy::server::{self, Server};
use crate::driver::real::plan::{Run, Together};
use crate::driver::real::{self, Batch, Bench, Opened, RealError, Used, io_error};
use crate::scenario::{DriverKind, Mode, RateChange};

/// The cipher of all: the one that most clients are configured with.
const METHOD: Method = Method::Aes256Gcm;
/// How long a port may take to open.
const OPENS_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A server with the users of a batch, and where its connections arrive.
pub(super) struct Encrypted {
    server: Server,
    address: SocketAddr,
    target: Target,
    /// Flows of datagrams so far.
    flows: u32,
}

impl Bench for Encrypted {
    type Error = ShadowsocksError;
    const KIND: DriverKind = DriverKind::Shadowsocks;
    /// A smaller part of what two cores relay: both ends of a connection encrypt.
    const TOGETHER: Together = Together {
        rate: 20e6,
        connections: 128,
    };

    async fn set_up(batch: Batch<'_>) -> Result<Self, ShadowsocksError> {
        let target = real::arrivals().await?;
        let port = free_port().map_err(io_error("find a free port"))?;
        let server = Server::with(server::accounts(batch), |config| {
            config.shadowsocks = Some(Shadowsocks {
                listen: LOCALHOST,
                udp: UdpLimit::Police,
                ..Shadowsocks::default()
            });
        })
        .await?;
        for run in batch.runs {
            for user in 0..batch.scenario.users.len() {
                let name = run.user_name(user);
                let access = Access {
                    number: None,
                    port,
                    method: METHOD,
                    password: password(&name),
                };
                server.give_access(&name, access).await?;
            }
        }
        let address = SocketAddr::new(LOCALHOST, port);
        opens(address).await?;
        Ok(Self {
            server,
            address,
            target,
            flows: 0,
        })
    }

    async fn open(
        &mut self,
        batch: Batch<'_>,
        run: &Run<'_>,
        user: usize,
    ) -> Result<Opened, ShadowsocksError> {
        let via = Via::Shadowsocks {
            proxy: self.address.into(),
            credentials: Credentials {
                user: METHOD.name().to_owned(),
                password: password(&run.user_name(user)),
            },
        };
        if run.algorithm.mode == Mode::Police {
            self.flows += 1;
            let opened = DatagramEnds::open(&via, LOCALHOST, self.flows).await;
            return Ok(Opened::Datagrams(opened.map_err(RealError::from)?));
        }
        let opened = batch.stream(user, &via, Identify::OwnPort, &mut self.target);
        Ok(opened.await?)
    }

    async fn change_rate(
        &mut self,
        batch: Batch<'_>,
        change: &RateChange,
    ) -> Result<(), ShadowsocksError> {
        Ok(self.server.change_rate(batch, change).await?)
    }

    fn used(&self) -> Used {
        self.server.used()
    }

    async fn tear_down(self, _: Batch<'_>) -> Result<Vec<String>, ShadowsocksError> {
        self.server.stop().await?;
        Ok(Vec::new())
    }
}

/// The secret of a throw-away user; users of one port need different ones.
fn password(name: &str) -> String {
    format!("{name}-{}", server::PASSWORD)
}

/// A port that nobody has, by TCP nor by UDP.
fn free_port() -> std::io::Result<u16> {
    loop {
        let address = TcpListener::bind((LOCALHOST, 0))?.local_addr()?;
        if UdpSocket::bind(address).is_ok() {
            return Ok(address.port());
        }
    }
}

/// Waits until somebody listens at `address`.
async fn opens(address: SocketAddr) -> Result<(), ShadowsocksError> {
    let give_up = Instant::now() + OPENS_WITHIN;
    while TcpStream::connect(address).await.is_err() {
        if Instant::now() > give_up {
            return Err(ShadowsocksError::Port {
                port: address.port(),
            });
        }
        sleep(LOOK).await;
    }
    Ok(())
}
