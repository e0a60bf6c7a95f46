//! `weirgate-proxy top`: who moves how much now, in a terminal.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use proxy::admin::{Ask, Client};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::Failure;
use super::settings::{AdminClientArg, DatabaseArg};

mod draw;
mod state;
#[cfg(test)]
mod tests;

use state::{Page, State, Wish};

/// From page to page: twice for each second of the server's.
const INTERVAL: Duration = Duration::from_millis(500);

#[derive(Args)]
pub(crate) struct Top {
    #[command(flatten)]
    admin: AdminClientArg,
    #[command(flatten)]
    database: DatabaseArg,
}

impl Top {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (client, _) = self.admin.client(&self.database.resolve(None))?;
        // Before the screen is taken: an error is to be read.
        let mut state = State::default();
        state.take(page(&client).await?);
        if !io::stdout().is_terminal() {
            return Err(Failure::request("`top` needs a terminal"));
        }
        let mut terminal = ratatui::try_init().map_err(Failure::environment)?;
        let done = follow(&mut terminal, &client, &mut state).await;
        ratatui::restore();
        done
    }
}

async fn page(client: &Client) -> Result<Page, Failure> {
    let page = client.ask(Ask::get("/api/v1/rates")).await;
    page.map_err(Failure::environment)
}

async fn follow(
    terminal: &mut DefaultTerminal,
    client: &Client,
    state: &mut State,
) -> Result<(), Failure> {
    let mut events = events();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let drawn = terminal.draw(|frame| draw::draw(frame, state));
        drawn.map_err(Failure::environment)?;
        tokio::select! {
            event = events.recv() => match event {
                None => return Ok(()),
                Some(Event::Key(key)) if key.kind == KeyEventKind::Press => {
                    state.message = None;
                    match state.key(key) {
                        Some(Wish::Quit) => return Ok(()),
                        Some(wish) => state.message = Some(grant(client, wish).await),
                        None => {}
                    }
                }
                Some(_) => {}
            },
            _ = ticks.tick() => match page(client).await {
                Ok(page) => state.take(page),
                // The server may start anew: what was seen last stays.
                Err(failure) => state.message = Some(failure.to_string()),
            },
        }
    }
}

/// Does what was asked for; what came of it.
async fn grant(client: &Client, wish: Wish) -> String {
    let said = match &wish {
        Wish::Quit => return String::new(),
        Wish::Limit { user, rate } => {
            let body = match rate.as_str() {
                "none" => json!({ "limit_shared": "none", "limit_up": null, "limit_down": null }),
                rate => json!({ "rate": rate }),
            };
            let path = Client::user(user);
            let changed = client.ask::<Value>(Ask::patch(&path, &body)).await;
            changed.map(|_| format!("{user}: limit {rate}"))
        }
        Wish::Kill { user } => {
            let path = format!("{}/sessions", Client::user(user));
            let killed = client.ask::<Value>(Ask::delete(&path)).await;
            killed.map(|killed| format!("{user}: {} sessions have ended", killed["killed"]))
        }
    };
    said.unwrap_or_else(|error| error.to_string())
}

/// What is typed: reading the terminal waits, so a thread does it.
fn events() -> mpsc::Receiver<Event> {
    let (sender, receiver) = mpsc::channel(64);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    receiver
}
