//! Accounts: what changes them, who sees it, what is kept.

use std::time::Duration;

use proxy::users::StoreError;
use proxy::{BindError, Config, Database, Limits, PasswordCost, Server, UserError, Users};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

/// Another process with the same database, as the command line is.
async fn other_process(proxy: &Proxy) -> Users {
    let database = Database::file(proxy.folder.path().join("users.db"));
    Users::open(&database, PasswordCost::LEAST).await.unwrap()
}

#[tokio::test]
async fn a_running_server_follows_other_processes() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let target = echo().await;
    let cli = other_process(&proxy).await;
    cli.add(user("bob", Limits::Unlimited)).await.unwrap();
    let known = async {
        while proxy.users.get("bob").is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(known).await;
    let mut client = proxy.line_as("bob", PASSWORD, target).await;
    let policy = "token-bucket:rate=1B/s,burst=1B".parse().unwrap();
    cli.set_limits("bob", Limits::Shared(policy)).await.unwrap();
    let limited = async {
        while proxy.users.get("bob").unwrap().limits != Limits::Shared(policy) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(limited).await;
    cli.remove("bob").await.unwrap();
    // The open connection is closed, and no new one is opened.
    client.write_all(b"x").await.unwrap();
    while let Ok(1..) = in_time(client.read(&mut [0; 16])).await {}
    let mut again = proxy.connect().await;
    again
        .write_all(format!("127.0.0.1 {} bob {PASSWORD}\r\n", target.port()).as_bytes())
        .await
        .unwrap();
    assert_eq!(read_to_end(&mut again).await, b"");
}

#[tokio::test]
async fn whoever_is_disabled_or_has_a_new_password_is_out_at_once() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let target = echo().await;
    let mut client = proxy.line(target).await;
    proxy.users.set_enabled(NAME, false).await.unwrap();
    assert!(!matches!(in_time(client.read(&mut [0])).await, Ok(1..)));
    let mut refused = proxy.connect().await;
    refused
        .write_all(&socks5_login(NAME, PASSWORD))
        .await
        .unwrap();
    assert_eq!(read_to_end(&mut refused).await, [5, 2, 1, 1]);
    proxy.users.set_enabled(NAME, true).await.unwrap();
    let mut client = proxy.line(target).await;
    proxy.users.set_password(NAME, b"new").await.unwrap();
    assert!(!matches!(in_time(client.read(&mut [0])).await, Ok(1..)));
    let mut refused = proxy.connect().await;
    refused
        .write_all(&socks5_login(NAME, PASSWORD))
        .await
        .unwrap();
    assert_eq!(read_to_end(&mut refused).await, [5, 2, 1, 1]);
    drop(proxy.line_as(NAME, "new", target).await);
}

/// Whether a login by SOCKS5 succeeds.
async fn logs_in(proxy: &Proxy, name: &str, password: &str) -> bool {
    let mut client = proxy.connect().await;
    client
        .write_all(&socks5_login(name, password))
        .await
        .unwrap();
    assert_eq!(read_exact(&mut client, 3).await, [5, 2, 1]);
    read_exact(&mut client, 1).await == [0]
}

#[tokio::test]
async fn whoever_guesses_has_to_wait_and_neighbours_do_not() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let users = ["bob", "eve"].map(|name| user(name, Limits::Unlimited));
    proxy.users.add_many(users).await.unwrap();
    assert!(logs_in(&proxy, "bob", PASSWORD).await);
    for guess in 0..10 {
        assert!(!logs_in(&proxy, NAME, &format!("guess {guess}")).await);
    }
    // The right password is not even looked at, nor is another name from there.
    assert!(!logs_in(&proxy, NAME, PASSWORD).await);
    assert!(!logs_in(&proxy, "eve", PASSWORD).await);
    assert!(logs_in(&proxy, "bob", PASSWORD).await, "he was here before");
    let later = async { while !logs_in(&proxy, NAME, PASSWORD).await {} };
    in_time(later).await;
}

#[tokio::test]
async fn the_same_wrong_password_again_and_again_locks_nobody_out() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    for _ in 0..50 {
        assert!(!logs_in(&proxy, NAME, "wrong").await);
    }
    assert!(logs_in(&proxy, NAME, PASSWORD).await);
}

#[tokio::test]
async fn nothing_but_hashes_is_stored() {
    const UNMISTAKABLE: &str = "unmistakable-password";
    let proxy = Proxy::start(Limits::Unlimited).await;
    proxy
        .users
        .set_password(NAME, UNMISTAKABLE.as_bytes())
        .await
        .unwrap();
    drop(proxy.line_as(NAME, UNMISTAKABLE, echo().await).await);
    // Kept: the last to let go of the database takes its log away.
    let (_users, folder) = proxy.stop().await;
    let mut seen = false;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let holds = |text: &str| bytes.windows(text.len()).any(|at| at == text.as_bytes());
        seen |= holds(NAME);
        assert!(!holds(UNMISTAKABLE));
    }
    assert!(seen, "the test looks at the right files");
}

#[tokio::test]
async fn accounts_survive_a_restart() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let policy = "token-bucket:rate=5000B/s,burst=5000B".parse().unwrap();
    proxy
        .users
        .set_limits(NAME, Limits::down(policy))
        .await
        .unwrap();
    let mut client = proxy.line(echo().await).await;
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read_exact(&mut client, 5).await, b"hello");
    drop(client);
    let (before, folder) = proxy.stop().await;
    let before = before.list();
    assert_eq!(before[0].usage.upload_bytes, 5);
    let database = Database::file(folder.path().join("users.db"));
    let after = Users::open(&database, PasswordCost::LEAST)
        .await
        .unwrap()
        .list();
    assert_eq!(after, before);
}

#[tokio::test]
async fn usage_reaches_the_database_while_connections_are_open() {
    let soon = |config: &mut Config| config.accounting_interval = Duration::from_millis(20);
    let proxy = Proxy::start_with(Limits::Unlimited, soon).await;
    let mut client = proxy.line(echo().await).await;
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read_exact(&mut client, 5).await, b"hello");
    let written = async {
        while other_process(&proxy)
            .await
            .usage(NAME)
            .unwrap()
            .download_bytes
            != 5
        {}
    };
    in_time(written).await;
    client.write_all(b"again").await.unwrap();
    assert_eq!(read_exact(&mut client, 5).await, b"again");
    assert_eq!(proxy.users.usage(NAME).unwrap().upload_bytes, 10);
}

#[tokio::test]
async fn mistakes_are_named() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let users = &proxy.users;
    let taken = users.add(user(NAME, Limits::Unlimited)).await.unwrap_err();
    assert!(matches!(taken, UserError::Store(StoreError::Exists { name }) if name == NAME));
    for name in ["", "two words", "line\nbreak", &"a".repeat(256)] {
        let error = users.add(user(name, Limits::Unlimited)).await.unwrap_err();
        assert!(matches!(error, UserError::Name { .. }), "{error}");
    }
    for unknown in [
        users.remove("nobody").await,
        users.set_enabled("nobody", true).await,
        users.set_limits("nobody", Limits::Unlimited).await,
    ] {
        assert!(matches!(
            unknown,
            Err(UserError::Store(StoreError::Unknown { .. }))
        ));
    }
    assert_eq!(users.list().len(), 1);
}

#[tokio::test]
async fn a_thousand_users_are_added_at_once() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let many = (0..1_000).map(|number| user(&format!("user{number}"), Limits::Unlimited));
    proxy.users.add_many(many).await.unwrap();
    drop(proxy.line_as("user999", PASSWORD, echo().await).await);
}

#[tokio::test]
async fn a_taken_port_is_named_with_a_remedy() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let mut config = Config::new(Database::file(proxy.folder.path().join("other.db")));
    config.listen = vec![proxy.address];
    let error = Server::bind(config.clone()).await.unwrap_err();
    assert!(matches!(error, BindError::Listen { address, .. } if address == proxy.address));
    let said = error.to_string();
    assert!(
        said.contains(&proxy.address.to_string()) && said.contains("choose another port"),
        "{said}"
    );
    config.listen.clear();
    assert!(matches!(
        Server::bind(config).await,
        Err(BindError::NoAddress)
    ));
}
