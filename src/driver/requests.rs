//! Requests through queues and workers: in virtual time, and through the real
//! service over sockets. Either turns the same offered requests into
//! [`RequestRecord`](crate::record::RequestRecord)s.

pub mod model;
pub mod real;

use crate::scenario::{DriverKind, RequestScenario};

/// Takes out of `scenario` the driver that this build does not have. Says why, a line each.
pub fn leave_out_what_cannot_run(scenario: &mut RequestScenario) -> Vec<String> {
    if ::proxy::HttpsService::IS_BUILT || !scenario.drivers.contains(&DriverKind::Proxy) {
        return Vec::new();
    }
    let proxy = |driver: &DriverKind| *driver != DriverKind::Proxy;
    scenario.drivers.retain(proxy);
    vec![
        "proxy: this build is without the HTTPS service (add `--features https-service`): left out"
            .to_owned(),
    ]
}
