//! The routes of older proxies.

use serde_json::{Value, json};

use super::support::Proxy;
use proxy::Limits;

async fn start() -> Proxy {
    Proxy::start_with(Limits::Unlimited, |config| {
        config.admin.legacy_routes = true
    })
    .await
}

#[tokio::test]
async fn they_are_off_unless_asked_for() {
    let proxy = Proxy::start().await;
    for path in ["/user", "/userdb", "/user/ada"] {
        proxy.ask("GET", path, "").await.assert_problem(404, path);
    }
    proxy
        .ask("DELETE", "/deleteall", "")
        .await
        .assert_problem(404, "deleteall");
    assert_eq!(proxy.users.count(), 1);
}

#[tokio::test]
async fn those_of_seed_001s_sibling() {
    let proxy = start().await;
    let carl = |rate: u64| json!({ "username": "carl", "rate": rate });
    let added = proxy.ask("POST", "/add/carl/secret/5000", "").await;
    assert_eq!((added.status, added.json()), (201, carl(5_000)));
    proxy
        .ask("POST", "/add/carl/secret/5000", "")
        .await
        .assert_problem(409, "again");
    let all = json!([{ "username": "ada", "rate": null }, carl(5_000)]);
    assert_eq!(proxy.json("/user").await, all);
    let changed = proxy.ask("PUT", "/updaterate/carl/7000", "").await;
    assert_eq!(changed.json(), carl(7_000));
    let limits = proxy.users.get("carl").unwrap().limits.to_string();
    assert_eq!(limits, "down token-bucket:rate=7000B/s,burst=1500B");
    assert_eq!(
        proxy.ask("PUT", "/updatepwd/carl/other", "").await.status,
        200
    );
    for (status, method, path) in [
        (422, "PUT", "/updaterate/carl/0"),
        (400, "PUT", "/updaterate/carl/-1"),
        (400, "PUT", "/updaterate/carl/fast"),
        (404, "PUT", "/updaterate/nobody/5"),
        (404, "PUT", "/updatepwd/nobody/x"),
        (422, "POST", "/add/a%20b/x/5"),
        (405, "GET", "/deleteall"),
    ] {
        proxy
            .ask(method, path, "")
            .await
            .assert_problem(status, path);
    }
    assert_eq!(proxy.ask("DELETE", "/delete/carl", "").await.status, 204);
    proxy
        .ask("GET", "/user/carl", "")
        .await
        .assert_problem(404, "deleted");
    assert_eq!(
        proxy.ask("DELETE", "/deleteall", "").await.json()["deleted"],
        1
    );
    assert_eq!(proxy.json("/user").await, Value::Array(vec![]));
    let log = proxy.json("/api/v1/audit").await.to_string();
    assert!(
        log.contains("carl") && !log.contains("secret") && !log.contains("other"),
        "{log}"
    );
}

#[tokio::test]
async fn those_of_variant_five() {
    let proxy = start().await;
    let new = r#"{"name": "dora", "password": "secret", "bandwidth": 8}"#;
    assert_eq!(proxy.ask("POST", "/userdb", new).await.status, 201);
    assert_eq!(
        proxy.json("/userdb/dora").await,
        json!({ "name": "dora", "bandwidth": 8 })
    );
    let limits = proxy.users.get("dora").unwrap().limits.to_string();
    assert_eq!(limits, "token-bucket:rate=8192B/s,burst=1500B");
    let changed = proxy
        .ask("PUT", "/userdb/dora", r#"{"bandwidth": 16}"#)
        .await;
    assert_eq!(changed.json()["bandwidth"], 16);
    for (status, body) in [
        (422, r#"{"bandwidth": 0}"#),
        (422, r#"{"bandwidth": -1}"#),
        (422, r#"{"name": "other"}"#),
        (422, r#"{"rate": 5}"#),
        (400, "{"),
    ] {
        proxy
            .ask("PUT", "/userdb/dora", body)
            .await
            .assert_problem(status, body);
    }
    assert_eq!(proxy.json("/userdb").await.as_array().unwrap().len(), 2);
    assert_eq!(proxy.ask("DELETE", "/userdb/dora", "").await.status, 204);
    proxy
        .ask("DELETE", "/userdb/dora", "")
        .await
        .assert_problem(404, "deleted");
}
