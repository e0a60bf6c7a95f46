//! A server whose accounts are in PostgreSQL.

use std::time::Duration;

use proxy::{Config, Database, Limits, PasswordCost, Users};
use tokio::io::AsyncWriteExt;

use crate::support::*;

#[path = "../common/postgres.rs"]
mod server;

use server::Postgres;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_keeps_exact_accounts_while_the_database_comes_and_goes() {
    let Some(mut postgres) = Postgres::start() else {
        return;
    };
    let database: Database = postgres.url().parse().unwrap();
    let in_postgres = |config: &mut Config| {
        config.database = database.clone();
        config.accounting_interval = Duration::from_millis(20);
    };
    let proxy = Proxy::start_with(Limits::Unlimited, in_postgres).await;
    let mut client = proxy.line(echo().await).await;
    let other = Users::open(&database, PasswordCost::LEAST).await.unwrap();
    other.add(user("bob", Limits::Unlimited)).await.unwrap();
    let known = async {
        while proxy.users.get("bob").is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(known).await;
    let hello = async |client: &mut tokio::net::TcpStream| {
        client.write_all(b"hello").await.unwrap();
        assert_eq!(read_exact(client, 5).await, b"hello");
    };
    hello(&mut client).await;
    tokio::task::block_in_place(|| postgres.stop());
    // Those who are known are served, and what they move is kept.
    hello(&mut client).await;
    hello(&mut proxy.line_as("bob", PASSWORD, echo().await).await).await;
    tokio::task::block_in_place(|| postgres.run());
    hello(&mut client).await;
    tokio::task::block_in_place(|| postgres.stop());
    hello(&mut client).await;
    drop(client);
    // It stops while the database is away, and waits for it.
    let stopping = tokio::spawn(proxy.stop());
    tokio::time::sleep(Duration::from_millis(100)).await;
    tokio::task::block_in_place(|| postgres.run());
    let (_, _folder) = stopping.await.unwrap();
    drop(other);
    let after = Users::open(&database, PasswordCost::LEAST).await.unwrap();
    let moved = |name| {
        after
            .usage(name)
            .map(|usage| (usage.upload_bytes, usage.download_bytes))
    };
    assert_eq!(moved(NAME), Some((20, 20)));
    assert_eq!(moved("bob"), Some((5, 5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_in_when_the_database_has_been_away_for_too_long() {
    let Some(mut postgres) = Postgres::start() else {
        return;
    };
    let database: Database = postgres.url().parse().unwrap();
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.database = database.clone();
        config.timeouts.database = Duration::from_millis(300);
    })
    .await;
    let target = echo().await;
    let mut client = proxy.line(target).await;
    let lets_in = async |wanted: bool| {
        while proxy.lets_in(target).await != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(proxy.lets_in(target).await);
    tokio::task::block_in_place(|| postgres.stop());
    in_time(lets_in(false)).await;
    // Whoever is in stays in.
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read_exact(&mut client, 5).await, b"hello");
    tokio::task::block_in_place(|| postgres.run());
    in_time(lets_in(true)).await;
}
