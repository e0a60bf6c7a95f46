//! What the shadowsocks front end is told.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

/// Shadowsocks servers for those users who have an access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadowsocks {
    /// The address of every port.
    pub listen: IpAddr,
    /// Silence of a TCP session; `None`: as any other connection.
    pub idle: Option<Duration>,
    /// Silence of a UDP association.
    pub udp_idle: Duration,
    /// UDP associations of all users; one more takes the place of the one that is silent longest.
    pub udp_associations: usize,
    /// What happens to a datagram beyond its user's limit.
    pub udp: UdpLimit,
    /// Lets users with the method `none` in: nothing is encrypted, nobody authenticated.
    pub allow_unencrypted: bool,
    /// Where salts are kept over a restart, so that nothing recorded before it is
    /// served after it; `None`: in memory alone.
    pub replay_file: Option<PathBuf>,
}

/// How a limit treats datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UdpLimit {
    /// They wait, up to a second, then they are dropped.
    #[default]
    Shape,
    /// They are dropped at once.
    Police,
}

impl Default for Shadowsocks {
    /// All addresses, idle as other connections, a minute for associations and
    /// 4,096 of them, shaped, encrypted, salts in memory.
    fn default() -> Self {
        Self {
            listen: Ipv4Addr::UNSPECIFIED.into(),
            idle: None,
            udp_idle: Duration::from_secs(60),
            udp_associations: 4_096,
            udp: UdpLimit::Shape,
            allow_unencrypted: false,
            replay_file: None,
        }
    }
}
