//! Real requests to targets: HTTP/1.1 and HTTP/2, plain and under TLS with
//! certificates verified, over pooled connections.
//!
//! Every connection is made by the [`Egress`], with the address judged that is
//! dialled, and belongs to one user: nobody uses what another was let through to.

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Bytes};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use lru::LruCache;
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::net::TcpStream;

use super::fault::Fault;
use super::memory::Held;
use crate::acl::RuleList;
use crate::egress::{Egress, EgressError};
use crate::protocol::https_relay::MAX_LEN;
use crate::protocol::{Host, Target};
use crate::tls::{self, TlsError, Trust};
use crate::users::Authenticated;

/// So many users' connections are kept; those of the one that asked longest ago go first.
const MOST_CLIENTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);
/// Connections to one host that wait for a user's next request.
const MOST_IDLE: usize = 32;
/// How long they wait.
const IDLE: Duration = Duration::from_secs(60);

/// The connections to targets.
pub(super) struct Upstream {
    tls: ClientConfig,
    /// With the rules of the server that they were made under.
    clients: Mutex<LruCache<Key, (Arc<Egress>, Pooled)>>,
}

/// The user's number, and where the connections lead if not where the URLs say.
type Key = (i64, Option<Target>, RuleList);
type Pooled = Client<HttpsConnector<Connector>, Full<Bytes>>;

impl Upstream {
    /// Trusts the system's roots and those in the file `roots`.
    ///
    /// # Errors
    /// [`TlsError`]
    pub(super) fn new(roots: Option<&Path>) -> Result<Self, TlsError> {
        Ok(Self {
            tls: tls::client_config(&trust(roots))?,
            clients: Mutex::new(LruCache::new(MOST_CLIENTS)),
        })
    }

    /// Closes what is pooled, once nothing is under way there.
    pub(super) fn forget(&self) {
        self.clients.lock().clear();
    }

    /// Fetches the answer to a request, to the last byte, which `held` pays for;
    /// from `instance`, if that is not where the URL says.
    ///
    /// # Errors
    /// [`Fault`]
    pub(super) async fn fetch(
        &self,
        request: Request<Full<Bytes>>,
        user: &Authenticated,
        instance: Option<Target>,
        egress: &Arc<Egress>,
        held: &mut Held,
    ) -> Result<Response<Bytes>, Fault> {
        let client = self.client(user, instance, egress);
        let answered = match client.request(request.clone()).await {
            Err(error) if is_unprocessed(&error) => client.request(request).await,
            answered => answered,
        };
        let (parts, mut body) = answered.map_err(|error| Fault::of(&error))?.into_parts();
        let known = body.size_hint().lower();
        if known > u64::try_from(MAX_LEN).unwrap_or(u64::MAX) {
            return Err(Fault::TooLarge);
        }
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Fault::of(&error))?;
            if let Some(data) = frame.data_ref() {
                if bytes.len() + data.len() > MAX_LEN {
                    return Err(Fault::TooLarge);
                }
                held.grow(data.len())?;
                bytes.extend_from_slice(data);
            }
        }
        // The cache may keep it, and counts what it holds.
        bytes.shrink_to_fit();
        Ok(Response::from_parts(parts, bytes.into()))
    }

    fn client(
        &self,
        user: &Authenticated,
        instance: Option<Target>,
        egress: &Arc<Egress>,
    ) -> Pooled {
        let mut clients = self.clients.lock();
        // Under other rules what was connected to before is asked for again.
        let key = (user.account().id(), instance, user.account().egress());
        if let Some((under, client)) = clients.get(&key)
            && Arc::ptr_eq(under, egress)
        {
            return client.clone();
        }
        let connector = Connector {
            egress: Arc::clone(egress),
            user: user.clone(),
            instance: key.1.clone(),
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(self.tls.clone())
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MOST_IDLE)
            .build(connector);
        clients.put(key, (Arc::clone(egress), client.clone()));
        client
    }
}

/// Whether a target says that it has done nothing with a request: then any request may
/// be sent again (RFC 9113, section 8.7).
fn is_unprocessed(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| (*error).source());
    let http2 = causes.find_map(|cause| cause.downcast_ref::<h2::Error>());
    http2.is_some_and(|error| {
        let closing = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        error.is_remote() && (closing || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}

/// The target of a URL; `None` if it is none that is served.
pub(super) fn target(uri: &Uri) -> Option<Target> {
    let default = match uri.scheme_str()? {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let authority = uri.authority()?;
    if authority.as_str().contains('@') {
        return None;
    }
    let host = Host::parse(authority.host().as_bytes()).ok()?;
    let port = match authority.as_str().strip_prefix(authority.host())? {
        "" | ":" => default,
        _ => authority.port_u16().filter(|&port| port != 0)?,
    };
    Some(Target { host, port })
}

/// Connects for one user.
#[derive(Clone)]
struct Connector {
    egress: Arc<Egress>,
    user: Authenticated,
    instance: Option<Target>,
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = EgressError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, EgressError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), EgressError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self {
            egress,
            user,
            instance,
        } = self.clone();
        Box::pin(async move {
            let target = instance.or_else(|| target(&uri));
            let target = target.ok_or_else(|| EgressError::Resolve {
                name: uri.host().unwrap_or_default().to_owned(),
                source: std::io::ErrorKind::InvalidInput.into(),
            })?;
            egress.connect(&user, &target).await.map(TokioIo::new)
        })
    }
}

/// The system's roots and those in the file `roots`.
pub(super) fn trust(roots: Option<&Path>) -> Trust {
    Trust {
        roots: roots.map(Path::to_owned),
        identity: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_urls() {
        let of = |url: &str| target(&url.parse().unwrap()).map(|target| target.to_string());
        for (url, expected) in [
            ("https://a.example/x?y", Some("a.example:443")),
            ("http://a.example", Some("a.example:80")),
            ("http://[::1]:8080/", Some("[::1]:8080")),
            ("https://10.0.0.1:1/", Some("10.0.0.1:1")),
            ("https://ada:pw@a.example/", None),
            ("ftp://a.example/", None),
            ("https://a.example:0/", None),
            ("https://a.example:99999/", None),
            ("/x", None),
        ] {
            assert_eq!(of(url).as_deref(), expected, "{url}");
        }
    }
}
