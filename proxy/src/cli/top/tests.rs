use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

use super::draw::{draw, rate};
use super::state::{Mode, Order, Page, State, Wish};

fn page(sequence: u64) -> Page {
    let rates = |now: u64| json!({ "instantaneous": now, "average": now, "peak": now * 2, "smoothed": now });
    let user = |name: &str, down: u64, limit: Option<u64>, more: (&str, f64, Option<u64>)| {
        let (standing, throttled, quota) = more;
        json!({
            "name": name, "enabled": true, "standing": standing, "connections": 3, "addresses": 1,
            "up_Bps": rates(down / 10), "down_Bps": rates(down),
            "limit_shared_Bps": null, "limit_up_Bps": null, "limit_down_Bps": limit,
            "waiting": 1, "throttled_share": throttled, "upload_bytes": 1, "download_bytes": 1,
            "period_bytes": 9_000_000_000_u64, "quota_bytes": quota,
        })
    };
    let page = json!({
        "server": {
            "sequence": sequence, "at": 1, "users": 1_250, "sessions": 9, "waiting": 2,
            "up_Bps": rates(412_345), "down_Bps": rates(4_123_456),
        },
        "users": [
            user("ada", 990_000, Some(1_000_000), ("good", 0.9, Some(10_000_000_000))),
            user("<script>\u{1b}[2J", 2_500_000, None, ("good", 0.0, None)),
            user("erin", 40_000, Some(100_000), ("over-quota", 0.1, Some(9_000_000_000))),
        ],
    });
    serde_json::from_value(page).expect("a page as the server sends it")
}

fn press(state: &mut State, code: KeyCode) -> Option<Wish> {
    state.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn picture(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal
        .draw(|frame| draw(frame, state))
        .expect("a picture");
    terminal.backend().to_string()
}

#[test]
fn the_picture() {
    let mut state = State::default();
    for sequence in 1..=40 {
        state.take(page(sequence));
    }
    press(&mut state, KeyCode::Down);
    insta::assert_snapshot!(picture(&state, 96, 22));
}

#[test]
fn a_small_terminal_shows_the_table() {
    let mut state = State::default();
    state.take(page(1));
    insta::assert_snapshot!(picture(&state, 60, 8));
    // And none is too small.
    for (width, height) in [(1, 1), (3, 2), (20, 30), (200, 3)] {
        picture(&state, width, height);
    }
}

#[test]
fn nobody_is_there() {
    let state = State::default();
    assert!(picture(&state, 80, 24).contains("Nobody has moved anything yet."));
}

#[test]
fn users_are_sorted_and_the_choice_stays() {
    let mut state = State::default();
    state.take(page(1));
    let names = |state: &State| -> Vec<String> {
        state
            .page
            .users
            .iter()
            .map(|user| user.name.clone())
            .collect()
    };
    assert_eq!(names(&state)[1..], ["ada", "erin"]);
    press(&mut state, KeyCode::End);
    assert_eq!(state.chosen.as_deref(), Some("erin"));
    press(&mut state, KeyCode::Char('n'));
    assert_eq!(state.order, Order::Name);
    assert_eq!(names(&state)[1..], ["ada", "erin"]);
    state.take(page(2));
    assert_eq!(state.chosen.as_deref(), Some("erin"));
}

#[test]
fn a_rate_is_typed_and_sent() {
    let mut state = State::default();
    state.take(page(1));
    press(&mut state, KeyCode::Down);
    press(&mut state, KeyCode::Char('l'));
    for typed in "2 MB/sx".chars() {
        assert_eq!(press(&mut state, KeyCode::Char(typed)), None);
    }
    press(&mut state, KeyCode::Backspace);
    let wish = press(&mut state, KeyCode::Enter);
    let (user, rate) = ("ada".to_owned(), "2 MB/s".to_owned());
    assert_eq!(wish, Some(Wish::Limit { user, rate }));
    assert_eq!(state.mode, Mode::Look);
}

#[test]
fn sessions_end_after_a_yes_alone() {
    let mut state = State::default();
    state.take(page(1));
    press(&mut state, KeyCode::End);
    press(&mut state, KeyCode::Char('x'));
    assert_eq!(press(&mut state, KeyCode::Char('n')), None);
    press(&mut state, KeyCode::Char('x'));
    let user = "erin".to_owned();
    assert_eq!(
        press(&mut state, KeyCode::Char('y')),
        Some(Wish::Kill { user })
    );
    assert_eq!(press(&mut state, KeyCode::Char('q')), Some(Wish::Quit));
}

#[test]
fn the_same_second_is_one_point() {
    let mut state = State::default();
    state.take(page(7));
    state.take(page(7));
    state.take(page(8));
    assert_eq!(state.curve("ada").collect::<Vec<_>>(), [1_089_000; 2]);
}

#[test]
fn rates_have_three_digits() {
    let cases = [
        (0, "0 B/s"),
        (999, "999 B/s"),
        (1_000, "1.00 kB/s"),
        (12_345, "12.3 kB/s"),
    ];
    for (bytes, text) in cases {
        assert_eq!(rate(bytes), text);
    }
    assert_eq!(rate(123_456_789), "123 MB/s");
    assert_eq!(rate(u64::MAX), "18446744 TB/s");
}
