//! The table `[admin]`.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Length, Text, TlsTable, all, length, set};
use crate::config::{AdminAddress, AdminConfig, HttpUrl};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AdminTable {
    pub(super) listen: Option<Vec<Text<AdminAddress>>>,
    token_file: Option<PathBuf>,
    tls: Option<TlsTable>,
    hosts: Vec<String>,
    legacy_routes: bool,
    user_metrics: usize,
    webhook: Option<Text<HttpUrl>>,
    webhook_roots: Option<PathBuf>,
    expiry_days: Option<u32>,
    throttled_percent: Option<u8>,
    throttled_window: Option<Text<Length>>,
}

impl AdminTable {
    /// Takes over everything the table says.
    pub(super) fn apply(self, config: &mut AdminConfig) {
        let Self {
            hosts,
            legacy_routes,
            user_metrics,
            ..
        } = self;
        set(&mut config.listen, self.listen.map(all));
        set(&mut config.expiry_days, self.expiry_days);
        set(&mut config.throttled_percent, self.throttled_percent);
        set(
            &mut config.throttled_window,
            self.throttled_window.map(length),
        );
        *config = AdminConfig {
            token_file: self.token_file,
            tls: self.tls.map(TlsTable::resolve),
            webhook: self.webhook.map(|webhook| webhook.0),
            webhook_roots: self.webhook_roots,
            hosts,
            legacy_routes,
            user_metrics,
            ..std::mem::take(config)
        };
    }
}
