//! The control interface of aioshadowsocks: gRPC, package `aioshadowsocks`, with
//! the standard health and reflection services.
//!
//! Whoever may call it rules over all users with a number, and reads their
//! passwords, as the interface has it: it listens on loopback, or asks for a token.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tonic::service::interceptor::InterceptorLayer;
use tonic::transport::server::{TcpConnectInfo, TcpIncoming};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use super::decryption::Decryption;
use super::port::Venue;
use super::roster::Member;
use super::{Front, unix_now};
use crate::config;
use crate::protocol::Host;
use crate::protocol::shadowsocks::{Method, datagram, handshake};
use crate::tls::{ClientCertificate, TlsFiles};
use crate::users::{Access, Subscriber, UserError};

#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::unwrap_used,
    reason = "generated from proto/aioshadowsocks.proto"
)]
pub(super) mod api {
    include!("grpc/aioshadowsocks.rs");
}

use api::ss_server::{Ss, SsServer};

/// What reflection tells of the interface.
const DESCRIPTORS: &[u8] = include_bytes!("grpc/aioshadowsocks.bin");

/// The longest message.
const LONGEST: usize = 1 << 20;
/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Calls of one connection at once.
const MOST_CALLS: usize = 64;
/// Decryptions that go on.
const MOST_DECRYPTIONS: usize = 256;
/// TCP, as FindAccessUser calls it; anything else is UDP.
const TCP: i32 = 1;

/// Answers calls until the server stops.
///
/// # Errors
/// What the certificate or the connection of the listener is lacking.
pub(super) async fn run(
    front: Arc<Front>,
    grpc: config::Grpc,
    listener: TcpListener,
    tls: Option<TlsFiles>,
    venue: Venue,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stopping = venue.stopping.clone();
    let service = SsServer::new(Service {
        front,
        venue,
        decryptions: Mutex::default(),
    });
    let service = service.max_decoding_message_size(LONGEST);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<SsServer<Service>>().await;
    let describe = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let token = grpc
        .token
        .map(|token| blake3::hash(format!("Bearer {token}").as_bytes()));
    let mut server = Server::builder()
        .timeout(PATIENCE)
        .concurrency_limit_per_connection(MOST_CALLS)
        .layer(InterceptorLayer::new(move |request| {
            allowed(token, request)
        }));
    if let Some(files) = tls.filter(|_| grpc.tls) {
        let certificate = tokio::fs::read(&files.certificate).await?;
        let identity = Identity::from_pem(certificate, tokio::fs::read(&files.key).await?);
        let mut tls = ServerTlsConfig::new().identity(identity);
        if let Some(roots) = &files.client_roots {
            let optional = files.client_certificate == ClientCertificate::Optional;
            tls = tls
                .client_ca_root(Certificate::from_pem(tokio::fs::read(roots).await?))
                .client_auth_optional(optional);
        }
        server = server.tls_config(tls)?;
    }
    server
        .add_service(service)
        .add_service(health)
        .add_service(describe().build_v1()?)
        .add_service(describe().build_v1alpha()?)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), stopping.cancelled_owned())
        .await?;
    Ok(())
}

/// Whether a call shows the token, if there is one. Hashes are compared in the
/// same time wherever they differ.
fn allowed(token: Option<blake3::Hash>, request: Request<()>) -> Result<Request<()>, Status> {
    let Some(token) = token else {
        return Ok(request);
    };
    let shown = request.metadata().get("authorization");
    let shown = blake3::hash(shown.map(|shown| shown.as_bytes()).unwrap_or_default());
    if shown == token {
        Ok(request)
    } else {
        let source = request.extensions().get::<TcpConnectInfo>();
        let source = source.and_then(TcpConnectInfo::remote_addr);
        tracing::warn!(?source, reason = "grpc token", "auth_failed");
        Err(Status::unauthenticated("a token is needed"))
    }
}

struct Service {
    front: Arc<Front>,
    venue: Venue,
    decryptions: Mutex<HashMap<String, Decryption>>,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Ss for Service {
    async fn create_user(&self, request: Request<api::UserReq>) -> Answer<api::User> {
        let wanted = request.into_inner();
        if self.member(wanted.user_id).is_ok() {
            return Err(Status::already_exists("there is a user with this number"));
        }
        let access = Access {
            number: Some(wanted.user_id.into()),
            port: port(wanted.port)?,
            method: method(&wanted.method)?,
            password: wanted.password,
        };
        self.subscribe(access, wanted.enable).await?;
        self.user(wanted.user_id).map(Response::new)
    }

    async fn update_user(&self, request: Request<api::UserReq>) -> Answer<api::User> {
        let wanted = request.into_inner();
        let (_, known) = self.member(wanted.user_id)?;
        // What proto3 cannot tell from nothing stays as it is.
        let access = Access {
            number: known.number,
            port: match wanted.port {
                0 => known.port,
                number => port(number)?,
            },
            method: match wanted.method.as_str() {
                "" => known.method,
                name => method(name)?,
            },
            password: match wanted.password {
                empty if empty.is_empty() => known.password,
                password => password,
            },
        };
        self.subscribe(access, wanted.enable).await?;
        self.user(wanted.user_id).map(Response::new)
    }

    async fn get_user(&self, request: Request<api::UserIdReq>) -> Answer<api::User> {
        self.user(request.into_inner().user_id).map(Response::new)
    }

    async fn delete_user(&self, request: Request<api::UserIdReq>) -> Answer<api::Empty> {
        let (name, _) = self.member(request.into_inner().user_id)?;
        self.front.users.remove(&name).await.map_err(failed)?;
        Ok(Response::new(api::Empty {}))
    }

    async fn list_user(&self, request: Request<api::UserReq>) -> Answer<api::UserList> {
        let most = request.into_inner().tcp_conn_num;
        let everybody = self.front.users.subscribed().into_iter();
        let mut numbers: Vec<i32> = everybody
            .filter_map(|(_, access)| access.number?.try_into().ok())
            .collect();
        numbers.sort_unstable();
        let users = numbers
            .into_iter()
            .filter_map(|number| self.user(number).ok());
        let data = users.filter(|user| user.tcp_conn_num <= most).collect();
        Ok(Response::new(api::UserList { data }))
    }

    type HealthCheckStream = Pin<
        Box<
            dyn tonic::codegen::tokio_stream::Stream<Item = Result<api::HealthCheckRes, Status>>
                + Send,
        >,
    >;

    async fn health_check(
        &self,
        request: Request<api::HealthCheckReq>,
    ) -> Answer<Self::HealthCheckStream> {
        let since = Instant::now();
        let url = request.into_inner().url;
        let status_code = if url.is_empty() {
            "200".to_owned()
        } else {
            self.status_of(&url).await?
        };
        let duration = i32::try_from(since.elapsed().as_millis()).unwrap_or(i32::MAX);
        let answer = Ok(api::HealthCheckRes {
            status_code,
            duration,
        });
        let stream = tonic::codegen::tokio_stream::once(answer);
        Ok(Response::new(Box::pin(stream)))
    }

    async fn find_access_user(
        &self,
        request: Request<api::FindAccessUserReq>,
    ) -> Answer<api::User> {
        let wanted = request.into_inner();
        let (port, method) = (port(wanted.port)?, method(&wanted.method)?);
        let now = unix_now();
        let opens = |member: &Member| {
            let with_port = member.keys.port.is_some();
            let data = &wanted.data;
            if wanted.ts_protocol == TCP {
                let first = data.get(..handshake::first_len(method, with_port));
                first.is_some_and(|first| {
                    let user = &member.keys.user;
                    handshake::open_first(method, user, with_port, first, now).is_ok()
                })
            } else {
                datagram::open(method, &member.keys, data, now).is_ok()
            }
        };
        let members = self.front.state.lock().members.clone();
        for (tries, member) in members.values().enumerate() {
            let access = &member.access;
            if access.port == port && access.method == method && opens(member) {
                let number = access.number.and_then(|number| number.try_into().ok());
                return self.user(number.unwrap_or_default()).map(Response::new);
            }
            if tries % 64 == 63 {
                tokio::task::yield_now().await;
            }
        }
        Err(Status::not_found("nobody's key opens it"))
    }

    async fn decrypt_data(
        &self,
        request: Request<api::DecryptDataReq>,
    ) -> Answer<api::DecryptDataRes> {
        let wanted = request.into_inner();
        let data = if wanted.uuid.is_empty() {
            let mut decryption = self.decryption(&wanted)?;
            decryption.open(&wanted.data)
        } else {
            let mut decryptions = self.decryptions.lock();
            let mut decryption = match decryptions.remove(&wanted.uuid) {
                Some(decryption) => decryption,
                None => self.decryption(&wanted)?,
            };
            let opened = decryption.open(&wanted.data);
            if opened.is_ok() {
                if decryptions.len() >= MOST_DECRYPTIONS {
                    decryptions.clear();
                }
                decryptions.insert(wanted.uuid, decryption);
            }
            opened
        };
        let data = data.map_err(|refused| Status::invalid_argument(refused.to_string()))?;
        Ok(Response::new(api::DecryptDataRes { data }))
    }

    async fn init_user_server(&self, request: Request<api::UserIdReq>) -> Answer<api::UserServer> {
        let number = request.into_inner().user_id;
        self.enable(number, true).await?;
        self.user_server(number).map(Response::new)
    }

    async fn get_user_server(&self, request: Request<api::UserIdReq>) -> Answer<api::UserServer> {
        self.user_server(request.into_inner().user_id)
            .map(Response::new)
    }

    async fn stop_user_server(&self, request: Request<api::UserIdReq>) -> Answer<api::Empty> {
        self.enable(request.into_inner().user_id, false).await?;
        Ok(Response::new(api::Empty {}))
    }
}

impl Service {
    /// The name and the access of a user with this number.
    fn member(&self, number: i32) -> Result<(String, Access), Status> {
        let users = &self.front.users;
        let name = users.numbered(number.into());
        let known = name.and_then(|name| users.shadowsocks(&name).map(|access| (name, access)));
        known.ok_or_else(|| Status::not_found("there is no user with this number"))
    }

    async fn subscribe(&self, access: Access, enabled: bool) -> Result<(), Status> {
        access
            .keys()
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let subscriber = Subscriber {
            access,
            enabled,
            limits: None,
        };
        let done = self.front.users.subscribe(&[subscriber]).await;
        done.map(drop).map_err(failed)
    }

    async fn enable(&self, number: i32, enabled: bool) -> Result<(), Status> {
        let (name, _) = self.member(number)?;
        let done = self.front.users.set_enabled(&name, enabled).await;
        done.map_err(failed)
    }

    fn user(&self, number: i32) -> Result<api::User, Status> {
        let (name, access) = self.member(number)?;
        let user = self.front.users.get(&name);
        let user = user.ok_or_else(|| Status::not_found("the user is gone"))?;
        let there = self.front.whereabouts_of(number.into());
        Ok(api::User {
            user_id: number,
            port: access.port.into(),
            method: access.method.name().to_owned(),
            password: access.password,
            enable: user.enabled,
            speed_limit: speed(user.limits),
            access_order: 0,
            need_sync: user.usage.total() > 0,
            ip_list: there.now.iter().map(ToString::to_string).collect(),
            tcp_conn_num: i32::try_from(there.tcp).unwrap_or(i32::MAX),
            upload_traffic: to_i64(user.usage.upload_bytes),
            download_traffic: to_i64(user.usage.download_bytes),
        })
    }

    fn user_server(&self, number: i32) -> Result<api::UserServer, Status> {
        let user = self.user(number)?;
        let port = u16::try_from(user.port).unwrap_or_default();
        let is_open = self.front.state.lock().ports.contains_key(&port);
        Ok(api::UserServer {
            user_id: number,
            upload_traffic: user.upload_traffic,
            download_traffic: user.download_traffic,
            ip_list: user.ip_list,
            is_running: user.enable && is_open,
        })
    }

    fn decryption(&self, wanted: &api::DecryptDataReq) -> Result<Decryption, Status> {
        let access = if wanted.password.is_empty() {
            self.member(wanted.user_id)?.1
        } else {
            Access {
                number: None,
                port: 1,
                method: method(&wanted.method)?,
                password: wanted.password.clone(),
            }
        };
        let keys = access.keys();
        let keys = keys.map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(Decryption::new(access.method, keys))
    }

    /// What a web server answers, if the rules for targets let us ask it.
    async fn status_of(&self, url: &str) -> Result<String, Status> {
        let url: config::Panel = url
            .parse()
            .map_err(|_| Status::invalid_argument("not an http or https URL"))?;
        let shared = Arc::clone(&self.venue.current.borrow());
        let host = Host::parse(url.host().as_bytes());
        let host = host.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let found: Vec<_> = match host {
            Host::Address(ip) => vec![(ip, url.port()).into()],
            Host::Name(name) => tokio::net::lookup_host((name, url.port()))
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?
                .collect(),
        };
        for &address in &found {
            let judged = shared.egress.judge_by("", &[], address);
            judged.map_err(|error| Status::permission_denied(error.to_string()))?;
        }
        super::source::panel::status(&found, &url)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))
    }
}

fn port(number: i32) -> Result<u16, Status> {
    let port = u16::try_from(number).ok().filter(|&port| port > 0);
    port.ok_or_else(|| Status::invalid_argument("a port is a number from 1 to 65535"))
}

fn method(name: &str) -> Result<Method, Status> {
    name.parse()
        .map_err(|error| Status::invalid_argument(format!("the method {error}")))
}

fn failed(error: UserError) -> Status {
    match error {
        UserError::Key(_) | UserError::Name { .. } => Status::invalid_argument(error.to_string()),
        error => {
            tracing::error!(%error, "a call by gRPC failed");
            Status::internal("the accounts cannot be changed")
        }
    }
}

/// A limit as the interface has it: 0 is none.
fn speed(limits: crate::users::Limits) -> i32 {
    let policies = limits.policies().into_iter().flatten();
    let rates = policies.filter_map(|policy| policy.rate());
    let least = rates.map(|rate| rate.get()).min().unwrap_or(0);
    i32::try_from(least).unwrap_or(i32::MAX)
}

fn to_i64(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shadowsocks::source::limits;

    #[test]
    fn a_limit_is_what_it_was_made_of() {
        assert_eq!(speed(limits(384_000)), 384_000);
        assert_eq!(speed(limits(0)), 0);
        assert_eq!(speed(limits(u64::MAX)), i32::MAX);
    }

    #[test]
    fn without_the_token_nobody_is_let_in() {
        let token = Some(blake3::hash(b"Bearer secret"));
        let request = |shown: Option<&'static str>| {
            let mut request = Request::new(());
            if let Some(shown) = shown {
                let shown = shown.parse().unwrap();
                request.metadata_mut().insert("authorization", shown);
            }
            request
        };
        assert!(allowed(token, request(Some("Bearer secret"))).is_ok());
        for wrong in [None, Some("Bearer secre"), Some("secret"), Some("")] {
            assert!(allowed(token, request(wrong)).is_err());
        }
        assert!(allowed(None, request(None)).is_ok());
    }
}
