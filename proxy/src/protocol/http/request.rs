//! A request to the proxy: `CONNECT host:port`, or a method with an `http://`
//! URL (RFC 9112, sections 3.2.2 and 3.2.3).
//!
//! Host must be there once, but where it goes is said by the target alone
//! (section 3.2.2). Every request carries its own credentials: one that was let
//! in says nothing about the next one on the same connection.

use super::fields::{Fields, Options, write_field};
use super::forward::Forward;
use super::response::Asked;
use super::target::{absolute, authority, host_field};
use super::{Framing, MAX_FIELDS, Malformed, basic, head};
use crate::protocol::{Credentials, Target, WireError};

/// A request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where to.
    pub target: Target,
    /// Who asks; `None` without Basic credentials: answer 407.
    pub credentials: Option<Credentials>,
    /// Whether the client may send another request after this one.
    pub keep_alive: bool,
    /// What for.
    pub kind: Kind,
}

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tunnel; what follows the head is for the target already.
    Connect,
    /// A message to pass on.
    Forward(Forward),
}

/// Parses a request head. One empty line before it is skipped, as some clients
/// end a body with one (RFC 9112, section 2.2).
///
/// # Errors
/// [`WireError::Http`]; [`Status::of`](super::Status::of) says what to answer.
pub fn request(bytes: &[u8]) -> Result<Option<(Request, usize)>, WireError> {
    let skipped = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let head = bytes.get(skipped..).unwrap_or_default();
    let Some(len) = head::len(head, check_start_line)? else {
        return Ok(None);
    };
    let request = parse(head.get(..len).unwrap_or_default())?;
    Ok(Some((request, skipped + len)))
}

/// What is wrong with a request line needs no field to be seen.
fn check_start_line(line: &[u8]) -> Result<(), Malformed> {
    let mut words = line.split(|&byte| byte == b' ').skip(2);
    let named = words.next().is_some_and(|word| word.starts_with(b"HTTP/"));
    let named = named && words.next().is_none();
    match httparse::Request::new(&mut []).parse(line) {
        Ok(_) => Ok(()),
        Err(error) => Err(head::start_line_error(error, named)),
    }
}

fn parse(head: &[u8]) -> Result<Request, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        _ => return Err(Malformed::Field),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Malformed::StartLine);
    };
    let message = Message {
        method,
        old: version == 0,
        fields: Fields::new(parsed.headers)?,
    };
    message.check_host()?;
    let authorization = message.fields.only("Proxy-Authorization")?;
    let options = message.fields.connection()?;
    let framing = message.fields.framing(message.old)?;
    let (target, kind) = if method == "CONNECT" {
        (message.connect(target, framing)?, Kind::Connect)
    } else {
        let (target, forward) = message.forward(target, framing, &options)?;
        (target, Kind::Forward(forward))
    };
    Ok(Request {
        target,
        credentials: authorization.and_then(basic::decode),
        keep_alive: !message.old && !options.contains(b"close"),
        kind,
    })
}

/// The parts of a head.
struct Message<'h, 'b> {
    method: &'b str,
    /// HTTP/1.0.
    old: bool,
    fields: Fields<'h, 'b>,
}

impl Message<'_, '_> {
    /// RFC 9112, section 3.2: once, and a host if it is not empty.
    fn check_host(&self) -> Result<(), Malformed> {
        match self.fields.only("Host")? {
            None if self.old => Ok(()),
            None => Err(Malformed::NoHost),
            Some(b"") => Ok(()),
            Some(host) => match authority(host, Some(80)) {
                Some(_) => Ok(()),
                None => Err(Malformed::Value { name: "Host" }),
            },
        }
    }

    /// A CONNECT request has no body (RFC 9110, section 9.3.6); some clients
    /// say so.
    fn connect(&self, target: &str, framing: Framing) -> Result<Target, Malformed> {
        if !matches!(framing, Framing::None | Framing::Length(0)) {
            return Err(Malformed::ConnectBody);
        }
        authority(target.as_bytes(), None).ok_or(Malformed::Target)
    }

    fn forward(
        &self,
        target: &str,
        framing: Framing,
        options: &Options<'_>,
    ) -> Result<(Target, Forward), Malformed> {
        let (target, path) = absolute(target.as_bytes()).ok_or(Malformed::Target)?;
        let asked = Asked {
            head: self.method == "HEAD",
            old: self.old,
        };
        let lines = self.lines(&target, path, options)?;
        let forward = Forward {
            framing,
            asked,
            lines,
        };
        Ok((target, forward))
    }

    fn lines(
        &self,
        target: &Target,
        path: &[u8],
        options: &Options<'_>,
    ) -> Result<Vec<u8>, Malformed> {
        let mut lines = Vec::new();
        lines.extend(self.method.as_bytes());
        lines.push(b' ');
        match path {
            // RFC 9112, section 3.2.4.
            b"" if self.method == "OPTIONS" => lines.push(b'*'),
            [b'/', ..] => lines.extend(path),
            _ => {
                lines.push(b'/');
                lines.extend(path);
            }
        }
        lines.extend(b" HTTP/1.1\r\n");
        write_field(&mut lines, "Host", host_field(target).as_bytes());
        let forwards = self.max_forwards()?;
        if let Some(left) = forwards {
            write_field(&mut lines, "Max-Forwards", left.to_string().as_bytes());
        }
        self.fields.write_onward(&mut lines, options, |name| {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            // An HTTP/1.0 client does not wait, and knows no 100.
            !(is("Host") || is("Max-Forwards") && forwards.is_some() || is("Expect") && self.old)
        });
        Ok(lines)
    }

    /// What Max-Forwards is for the next hop (RFC 9110, section 7.6.2).
    fn max_forwards(&self) -> Result<Option<u64>, Malformed> {
        if !matches!(self.method, "OPTIONS" | "TRACE") {
            return Ok(None);
        }
        let left = self.fields.number("Max-Forwards")?;
        left.map(|left| left.checked_sub(1).ok_or(Malformed::MaxForwards))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::testing::settled;
    use proptest::prelude::*;

    fn parsed(head: &str) -> Request {
        let bytes = [head.as_bytes(), b"next"].concat();
        let (request, used) = request(&bytes).unwrap().unwrap();
        assert_eq!(used, head.len());
        request
    }

    fn refused(head: &str) -> Malformed {
        match request(head.as_bytes()) {
            Err(WireError::Http(malformed)) => malformed,
            other => panic!("{head:?}: {other:?}"),
        }
    }

    fn forward(head: &str) -> (Target, Forward) {
        match parsed(head) {
            Request {
                target,
                kind: Kind::Forward(forward),
                ..
            } => (target, forward),
            other => panic!("{other:?}"),
        }
    }

    /// The first line and Host of what the origin gets for a target.
    fn onward(method: &str, url: &str) -> String {
        let head = format!("{method} {url} HTTP/1.1\r\nHost: other.example\r\n\r\n");
        let head = forward(&head).1.head(false, true);
        let head = String::from_utf8(head).unwrap();
        head.strip_suffix("\r\n\r\n").unwrap().replace("\r\n", "|")
    }

    #[test]
    fn a_field_of_ours_stands_in_the_place_of_the_clients() {
        let head = "GET http://a.example/x?q=1 HTTP/1.1\r\nHost: a.example\r\nx-forwarded-for: evil\r\n\
            X-Forwarded-Format: stays\r\nX-Forwarded-For: twice\r\n\r\n";
        let (_, mut get) = forward(head);
        assert!(get.has_field("X-Forwarded-FOR") && !get.has_field("X-Forwarded"));
        get.set_field("X-Forwarded-For", "192.0.2.1");
        let lines = String::from_utf8(get.head(false, true)).unwrap();
        assert_eq!(
            lines,
            "GET /x?q=1 HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Format: stays\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
        );
        assert_eq!((get.method(), get.path()), (&b"GET"[..], &b"/x"[..]));
    }

    #[test]
    fn connect() {
        let request = parsed(
            "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\nProxy-Authorization: Basic YWRhOnNlY3JldA==\r\nProxy-Connection: Keep-Alive\r\n\r\n",
        );
        assert_eq!(request.target.to_string(), "a.example:443");
        assert_eq!(request.kind, Kind::Connect);
        let credentials = request.credentials.unwrap();
        assert_eq!(credentials.name, b"ada");
        assert_eq!(credentials.password, b"secret");
        let to = |target: &str| {
            let head = format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
            parsed(&head).target.to_string()
        };
        assert_eq!(to("[::1]:443"), "[::1]:443");
        assert_eq!(to("10.0.0.1:1"), "10.0.0.1:1");
        assert_eq!(to("a_b-c.example:65535"), "a_b-c.example:65535");
    }

    #[test]
    fn connect_needs_a_host_and_a_port_and_no_body() {
        for target in [
            "a.example",
            "a.example:",
            "a.example:0",
            "a.example:65536",
            "a.example:+1",
            ":443",
            "[]:443",
            "[::1]",
            "[::1]443",
            "[a.example]:443",
            "::1:443",
            "u@a.example:443",
            "a.example:443/",
            "a%2eexample:443",
            "a,b:443",
            "http://a.example/",
            "/",
            "*",
            "\u{4f8b}:443",
        ] {
            let head = format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n");
            assert_eq!(refused(&head), Malformed::Target, "{target}");
        }
        let head = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n";
        for body in ["Content-Length: 1", "Transfer-Encoding: chunked"] {
            let head = format!("{head}{body}\r\n\r\n");
            assert_eq!(refused(&head), Malformed::ConnectBody);
        }
    }

    #[test]
    fn the_origin_gets_the_target_in_its_own_form() {
        for (method, url, expected) in [
            (
                "GET",
                "http://a.example/x?y=1",
                "GET /x?y=1 HTTP/1.1|Host: a.example",
            ),
            (
                "GET",
                "HTTP://a.example:80",
                "GET / HTTP/1.1|Host: a.example",
            ),
            (
                "GET",
                "http://a.example:/",
                "GET / HTTP/1.1|Host: a.example",
            ),
            (
                "PUT",
                "http://a.example:8080?q",
                "PUT /?q HTTP/1.1|Host: a.example:8080",
            ),
            ("get", "http://10.0.0.1//", "get // HTTP/1.1|Host: 10.0.0.1"),
            (
                "GET",
                "http://[0:0::1]:81/",
                "GET / HTTP/1.1|Host: [::1]:81",
            ),
            (
                "OPTIONS",
                "http://a.example",
                "OPTIONS * HTTP/1.1|Host: a.example",
            ),
            (
                "OPTIONS",
                "http://a.example/",
                "OPTIONS / HTTP/1.1|Host: a.example",
            ),
        ] {
            assert_eq!(onward(method, url), expected, "{url}");
        }
    }

    #[test]
    fn only_http_urls_are_forwarded() {
        for target in [
            "/",
            "*",
            "/http://a.example/",
            "a.example:443",
            "https://a.example/",
            "ftp://a.example/",
            "http:/a.example/",
            "http:///",
            "http://",
            "http://u:p@a.example/",
            "http://a.example:0/",
            "http://a.example:99999/",
            "http://a.example:8x/",
            "http://a.example#x",
            "http://a.example/#x",
            "http://a.example\\x/",
            "http://a.example/\u{4f8b}",
            "http://a%00.example/",
            "http://[::1/",
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
            assert_eq!(refused(&head), Malformed::Target, "{target}");
        }
    }

    #[test]
    fn what_was_for_us_stays_here() {
        let (target, forward) = forward(
            "POST http://a.example/ HTTP/1.1\r\nhost: evil.example\r\nproxy-authorization: Basic YTpi\r\nConnection: close, X-Hop ,, keep-alive\r\nx-hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nTrailer: X\r\nUpgrade: websocket\r\nAuthorization: Basic eA==\r\nX-Kept:  a\tb \r\nExpect: 100-continue\r\nContent-Length: 0005\r\nVia: 1.0 x\r\n\r\n",
        );
        assert_eq!(target.to_string(), "a.example:80");
        assert_eq!(forward.framing(), Framing::Length(5));
        let kept = "POST / HTTP/1.1\r\nHost: a.example\r\nAuthorization: Basic eA==\r\nX-Kept: a\tb\r\nExpect: 100-continue\r\nVia: 1.0 x\r\nContent-Length: 5\r\n";
        let head = |via, keep_alive| String::from_utf8(forward.head(via, keep_alive)).unwrap();
        assert_eq!(head(false, true), format!("{kept}\r\n"));
        assert_eq!(
            head(true, false),
            format!("{kept}Via: 1.1 weirgate\r\nConnection: close\r\n\r\n")
        );
        assert!(!format!("{forward:?}").contains("eA=="));
    }

    #[test]
    fn connections_stay_open_in_1_1_unless_closed() {
        let keeps = |version: &str, field: &str| {
            let head = format!("GET http://a/ HTTP/{version}\r\nHost: a\r\n{field}\r\n");
            parsed(&head).keep_alive
        };
        assert!(keeps("1.1", ""));
        assert!(keeps("1.1", "Connection: keep-alive\r\n"));
        assert!(!keeps("1.1", "Connection: x, CLOSE\r\n"));
        assert!(!keeps("1.1", "Proxy-Connection: close\r\n"));
        assert!(!keeps("1.0", ""));
        assert!(!keeps("1.0", "Connection: keep-alive\r\n"));
    }

    #[test]
    fn old_clients_are_asked_for_less() {
        let (_, forward) = forward("HEAD http://a/ HTTP/1.0\r\nExpect: 100-continue\r\n\r\n");
        let asked = Asked {
            head: true,
            old: true,
        };
        assert_eq!(forward.asked(), asked);
        let head = forward.head(false, true);
        assert_eq!(head, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    }

    #[test]
    fn hosts_must_be_there_once() {
        let with = |fields: &str| format!("GET http://a/ HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(refused(&with("")), Malformed::NoHost);
        assert_eq!(
            refused(&with("Host: a\r\nhost: a\r\n")),
            Malformed::Repeated { name: "Host" }
        );
        for value in ["a b", "a/b", "u@a", "a:b", "[::1", "a, b"] {
            let head = with(&format!("Host: {value}\r\n"));
            assert_eq!(refused(&head), Malformed::Value { name: "Host" }, "{value}");
        }
        for value in ["", "b.example:99", "[::1]"] {
            let head = with(&format!("Host: {value}\r\n"));
            assert_eq!(forward(&head).0.to_string(), "a:80", "the target counts");
        }
    }

    #[test]
    fn credentials_are_those_of_the_request() {
        let with = |fields: &str| format!("GET http://a/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(parsed(&with("")).credentials, None);
        let other = with("Proxy-Authorization: Bearer YTpi\r\n");
        assert_eq!(parsed(&other).credentials, None);
        let origin = with("Authorization: Basic YTpi\r\n");
        assert_eq!(parsed(&origin).credentials, None);
        let name = "Proxy-Authorization";
        let twice = with("Proxy-Authorization: Basic YTpi\r\nProxy-Authorization: Basic Yzpk\r\n");
        assert_eq!(refused(&twice), Malformed::Repeated { name });
    }

    #[test]
    fn forwards_are_counted_down() {
        let with = |method: &str, left: &str| {
            format!("{method} http://a HTTP/1.1\r\nHost: a\r\nMax-Forwards: {left}\r\n\r\n")
        };
        let onward = |head: &str| String::from_utf8(forward(head).1.head(false, true)).unwrap();
        assert!(onward(&with("OPTIONS", "10")).contains("\r\nMax-Forwards: 9\r\n"));
        assert!(onward(&with("GET", "0")).contains("\r\nMax-Forwards: 0\r\n"));
        assert_eq!(refused(&with("TRACE", "0")), Malformed::MaxForwards);
        assert!(matches!(
            refused(&with("TRACE", "x")),
            Malformed::Value { .. }
        ));
    }

    #[test]
    fn start_lines_are_judged_before_the_fields_come() {
        for line in [
            "GET http://a/\r\n",
            "GET  http://a/ HTTP/1.1\r\n",
            "GET http://a/  HTTP/1.1\r\n",
            "GET http://a/ HTTP/1.1 \r\n",
            "GET http://a/ b HTTP/1.1\r\n",
            "G(T http://a/ HTTP/1.1\r\n",
            "GET\thttp://a/\tHTTP/1.1\r\n",
            "GET http://a/ FTP/1.1\r\n",
            "GET http://a/ HTTP/1.10\r\n",
            "\r\n\r\n",
        ] {
            assert_eq!(refused(line), Malformed::StartLine, "{line:?}");
        }
        for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/11"] {
            let line = format!("PRI * {version}\r\n");
            assert_eq!(refused(&line), Malformed::Version, "{version}");
        }
        assert_eq!(request(b"\r\nGET http://a/ HTTP/1.1\r\n"), Ok(None));
    }

    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "GET http://a/ HTTP/1.1\r\n",
            "CONNECT a:1 HTTP/1.1\r\n",
            "POST http://[::1]:81?x HTTP/1.0\r\n",
            "Host: a\r\n",
            "Content-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: close, x\r\n",
            "X: y\r\n",
            "X_Y: z\r\n",
            "\r\n",
            "\n",
            "\r",
            " ",
            ":",
            "X",
            "\u{0}",
        ]);
        proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(text in pieces()) {
            settled(request, text.as_bytes());
        }

        #[test]
        fn what_goes_on_is_the_same_request_to_the_same_host(
            method in "[A-Z]{1,8}",
            host in "[a-z][a-z0-9-]{0,8}(\\.[a-z]{2,4})?",
            port in 1u16..,
            path in "(/[!-\"$-~]{0,12})?",
            fields in proptest::collection::vec("X-[a-zA-Z]{1,8}:[ \t]{0,2}[!-~]{0,8}[ \t]{0,2}\r\n", 0..5),
            framing in prop::sample::select(vec!["", "Content-Length: 5\r\n", "Transfer-Encoding:\tCHUNKED\r\n"]),
            keep_alive in any::<bool>(),
        ) {
            prop_assume!(method != "CONNECT" && method != "OPTIONS");
            let text = format!("{method} http://{host}:{port}{path} HTTP/1.1\r\nHost: x\r\n{}{framing}\r\n", fields.concat());
            let (request_, used) = request(text.as_bytes()).unwrap().unwrap();
            prop_assert_eq!(used, text.len());
            let Kind::Forward(before) = request_.kind else { panic!("CONNECT") };
            let head = String::from_utf8(before.head(false, keep_alive)).unwrap();
            // What an origin gets is a request to us again once its target is whole.
            let again = head.replacen(" /", &format!(" http://{host}:{port}/"), 1);
            let (after, _) = request(again.as_bytes()).unwrap().unwrap();
            prop_assert_eq!(after.target, request_.target);
            prop_assert_eq!(after.keep_alive, keep_alive);
            let Kind::Forward(after) = after.kind else { panic!("CONNECT") };
            prop_assert_eq!(after.framing(), before.framing());
            prop_assert_eq!(after.head(false, keep_alive), head.into_bytes());
        }
    }
}
