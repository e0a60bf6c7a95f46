//! From the JSON of a frame to a request that can be sent.

use http::header::{HOST, HeaderName, HeaderValue, VIA};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::Value;

use super::fault::Fault;
use super::message::{Encoding, RequestText};
use super::upstream;
use crate::protocol::http::{MAX_FIELDS, PSEUDONYM, basic, is_for_one_hop};
use crate::protocol::{Credentials, Target};

/// A request as its client has written it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request<Full<Bytes>>,
    pub(super) target: Target,
    pub(super) credentials: Option<Credentials>,
    /// How the answer's body is to be written.
    pub(super) body_encoding: Option<Encoding>,
    /// The client's own.
    pub(super) request_id: Option<String>,
}

/// Reads the data of a blob.
///
/// # Errors
/// [`Fault::BadRequest`]
pub(super) fn read(data: &[u8]) -> Result<Asked, Fault> {
    let bad = |why: String| Fault::BadRequest(why);
    let text: RequestText =
        serde_json::from_slice(data).map_err(|error| bad(format!("no request: {error}")))?;
    let url = text.url.as_deref().filter(|url| !url.is_empty());
    let url = url.ok_or_else(|| bad("there is no url".into()))?;
    let uri: Uri = written_out(url)
        .parse()
        .map_err(|error| bad(format!("the url: {error}")))?;
    let target = upstream::target(&uri)
        .ok_or_else(|| bad("the url is none of http:// or https:// with a host".into()))?;
    let body = text.post_data.unwrap_or_default();
    let body = Encoding::bytes(text.post_data_encoding, body)
        .map_err(|error| bad(format!("post_data {error}")))?;
    let method = method(text.method.as_deref(), &body)?;
    let mut headers = headers(&text.headers)?;
    let named = text.user.map(|name| Credentials {
        name: name.into_bytes(),
        password: text.password.unwrap_or_default().into_bytes(),
    });
    let field = headers.remove("proxy-authorization");
    let credentials = named.or_else(|| basic::decode(field?.as_bytes()));
    let request_id = headers.get("x-request-id").and_then(client_id);
    drop_hop_by_hop(&mut headers);
    headers.remove(HOST);
    headers.remove("expect");
    if let Ok(via) = HeaderValue::from_str(&format!("1.1 {PSEUDONYM}")) {
        headers.append(VIA, via);
    }
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(Asked {
        request,
        target,
        credentials,
        body_encoding: text.body_encoding,
        request_id,
    })
}

/// Removes what is for one connection.
pub(super) fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let options: Vec<_> = headers
        .get_all("connection")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|option| HeaderName::try_from(option.trim()).ok())
        .collect();
    let names: Vec<_> = headers
        .keys()
        .filter(|name| is_for_one_hop(name.as_str()))
        .cloned()
        .chain(options)
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// The seed's rule where the client does not choose: POST if there are data.
fn method(said: Option<&str>, body: &[u8]) -> Result<Method, Fault> {
    let bad = || Fault::BadRequest("the method cannot be served".into());
    match said {
        None if body.is_empty() => Ok(Method::GET),
        None => Ok(Method::POST),
        Some(method) => {
            let method = Method::from_bytes(method.as_bytes()).map_err(|_| bad())?;
            (method != Method::CONNECT)
                .then_some(method)
                .ok_or_else(bad)
        }
    }
}

fn headers(said: &serde_json::Map<String, Value>) -> Result<HeaderMap, Fault> {
    let mut headers = HeaderMap::new();
    for (name, value) in said {
        let bad = || Fault::BadRequest(format!("the header {name:?} cannot be sent"));
        let key = HeaderName::try_from(name.as_str()).map_err(|_| bad())?;
        let mut add = |value: &Value| {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => return Err(bad()),
            };
            let bytes = Encoding::bytes(Some(Encoding::Latin1), text.clone());
            let bytes = bytes.unwrap_or_else(|_| text.into_bytes());
            let value = HeaderValue::from_bytes(&bytes).map_err(|_| bad())?;
            if headers.len() >= MAX_FIELDS {
                return Err(Fault::BadRequest("too many headers".into()));
            }
            headers.append(key.clone(), value);
            Ok(())
        };
        match value {
            Value::Null => {}
            Value::Array(values) => values.iter().try_for_each(add)?,
            value => add(value)?,
        }
    }
    Ok(headers)
}

/// A URL with what must not stand in one as it is percent-encoded, and without
/// its fragment.
fn written_out(url: &str) -> String {
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    let mut out = String::with_capacity(url.len());
    for byte in url.trim().bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                out.push_str(&format!("%{byte:02X}"));
            }
            0x21..=0x7e => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// An identifier that may go on as it is.
fn client_id(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?;
    let sound = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    sound.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(json: &str) -> Result<Asked, String> {
        read(json.as_bytes()).map_err(|fault| {
            assert_eq!(fault.status(), 400, "{fault}");
            fault.to_string()
        })
    }

    #[test]
    fn what_the_seed_sends() {
        let get = asked(r#"{"url":"https://a.example/x","headers":{"A":"1"}}"#).unwrap();
        assert_eq!(get.request.method(), Method::GET);
        assert_eq!(get.target.to_string(), "a.example:443");
        assert_eq!(get.request.headers()["a"], "1");
        let json = r#"{"url":"http://a.example","headers":{},"post_data":"x=1"}"#;
        assert_eq!(asked(json).unwrap().request.method(), Method::POST);
        let json = r#"{"url":"http://a.example","post_data":""}"#;
        assert_eq!(asked(json).unwrap().request.method(), Method::GET);
        let odd = asked(r#"{"url":"http://a.example/\u00e9 b#f"}"#).unwrap();
        assert_eq!(odd.request.uri(), "http://a.example/%C3%A9%20b");
    }

    #[test]
    fn the_client_chooses_method_and_bytes() {
        let json = r#"{"url":"http://a/","method":"PUT","post_data":"/wA=",
            "post_data_encoding":"base64","headers":{"x":["1","2"]}}"#;
        let put = asked(json).unwrap();
        assert_eq!(put.request.method(), Method::PUT);
        assert_eq!(put.request.headers().get_all("x").iter().count(), 2);
    }

    #[test]
    fn what_is_not_for_the_target_stays_here() {
        let json = r#"{"url":"http://a/","headers":{"Host":"evil","Connection":"x-own, close",
            "X-Own":"1","Proxy-Authorization":"Basic YWRhOnB3","Transfer-Encoding":"chunked",
            "Content-Length":"7","X-Request-ID":"mine"}}"#;
        let asked = asked(json).unwrap();
        let names: Vec<_> = asked.request.headers().keys().collect();
        assert_eq!(names, ["x-request-id", "via"]);
        assert_eq!(asked.credentials.unwrap().password, b"pw");
        assert_eq!(asked.request_id.unwrap(), "mine");
    }

    #[test]
    fn what_is_no_request_is_told_why() {
        for (json, why) in [
            ("", "no request"),
            ("[]", "no url"),
            ("{}", "no url"),
            (r#"{"url":""}"#, "no url"),
            (r#"{"url":"ftp://a/"}"#, "none of http"),
            (r#"{"url":"http://ada:pw@a/"}"#, "none of http"),
            (r#"{"url":"http://a/","method":"CONNECT"}"#, "method"),
            (r#"{"url":"http://a/","method":"A B"}"#, "method"),
            (
                r#"{"url":"http://a/","headers":{"a b":"1"}}"#,
                "cannot be sent",
            ),
            (
                r#"{"url":"http://a/","headers":{"a":"1\r\n2"}}"#,
                "cannot be sent",
            ),
            (
                r#"{"url":"http://a/","headers":{"a":{}}}"#,
                "cannot be sent",
            ),
            (
                r#"{"url":"http://a/","post_data":"!","post_data_encoding":"base64"}"#,
                "is not base64",
            ),
        ] {
            let said = asked(json).unwrap_err();
            assert!(said.contains(why), "{json}: {said}");
        }
    }
}
