//! What goes to targets and what comes back: bodies, headers, methods, budgets.

use proxy::Limits;
use serde_json::json;

use crate::client::{ask, get, ok, origin, service, service_with};
use crate::support::NAME;

#[tokio::test]
async fn bodies_of_bytes_go_there_and_back() {
    let echo = origin(|_, body| async move { ok("", &body) }).await;
    let proxy = service(|_| ()).await;
    let bytes: Vec<u8> = (0..=255).collect();
    let latin1: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    let request = json!({
        "url": format!("http://{echo}/"), "headers": {}, "method": "PUT",
        "post_data": latin1, "post_data_encoding": "latin-1",
    });
    let answer = ask(proxy.address, &request).await;
    assert_eq!(answer["body"].as_str().unwrap(), latin1);
    assert_eq!(answer["body_encoding"], "latin-1");
    let mut request = request;
    request["body_encoding"] = "base64".into();
    let answer = ask(proxy.address, &request).await;
    assert!(answer["body"].as_str().unwrap().starts_with("AAECAwQF"));
    assert_eq!(answer["body_encoding"], "base64");
    let text = json!({ "url": format!("http://{echo}/"), "post_data": "caf\u{e9} \u{4e2d}" });
    let answer = ask(proxy.address, &text).await;
    assert_eq!(answer["body"], "caf\u{e9} \u{4e2d}");
    assert!(answer.get("body_encoding").is_none());
}

#[tokio::test]
async fn repeated_headers_are_kept_both_ways() {
    let cookies = origin(|head, _| async move {
        let twice = head.to_ascii_lowercase().matches("x-two: ").count();
        let fields = format!("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Seen: {twice}\r\n");
        ok(&fields, b"")
    })
    .await;
    let proxy = service(|_| ()).await;
    let request =
        json!({ "url": format!("http://{cookies}/"), "headers": { "X-Two": ["1", "2"] } });
    let answer = ask(proxy.address, &request).await;
    assert_eq!(answer["headers"]["x-seen"], "2");
    let lines = answer["header_list"].as_array().unwrap();
    assert!(lines.contains(&json!(["set-cookie", "a=1"])));
    assert!(lines.contains(&json!(["set-cookie", "b=2"])));
}

#[tokio::test]
async fn an_answer_that_fits_no_frame_is_a_bad_gateway() {
    let large = origin(|_, _| async { ok("", &vec![b'x'; 10 << 20]) }).await;
    let endless = origin(|_, _| async {
        let mut words = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..12 {
            words.extend(b"100000\r\n");
            words.extend(vec![b'x'; 1 << 20]);
            words.extend(b"\r\n");
        }
        words
    })
    .await;
    let proxy = service(|_| ()).await;
    for origin in [large, endless] {
        let answer = ask(proxy.address, &get(&format!("http://{origin}/"))).await;
        assert_eq!(answer["status_code"], 502);
        assert_eq!(answer["error"], "the answer is too long for a frame");
    }
}

#[tokio::test]
async fn frames_draw_from_the_users_budget_and_are_accounted() {
    let body = origin(|_, _| async { ok("", &vec![b'x'; 60_000]) }).await;
    let limits = Limits::down("token-bucket:rate=100kB/s,burst=10kB".parse().unwrap());
    let proxy = service_with(limits, |_| ()).await;
    let since = std::time::Instant::now();
    let answer = ask(proxy.address, &get(&format!("http://{body}/"))).await;
    assert_eq!(answer["body"].as_str().unwrap().len(), 60_000);
    // 60,000 bytes and their frame, 10,000 of them at once.
    assert!(
        since.elapsed().as_secs_f64() > 0.49,
        "{:?}",
        since.elapsed()
    );
    let mut usage = proxy.users.usage(NAME).unwrap();
    for _ in 0..100 {
        if usage.download_bytes > 60_000 && usage.upload_bytes > 60 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        usage = proxy.users.usage(NAME).unwrap();
    }
    assert!(
        (60_000..61_000).contains(&usage.download_bytes),
        "{usage:?}"
    );
    assert!((60..1_000).contains(&usage.upload_bytes), "{usage:?}");
}

#[tokio::test]
async fn every_request_has_an_identifier() {
    let mirror = origin(|head, _| async move { ok("", head.as_bytes()) }).await;
    let proxy = service(|_| ()).await;
    let one = ask(proxy.address, &get(&format!("http://{mirror}/"))).await;
    let two = ask(proxy.address, &get(&format!("http://{mirror}/"))).await;
    let id = one["request_id"].as_str().unwrap();
    assert!(id.len() >= 24 && one["request_id"] != two["request_id"]);
    let got = one["body"].as_str().unwrap();
    assert!(got.contains(&format!("x-request-id: {id}")), "{got}");
    let own = json!({ "url": format!("http://{mirror}/"), "headers": { "X-Request-ID": "mine" } });
    assert_eq!(ask(proxy.address, &own).await["request_id"], "mine");
}
