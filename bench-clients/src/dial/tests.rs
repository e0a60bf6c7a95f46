//! Handshakes against a scripted proxy.

use super::*;
use tokio::io::duplex;

fn ann() -> Credentials {
    Credentials {
        user: "ann".to_owned(),
        password: "pw".to_owned(),
    }
}

/// A proxy that expects and answers in turn, byte by byte, and then closes.
async fn scripted(mut side: impl AsyncRead + AsyncWrite + Unpin, script: &[(&[u8], &[u8])]) {
    for (expected, answer) in script {
        let mut got = vec![0; expected.len()];
        side.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, expected);
        for byte in *answer {
            side.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    }
}

const GREETING: &[u8] = &[5, 1, 2];
const AUTHENTICATION: &[u8] = b"\x01\x03ann\x02pw";
const REQUEST: &[u8] = b"\x05\x01\x00\x03\x01h\x00\x50";

async fn socks5(
    script: &[(&[u8], &[u8])],
    credentials: Option<&Credentials>,
) -> (Result<Endpoint, DialError>, Vec<u8>) {
    let (mut client, proxy) = duplex(1);
    let dial = async {
        let target = Endpoint::new("h", 80);
        let result = socks5_handshake(&mut client, credentials, &target).await;
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest).await;
        (result, rest)
    };
    let (answer, ()) = tokio::join!(dial, scripted(proxy, script));
    answer
}

#[tokio::test]
async fn socks5_goes_through_in_single_bytes_and_leaves_early_data_in_the_stream() {
    let reply = b"\x05\x00\x00\x01\x0a\x00\x00\x01\x00\x07early";
    let script: &[(&[u8], &[u8])] = &[
        (GREETING, &[5, 2]),
        (AUTHENTICATION, &[1, 0]),
        (REQUEST, reply),
    ];
    let (bound, rest) = socks5(script, Some(&ann())).await;
    assert_eq!(bound.unwrap(), Endpoint::new("10.0.0.1", 7));
    assert_eq!(rest, b"early");
}

#[tokio::test]
async fn socks5_without_credentials_skips_authentication() {
    let reply = b"\x05\x00\x00\x01\x0a\x00\x00\x01\x00\x07";
    let script: &[(&[u8], &[u8])] = &[(&[5, 1, 0], &[5, 0]), (REQUEST, reply)];
    assert!(socks5(script, None).await.0.is_ok());
}

#[tokio::test]
async fn socks5_failures_are_told_apart() {
    use socks5::{Refusal, Socks5Error};
    let error = async |script: &[(&[u8], &[u8])]| socks5(script, Some(&ann())).await.0.unwrap_err();
    let unwanted = error(&[(GREETING, &[5, 0xff])]).await;
    assert!(matches!(
        unwanted,
        DialError::Socks5(Socks5Error::NoAcceptableMethod)
    ));
    let wrong = error(&[(GREETING, &[5, 2]), (AUTHENTICATION, &[1, 1])]).await;
    let status = Socks5Error::AuthenticationRefused { status: 1 };
    assert!(matches!(wrong, DialError::Socks5(error) if error == status));
    let script: &[(&[u8], &[u8])] = &[
        (GREETING, &[5, 2]),
        (AUTHENTICATION, &[1, 0]),
        (REQUEST, &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]),
    ];
    let refused = Socks5Error::Refused(Refusal::ConnectionRefused);
    assert!(matches!(error(script).await, DialError::Socks5(error) if error == refused));
    for (script, step) in [
        (&[(GREETING, &[][..])][..], Step::Greeting),
        (&[(GREETING, &[5][..])], Step::Greeting),
        (
            &[(GREETING, &[5, 2]), (AUTHENTICATION, &[])],
            Step::Authentication,
        ),
        (
            &[
                (GREETING, &[5, 2]),
                (AUTHENTICATION, &[1, 0]),
                (REQUEST, &[5, 0, 0, 1]),
            ],
            Step::Request,
        ),
    ] {
        let closed = error(script).await;
        assert!(
            matches!(closed, DialError::Closed { step: s } if s == step),
            "{closed:?}"
        );
    }
}

#[tokio::test]
async fn the_line_handshake_goes_through_and_silence_is_a_refusal() {
    let line: &[u8] = b"h 80 ann pw\r\n";
    for (answer, bound) in [
        (
            &b"127.0.0.1 7\r\nearly"[..],
            Some(Endpoint::new("127.0.0.1", 7)),
        ),
        (b"", None),
        (b"127.0.0.1", None),
    ] {
        let (mut client, proxy) = duplex(1);
        let dial = async {
            let result = line_handshake(&mut client, &ann(), &Endpoint::new("h", 80)).await;
            let mut rest = Vec::new();
            let _ = client.read_to_end(&mut rest).await;
            (result, rest)
        };
        let script = [(line, answer)];
        let ((result, rest), ()) = tokio::join!(dial, scripted(proxy, &script));
        match bound {
            Some(bound) => {
                assert_eq!(result.unwrap(), bound);
                assert_eq!(rest, b"early");
            }
            None => assert!(matches!(
                result.unwrap_err(),
                DialError::Closed {
                    step: Step::Request
                }
            )),
        }
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_an_error_of_connecting() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let options = SocketOptions::default();
    let error = connect(&Via::Direct, &address.into(), &options)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, DialError::Io { step: Step::Connect, source }
            if source.kind() == io::ErrorKind::ConnectionRefused),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_silent_proxy_is_given_up() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let via = Via::Socks5 {
        proxy: listener.local_addr().unwrap().into(),
        credentials: Some(ann()),
    };
    let options = SocketOptions {
        timeout: Duration::from_millis(20),
        ..SocketOptions::default()
    };
    let error = connect(&via, &Endpoint::new("h", 80), &options)
        .await
        .unwrap_err();
    assert!(matches!(error, DialError::Timeout { .. }), "{error:?}");
}
