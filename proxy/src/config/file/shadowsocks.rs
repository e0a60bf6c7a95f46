//! The table `[shadowsocks]`.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;

use serde::Deserialize;

use super::{Length, Text, length, set};
use crate::config::{Grpc, Managed, NoManaged, Panel, Shadowsocks, Source, UdpLimit};
use crate::protocol::shadowsocks::Method;

/// A table of which no part takes another's place.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "ShadowsocksText")]
pub(super) struct ShadowsocksTable(ShadowsocksText);

impl TryFrom<ShadowsocksText> for ShadowsocksTable {
    type Error = &'static str;

    fn try_from(text: ShadowsocksText) -> Result<Self, Self::Error> {
        match text.users.is_some() && text.panel.is_some() {
            true => Err("users come from one place: leave out `users` or `panel`"),
            false => Ok(Self(text)),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShadowsocksText {
    listen: Option<Text<IpAddr>>,
    idle: Option<Text<Length>>,
    udp_idle: Option<Text<Length>>,
    udp_associations: Option<usize>,
    udp: Option<UdpWord>,
    #[serde(default)]
    allow_unencrypted: bool,
    replay_file: Option<PathBuf>,
    users: Option<PathBuf>,
    panel: Option<Text<Panel>>,
    panel_roots: Option<PathBuf>,
    sync: Option<Text<Length>>,
    grpc: Option<GrpcTable>,
    metrics: Option<Text<SocketAddr>>,
    managed: Option<ManagedTable>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "ManagedText")]
struct ManagedTable(Managed);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ManagedText {
    port: NonZeroU16,
    method: Text<Method>,
    key: String,
}

impl TryFrom<ManagedText> for ManagedTable {
    type Error = NoManaged;

    fn try_from(text: ManagedText) -> Result<Self, NoManaged> {
        Managed::new(text.port.get(), text.method.0, text.key).map(Self)
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UdpWord {
    Shape,
    Police,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrpcTable {
    listen: Text<SocketAddr>,
    token: Option<String>,
    #[serde(default)]
    tls: bool,
}

impl ShadowsocksTable {
    pub(super) fn resolve(self) -> Shadowsocks {
        let Self(text) = self;
        let mut front = Shadowsocks::default();
        set(&mut front.listen, text.listen.map(|listen| listen.0));
        front.idle = text.idle.map(length);
        set(&mut front.udp_idle, text.udp_idle.map(length));
        set(&mut front.udp_associations, text.udp_associations);
        set(
            &mut front.udp,
            text.udp.map(|word| match word {
                UdpWord::Shape => UdpLimit::Shape,
                UdpWord::Police => UdpLimit::Police,
            }),
        );
        front.allow_unencrypted = text.allow_unencrypted;
        front.replay_file = text.replay_file;
        front.source = match (text.panel, text.users) {
            (Some(panel), _) => Some(Source::Panel(panel.0)),
            (None, users) => users.map(Source::File),
        };
        front.panel_roots = text.panel_roots;
        set(&mut front.sync, text.sync.map(length));
        front.grpc = text.grpc.map(|grpc| Grpc {
            listen: grpc.listen.0,
            token: grpc.token,
            tls: grpc.tls,
        });
        front.metrics = text.metrics.map(|metrics| metrics.0);
        front.managed = text.managed.map(|managed| managed.0);
        front
    }
}
