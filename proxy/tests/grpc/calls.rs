//! Every call, by the client that the proto file makes.

use std::net::SocketAddr;
use std::time::Duration;

use proxy::config::{Grpc, Shadowsocks};
use proxy::tls::{ClientCertificate, TlsFiles};
use proxy::{Config, Database, PasswordCost, Server};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request};

#[allow(
    dead_code,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::unwrap_used,
    reason = "generated"
)]
mod api {
    include!("../../src/shadowsocks/grpc/aioshadowsocks.rs");
}

use api::ss_client::SsClient;

struct Running {
    address: SocketAddr,
    users: proxy::Users,
    _folder: tempfile::TempDir,
    _stop: oneshot::Sender<()>,
}

async fn start(token: Option<&str>) -> Running {
    start_with(token, None).await
}

async fn start_with(token: Option<&str>, tls: Option<TlsFiles>) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(Database::file(folder.path().join("users.db")));
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.allow_egress = vec!["127.0.0.0/8".parse().unwrap()];
    config.password_cost = PasswordCost::LEAST;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    config.shadowsocks = Some(Shadowsocks {
        listen: [127, 0, 0, 1].into(),
        grpc: Some(Grpc {
            listen: address,
            token: token.map(str::to_owned),
            tls: tls.is_some(),
        }),
        ..Shadowsocks::default()
    });
    config.tls = tls;
    let server = Server::bind(config).await.unwrap();
    let users = server.users();
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    Running {
        address,
        users,
        _folder: folder,
        _stop: stop,
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}

async fn is_open(port: i32, expected: bool) {
    let port = u16::try_from(port).unwrap();
    for _ in 0..500 {
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("port {port} is not {expected}");
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_both_generations() {
    let running = start(None).await;
    let mut client = SsClient::new(channel(running.address).await);
    let wanted = api::UserReq {
        user_id: 1,
        port: free_port().into(),
        method: "aes-128-gcm".to_owned(),
        password: "hellotheworld2".to_owned(),
        enable: true,
        tcp_conn_num: 0,
    };
    let user = client
        .create_user(wanted.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (user.user_id, user.port, user.enable),
        (1, wanted.port, true)
    );
    is_open(wanted.port, true).await;
    let twice = client.create_user(wanted.clone()).await.unwrap_err();
    assert_eq!(twice.code(), Code::AlreadyExists);
    let moved = api::UserReq {
        port: free_port().into(),
        method: String::new(),
        password: String::new(),
        ..wanted.clone()
    };
    let user = client
        .update_user(moved.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(user.password, "hellotheworld2", "what is empty stays");
    is_open(moved.port, true).await;
    is_open(wanted.port, false).await;
    let id = || api::UserIdReq { user_id: 1 };
    let got = client.get_user(id()).await.unwrap().into_inner();
    assert_eq!(got, user);
    let list = client
        .list_user(api::UserReq::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(list.data, std::slice::from_ref(&user));

    // The seed's golden: whose is it, and what does it say?
    let salt: Vec<u8> = (0..16).collect();
    let sealed = unhex(
        "676b3e41f21aa19f868b44dd0449bb150369f7fb45350bd886887bd7ac29d76327fc0a5707761ec8ce7ac05a2722",
    );
    let golden = [salt, sealed].concat();
    let find = |data: &[u8]| api::FindAccessUserReq {
        port: moved.port,
        method: "aes-128-gcm".to_owned(),
        ts_protocol: 1,
        data: data.to_vec(),
    };
    let found = client.find_access_user(find(&golden)).await.unwrap();
    assert_eq!(found.into_inner().user_id, 1);
    let nobody = client.find_access_user(find(&[7; 99])).await.unwrap_err();
    assert_eq!(nobody.code(), Code::NotFound);
    let mut plain = Vec::new();
    for half in golden.chunks(golden.len() / 2 + 1) {
        let request = api::DecryptDataReq {
            user_id: 1,
            uuid: "a session".to_owned(),
            password: "hellotheworld2".to_owned(),
            method: "aes-128-gcm".to_owned(),
            data: half.to_vec(),
        };
        plain.extend(
            client
                .decrypt_data(request)
                .await
                .unwrap()
                .into_inner()
                .data,
        );
    }
    assert_eq!(plain, b"\x01\x7f\0\0\x01\0\x50hello");

    let server = client.get_user_server(id()).await.unwrap().into_inner();
    assert!(server.is_running);
    client.stop_user_server(id()).await.unwrap();
    is_open(moved.port, false).await;
    assert!(
        !client
            .get_user_server(id())
            .await
            .unwrap()
            .into_inner()
            .is_running
    );
    client.init_user_server(id()).await.unwrap();
    is_open(moved.port, true).await;

    let health = api::HealthCheckReq { url: String::new() };
    let mut answers = client.health_check(health).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().status_code, "200");
    let private = api::HealthCheckReq {
        url: "http://169.254.169.254/".to_owned(),
    };
    let refused = client.health_check(private).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    client.delete_user(id()).await.unwrap();
    is_open(moved.port, false).await;
    assert_eq!(
        client.get_user(id()).await.unwrap_err().code(),
        Code::NotFound
    );
    assert!(running.users.get("ss-1").is_none());
    let bad = api::UserReq { port: 0, ..wanted };
    assert_eq!(
        client.create_user(bad).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_reflection_and_the_token() {
    let running = start(Some("secret")).await;
    let channel = channel(running.address).await;
    let refused = SsClient::new(channel.clone())
        .list_user(api::UserReq::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let token = |mut request: Request<()>| {
        let metadata = request.metadata_mut();
        metadata.insert("authorization", "Bearer secret".parse().unwrap());
        Ok(request)
    };
    let mut client = SsClient::with_interceptor(channel.clone(), token);
    client.list_user(api::UserReq::default()).await.unwrap();
    let mut health =
        tonic_health::pb::health_client::HealthClient::with_interceptor(channel.clone(), token);
    let request = tonic_health::pb::HealthCheckRequest {
        service: "aioshadowsocks.ss".to_owned(),
    };
    let status = health.check(request).await.unwrap().into_inner().status;
    assert_eq!(status, 1, "serving");
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    let mut reflection = ServerReflectionClient::with_interceptor(channel, token);
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let request = tonic::codegen::tokio_stream::iter([request]);
    let answers = reflection.server_reflection_info(request).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    assert!(
        format!("{answer:?}").contains("aioshadowsocks.ss"),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn under_tls_with_a_token_and_not_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = TlsFiles {
        certificate: folder.path().join("server.pem"),
        key: folder.path().join("server.key"),
        client_roots: None,
        client_certificate: ClientCertificate::Required,
    };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let running = start_with(Some("secret"), Some(files)).await;
    let url = format!("https://localhost:{}", running.address.port());
    let endpoint = |roots: Option<Certificate>| {
        let mut tls = ClientTlsConfig::new();
        if let Some(roots) = roots {
            tls = tls.ca_certificate(roots);
        }
        Endpoint::from_shared(url.clone())
            .unwrap()
            .tls_config(tls)
            .unwrap()
    };
    let trusted = Certificate::from_pem(made.cert.pem());
    let channel = endpoint(Some(trusted)).connect().await.unwrap();
    let all = api::UserReq::default();
    let mut stranger = SsClient::new(channel.clone());
    let refused = stranger.list_user(all.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    for (said, expected) in [("Bearer wrong", false), ("Bearer secret", true)] {
        let token = move |mut request: Request<()>| {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", said.parse().unwrap());
            Ok(request)
        };
        let mut client = SsClient::with_interceptor(channel.clone(), token);
        let answer = client.list_user(all.clone()).await;
        assert_eq!(answer.is_ok(), expected, "{said}");
    }
    // Who does not trust the certificate, or speaks in the clear, hears nothing.
    assert!(endpoint(None).connect().await.is_err());
    let plain = Endpoint::from_shared(format!("http://{}", running.address)).unwrap();
    if let Ok(channel) = plain.connect().await {
        let answer = SsClient::new(channel).list_user(all).await;
        assert!(answer.is_err());
    }
}
