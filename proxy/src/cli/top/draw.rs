//! The picture of a [`State`] in a terminal.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table, TableState};

use super::state::{Mode, Order, State, User};

/// The width of a bar, in characters.
const BAR: usize = 10;

/// The widths of the columns, of which the first takes what the others leave. There
/// are as many as the terminal has room for.
const WIDTHS: [u16; 7] = [12, 10, 10, 22, 5, 5, 10];

pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let curve = if frame.area().height >= 20 { 8 } else { 0 };
    let parts = [
        Constraint::Length(2),
        Constraint::Min(3),
        Constraint::Length(curve),
        Constraint::Length(1),
    ];
    let [head, table, chosen, foot] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(summary(state), head);
    users(frame, table, state);
    if curve > 0 {
        one(frame, chosen, state);
    }
    frame.render_widget(keys(state), foot);
}

fn summary(state: &State) -> Paragraph<'_> {
    let server = &state.page.server;
    let rates = Line::from(vec![
        "weirgate  ".bold(),
        Span::raw(format!(
            "down {}  up {}  (peaks {}, {})",
            rate(server.down.now()),
            rate(server.up.now()),
            rate(server.down.peak.unwrap_or(0)),
            rate(server.up.peak.unwrap_or(0)),
        )),
    ]);
    let numbers = format!(
        "{} users  {} sessions  {} waiting for a limit",
        server.users, server.sessions, server.waiting
    );
    Paragraph::new(vec![rates, Line::from(numbers).dim()])
}

fn users(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let mark = |order: Order, name: &'static str| {
        let style = if state.order == order {
            Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
        } else {
            Style::new()
        };
        Cell::from(name).style(style)
    };
    let head = [
        mark(Order::Name, "USER"),
        mark(Order::Down, "DOWN"),
        mark(Order::Up, "UP"),
        Cell::from("OF THE LIMIT"),
        Cell::from("QUOTA"),
        mark(Order::Sessions, "SESS"),
        Cell::from(""),
    ];
    let columns = columns(area.width);
    let widths = WIDTHS.iter().enumerate().take(columns);
    let widths = widths.map(|(at, &width)| match at {
        0 => Constraint::Min(width),
        _ => Constraint::Length(width),
    });
    let rows = state.page.users.iter();
    let rows = rows.map(|user| Row::new(cells(user).into_iter().take(columns)));
    let table = Table::new(rows, widths)
        .header(Row::new(head.into_iter().take(columns)).dim())
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut place = TableState::new().with_selected(state.chosen().map(|(at, _)| at));
    frame.render_stateful_widget(table, area, &mut place);
    if state.page.users.is_empty() {
        let area = Rect {
            y: area.y + 1,
            height: 1,
            ..area
        };
        frame.render_widget("Nobody has moved anything yet.", area);
    }
}

/// How many columns there is room for, with a space between them.
fn columns(width: u16) -> usize {
    let ends = WIDTHS.iter().scan(0_u16, |end, width| {
        *end += width + 1;
        Some(*end - 1)
    });
    ends.take_while(|end| *end <= width).count().max(1)
}

fn cells(user: &User) -> [Line<'_>; 7] {
    let limit = match user.binding() {
        None => Line::from("no limit").dim(),
        Some((share, limit)) => Line::from(vec![
            Span::styled(bar(share), tint(share)),
            Span::raw(format!(" {}", rate(limit))),
        ]),
    };
    let quota = match user.quota() {
        None => Line::from("-").dim(),
        Some(share) => Line::styled(percent(share), tint(share)),
    };
    let word = match (user.enabled, user.standing.as_str()) {
        (false, _) => "disabled",
        (true, "good") if user.throttled_share >= 0.5 => "throttled",
        (true, "good") => "",
        (true, other) => other,
    };
    [
        Line::raw(plain(&user.name)),
        Line::raw(rate(user.down.now())),
        Line::raw(rate(user.up.now())),
        limit,
        quota,
        Line::raw(user.connections.to_string()),
        Line::raw(word).yellow(),
    ]
}

/// The curve of the chosen user, as high as their limit.
fn one(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let Some((_, user)) = state.chosen() else {
        return;
    };
    let limit = user.limit_shared.or(user.limit_down).or(user.limit_up);
    let block = Block::bordered().dim().title(match limit {
        Some(limit) => format!(
            " {}: both directions, limit {} ",
            plain(&user.name),
            rate(limit)
        ),
        None => format!(" {}: both directions, no limit ", plain(&user.name)),
    });
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let mut data: Vec<u64> = state
        .curve(&user.name)
        .rev()
        .take(inside.width.into())
        .collect();
    data.reverse();
    let most = data.iter().copied().max().unwrap_or(0);
    let curve = Sparkline::default()
        .data(data)
        .max(most.max(limit.unwrap_or(0)).max(1))
        .style(Style::new().fg(Color::Blue));
    frame.render_widget(curve, inside);
}

fn keys(state: &State) -> Line<'_> {
    let chosen = || plain(state.chosen.as_deref().unwrap_or_default());
    match (&state.mode, &state.message) {
        (Mode::Rate(text), _) => Line::from(format!(
            "limit of {}, as in 2 MB/s or 40 kbit/s, or none: {text}_",
            chosen()
        ))
        .bold(),
        (Mode::Kill, _) => Line::from(format!("end all sessions of {}? y/n", chosen())).bold(),
        (Mode::Look, Some(message)) => Line::from(plain(message)).yellow(),
        (Mode::Look, None) => Line::from(
            "q quit  ↑↓ choose  l limit  x end sessions  sort by: d down  u up  s sessions  n name",
        )
        .dim(),
    }
}

fn bar(share: f64) -> String {
    let eighths = (share.clamp(0.0, 1.0) * BAR as f64 * 8.0).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 80"
    )]
    let eighths = eighths as usize;
    let mut bar = "█".repeat(eighths / 8);
    let rest = (eighths % 8).checked_sub(1);
    bar.extend(rest.and_then(|part| "▏▎▍▌▋▊▉".chars().nth(part)));
    format!("{bar:·<BAR$}")
}

fn tint(share: f64) -> Style {
    Style::new().fg(match share {
        share if share >= 0.95 => Color::Red,
        share if share >= 0.8 => Color::Yellow,
        _ => Color::Green,
    })
}

fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// A rate with three digits.
pub(super) fn rate(bytes: u64) -> String {
    let mut unit = 1_u64;
    for name in ["B/s", "kB/s", "MB/s", "GB/s"] {
        if bytes < unit.saturating_mul(1_000) {
            let (whole, part) = (bytes / unit, bytes % unit);
            return match (unit, whole) {
                (1, _) => format!("{whole} {name}"),
                (_, 0..=9) => format!("{whole}.{:02} {name}", part / (unit / 100)),
                (_, 10..=99) => format!("{whole}.{} {name}", part / (unit / 10)),
                _ => format!("{whole} {name}"),
            };
        }
        unit = unit.saturating_mul(1_000);
    }
    format!("{} TB/s", bytes / 1_000_000_000_000)
}

/// A name without what would steer the terminal.
fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}
