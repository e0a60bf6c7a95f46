//! What of a config makes no server, as far as that is known before there is one.

use std::collections::HashSet;

use super::BindError;
use crate::config::{AdminAddress, Config, Listener, ListenerTls};
#[cfg(feature = "https-service")]
use crate::https_service::Service;
use crate::tls::{Certificates, TlsError};

/// The certificates, which listeners that need them have.
pub(super) fn certificates(config: &Config) -> Result<Certificates, BindError> {
    let certificates = Certificates::load(config.tls.clone())?;
    let required = |listener: &Listener| listener.tls == ListenerTls::Required;
    if !certificates.is_some() && config.listeners.iter().any(required) {
        return Err(TlsError::NoCertificate.into());
    }
    Ok(certificates)
}

/// Whether each address that is to be listened on is there once; port 0 is always another.
pub(super) fn check_addresses(config: &Config) -> Result<(), BindError> {
    let listeners = config.listeners.iter().map(|listener| listener.address);
    let admin = config.admin.listen.iter().filter_map(AdminAddress::tcp);
    let own = config.listen.iter().chain(config.service_listen());
    let all = own.copied().chain(listeners).chain(admin);
    let mut seen = HashSet::new();
    for address in all.filter(|address| address.port() != 0) {
        if !seen.insert(address) {
            return Err(BindError::Twice(address));
        }
    }
    Ok(())
}

pub(super) fn check_service(config: &Config) -> Result<(), BindError> {
    match &config.https_service {
        None => Ok(()),
        #[cfg(feature = "https-service")]
        Some(service) => {
            if service.tls == ListenerTls::Required && config.tls.is_none() {
                return Err(TlsError::NoCertificate.into());
            }
            Ok(Service::check(service)?)
        }
        #[cfg(not(feature = "https-service"))]
        Some(_) => Err(BindError::NoService),
    }
}

#[cfg(feature = "panel")]
pub(super) fn check_panel(config: &Config) -> Result<(), BindError> {
    let front = config.shadowsocks.as_ref();
    front.map_or(Ok(()), |front| {
        crate::shadowsocks::check(front).map_err(BindError::Panel)
    })
}

#[cfg(not(feature = "panel"))]
pub(super) const fn check_panel(_: &Config) -> Result<(), BindError> {
    Ok(())
}
