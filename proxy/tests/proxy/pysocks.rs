//! A client that many programs use: PySocks.

use std::process::Stdio;

use proxy::Limits;
use tokio::process::Command;

use crate::support::*;

/// Says what came back through each way of PySocks, or what went wrong.
const SCRIPT: &str = r#"
import socket, socks, sys
port, tcp, udp = map(int, sys.argv[1:])
def through(kind, password="secret", target=("127.0.0.1", tcp), rdns=True):
    s = socks.socksocket()
    s.settimeout(50)
    s.set_proxy(kind, "127.0.0.1", port, rdns, "ada", password)
    try:
        s.connect(target)
        s.sendall(b"hello")
        return s.recv(5)
    except socks.ProxyError as error:
        return type(error).__name__ + " " + str(error).strip()
    finally:
        s.close()
print(through(socks.SOCKS5))
print(through(socks.SOCKS5, target=("localhost", tcp)))
print(through(socks.HTTP))
print(through(socks.SOCKS5, password="wrong"))
print(through(socks.HTTP, password="wrong"))
print(through(socks.SOCKS5, target=("10.255.255.1", 80)))
s = socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(50)
s.set_proxy(socks.SOCKS5, "127.0.0.1", port, True, "ada", "secret")
s.sendto(b"datagram", ("127.0.0.1", udp))
print(*s.recvfrom(100))
"#;

/// An interpreter that has it: the first of the path, or that of the system, for
/// which packages are installed.
async fn with_pysocks() -> Option<&'static str> {
    for interpreter in ["python3", "/usr/bin/python3"] {
        let mut python = Command::new(interpreter);
        let imported = python.args(["-c", "import socks"]).stderr(Stdio::null());
        if imported.status().await.is_ok_and(|status| status.success()) {
            return Some(interpreter);
        }
    }
    None
}

#[tokio::test]
async fn pysocks_is_served_by_socks5_http_and_udp() {
    let Some(interpreter) = with_pysocks().await else {
        // .ci/run installs it and says so; elsewhere it may be missing.
        assert!(
            std::env::var_os("WEIRGATE_REQUIRE_PYSOCKS").is_none(),
            "no PySocks"
        );
        return;
    };
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.allow_egress.push("::1/128".parse().unwrap());
    })
    .await;
    let tcp = echo().await.port();
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let udp = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut bytes = [0; 100];
        while let Ok((len, from)) = socket.recv_from(&mut bytes).await {
            let _ = socket.send_to(&bytes[..len], from).await;
        }
    });
    let ports = [proxy.address.port(), tcp, udp].map(|port| port.to_string());
    let mut python = Command::new(interpreter);
    python.args(["-c", SCRIPT]).args(ports);
    let output = in_time(python.output()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines.len(),
        7,
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(lines[..3], ["b'hello'"; 3], "{said}");
    assert!(lines[3].contains("authentication failed"), "{said}");
    assert!(lines[4].contains("407"), "{said}");
    assert!(lines[5].contains("0x02"), "{said}");
    assert_eq!(lines[6], format!("b'datagram' ('127.0.0.1', {udp})"));
}
