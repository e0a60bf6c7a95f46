//! Requests that two readers would take for different ones: none goes on, or it
//! goes on in a form that means one thing.
//!
//! The names are those of the known attacks: CL.TE, TE.CL, TE.TE, CL.CL, CL.0,
//! and the ways to hide a field or the end of a line from one of two readers.
#![expect(clippy::panic, reason = "helpers of tests are tests")]

use proxy::protocol::WireError;
use proxy::protocol::http::{Framing, Kind, Malformed, Status, Step, request};

/// The verdict on a POST with `fields` after Host.
fn post(fields: &str) -> Result<Framing, Malformed> {
    judge(format!("POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n").as_bytes())
}

fn judge(bytes: &[u8]) -> Result<Framing, Malformed> {
    match request(bytes) {
        Ok(Some((request, _))) => match request.kind {
            Kind::Forward(forward) => Ok(forward.framing()),
            Kind::Connect => panic!("no CONNECT here"),
        },
        Err(WireError::Http(malformed)) => Err(malformed),
        other => panic!("{other:?}"),
    }
}

#[test]
fn cl_te_and_te_cl() {
    for fields in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: chunked\r\nX: y\r\ncontent-length: 0\r\n",
    ] {
        assert_eq!(post(fields), Err(Malformed::TwoFramings), "{fields}");
    }
}

#[test]
fn te_te() {
    let name = "Transfer-Encoding";
    for fields in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\nTRANSFER-ENCODING: chunked\r\n",
    ] {
        assert_eq!(post(fields), Err(Malformed::Repeated { name }), "{fields}");
    }
    for value in [
        "xchunked",
        "chunked, chunked",
        "chunked, identity",
        "identity",
        "identity, chunked",
        "gzip, chunked",
        "chunked;q=1",
        "chunked,",
        ", chunked",
        "'chunked'",
        "\"chunked\"",
        "chunked chunked",
        "chun ked",
        "\u{a0}chunked",
        "chunked\u{ff}",
        "",
    ] {
        let fields = format!("Transfer-Encoding: {value}\r\n");
        assert_eq!(post(&fields), Err(Malformed::Coding), "{value:?}");
    }
    for (value, expected) in [
        ("\x0bchunked", Malformed::Control),
        ("chunked\x0c", Malformed::Control),
        ("chunked\0", Malformed::Control),
        ("\x08chunked", Malformed::Control),
        ("chunked\x7f", Malformed::Control),
        ("chunked\r", Malformed::LineEnd),
        ("\n chunked", Malformed::LineEnd),
        ("\r\n chunked", Malformed::Folded),
        ("\r\n\tchunked", Malformed::Folded),
        ("x\r\n chunked", Malformed::Folded),
    ] {
        let fields = format!("Transfer-Encoding: {value}\r\n");
        assert_eq!(post(&fields), Err(expected), "{value:?}");
    }
    assert_eq!(
        judge(b"POST http://a/ HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Err(Malformed::Coding),
        "HTTP/1.0 has no transfer codings"
    );
}

#[test]
fn names_that_only_some_recognise() {
    for name in [
        "Transfer-Encoding ",
        "Transfer-Encoding\t",
        "Transfer Encoding",
        "Transfer-Encoding\u{a0}",
        "\u{2003}Transfer-Encoding",
        "Transfer-Encoding(x)",
        "\"Transfer-Encoding\"",
        "Content-Length ",
        "Content-Length\t",
        "",
    ] {
        let fields = format!("{name}: chunked\r\n");
        assert_eq!(post(&fields), Err(Malformed::Field), "{name:?}");
    }
    for name in [" Transfer-Encoding", "\tTransfer-Encoding"] {
        let fields = format!("{name}: chunked\r\n");
        assert_eq!(post(&fields), Err(Malformed::Folded), "{name:?}");
        let first = format!("POST http://a/ HTTP/1.1\r\n{fields}Host: a\r\n\r\n");
        assert_eq!(judge(first.as_bytes()), Err(Malformed::Folded), "{name:?}");
    }
    for name in [
        "Transfer_Encoding",
        "transfer_encoding",
        "Content_Length",
        "Proxy_Authorization",
        "Proxy_Connection",
    ] {
        let fields = format!("{name}: 5\r\n");
        assert_eq!(post(&fields), Err(Malformed::Disguised), "{name}");
    }
    assert_eq!(post("X_Content_Length: 5\r\n"), Ok(Framing::None));
}

#[test]
fn cl_cl_and_odd_lengths() {
    let name = "Content-Length";
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nCONTENT-LENGTH: 5\r\n",
    ] {
        assert_eq!(post(fields), Err(Malformed::Repeated { name }), "{fields}");
    }
    for value in [
        "",
        "+5",
        "-5",
        "+ 5",
        "5, 5",
        "5,6",
        "5 6",
        "0x5",
        "5.0",
        "5e0",
        "5;",
        "5\u{a0}",
        "٥",
        "5_0",
        "'5'",
        "18446744073709551617",
        "9223372036854775808",
        "00000000000000000000000000000000000x",
    ] {
        let fields = format!("Content-Length: {value}\r\n");
        assert_eq!(post(&fields), Err(Malformed::Value { name }), "{value:?}");
    }
    for value in ["5", "0005", "\t5 ", " \t 5"] {
        let fields = format!("Content-Length:{value}\r\n");
        assert_eq!(post(&fields), Ok(Framing::Length(5)), "{value:?}");
    }
    for value in ["\x0b5", "5\0", "\0"] {
        let fields = format!("Content-Length: {value}\r\n");
        assert_eq!(post(&fields), Err(Malformed::Control), "{value:?}");
    }
}

#[test]
fn ends_of_lines() {
    for head in [
        &b"POST http://a/ HTTP/1.1\nHost: a\r\n\r\n"[..],
        b"POST http://a/ HTTP/1.1\r\nHost: a\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST http://a/ HTTP/1.1\r\nHost: a\rTransfer-Encoding: chunked\r\n\r\n",
        b"POST http://a/ HTTP/1.1\r\nHost: a\r\r\n\r\n",
        b"POST http://a/ HTTP/1.1\r\nHost: a\r\n\nGET http://b/ HTTP/1.1\r\n\r\n",
        b"POST http://a/ HTTP/1.1\r\nX: y\r\n\r\r\n",
        b"POST http://a/ HTTP/1.1\r\nX: y\r\n\rX\r\n\r\n",
    ] {
        let text = String::from_utf8_lossy(head);
        assert_eq!(judge(head), Err(Malformed::LineEnd), "{text:?}");
    }
}

#[test]
fn connection_options_cannot_remove_what_matters() {
    let head = b"POST http://a.example/ HTTP/1.1\r\nHost: evil\r\nConnection: host, content-length, close\r\nContent-Length: 5\r\n\r\n";
    let (request, _) = request(head).unwrap().unwrap();
    let Kind::Forward(forward) = request.kind else {
        panic!("no CONNECT here")
    };
    assert_eq!(
        forward.head(false, true),
        b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\n"
    );
    let name = "Connection";
    for value in ["a b", "a;b", "\"close\"", "(close)"] {
        let fields = format!("Connection: {value}\r\n");
        assert_eq!(post(&fields), Err(Malformed::Value { name }), "{value}");
    }
    let many = format!("Connection: {}\r\n", "a, ".repeat(40));
    assert_eq!(post(&many), Err(Malformed::Value { name }));
}

/// A body that pretends to end early, with another request behind it: that one
/// is a request of its own here as well, with credentials of its own.
#[test]
fn exactly_one_body_goes_on() {
    let smuggled = b"GET http://b.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n";
    for (fields, body) in [
        ("Content-Length: 5\r\n", &b"0\r\n\r\n"[..]),
        ("Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        (
            "Transfer-Encoding: chunked\r\n",
            b"1d\r\nGET /admin HTTP/1.1\r\nX: y\r\n\r\n\r\n0\r\n\r\n",
        ),
        ("", b""),
    ] {
        let head = format!("POST http://a.example/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let stream = [head.as_bytes(), body, smuggled].concat();
        let (first, used) = request(&stream).unwrap().unwrap();
        let Kind::Forward(forward) = first.kind else {
            panic!("no CONNECT here")
        };
        let (mut state, mut rest, mut sent) = (forward.body(), &stream[used..], Vec::<u8>::new());
        while let Some(Step::Forward(count)) = state.step(rest).unwrap() {
            sent.extend(&rest[..count]);
            rest = &rest[count..];
        }
        assert!(state.has_ended());
        assert_eq!(sent, body);
        assert_eq!(rest, smuggled);
        let (second, _) = request(rest).unwrap().unwrap();
        assert_eq!(second.target.to_string(), "b.example:80");
        assert_eq!(second.credentials, None, "one login is not another's");
    }
}

#[test]
fn everything_is_answered_and_nothing_stays_open() {
    for (fields, code) in [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: gzip\r\n", 501),
    ] {
        let head = format!("POST http://a/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let status = Status::of(request(head.as_bytes()).unwrap_err());
        assert_eq!(status as u16, code);
        let answer = String::from_utf8(status.answer(false)).unwrap();
        assert!(answer.contains("\r\nConnection: close\r\n"));
    }
}
