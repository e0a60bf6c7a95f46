//! Records as tables for people.

use comfy_table::{CellAlignment, ContentArrangement, Table, TableStyle};
use serde_json::Value;

/// Puts the records of one instant together.
pub(super) struct Screen {
    terminal: bool,
    records: Vec<Value>,
}

impl Screen {
    pub(super) const fn new(terminal: bool) -> Self {
        Self {
            terminal,
            records: Vec::new(),
        }
    }

    /// The table of the instant before, once a record of the next has come.
    pub(super) fn take(&mut self, record: Value) -> Option<String> {
        let new = |last: &Value| last["timestamp"] != record["timestamp"];
        let done = self.records.last().is_some_and(new);
        let table = done.then(|| self.draw());
        if done {
            self.records.clear();
        }
        self.records.push(record);
        table
    }

    /// The last table.
    pub(super) fn finish(&self) -> Option<String> {
        (!self.records.is_empty()).then(|| self.draw())
    }

    fn draw(&self) -> String {
        let heads = [
            "rule", "flow", "offered", "passed", "smoothed", "peak", "average", "dropped", "total",
        ];
        let mut table = Table::new();
        table
            .load_style(TableStyle::new())
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(heads);
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        for record in &self.records {
            table.add_row(row(record));
        }
        // A terminal shows the newest alone.
        let clear = if self.terminal { "\x1b[H\x1b[2J" } else { "" };
        let stamp = self
            .records
            .first()
            .map(|record| text(&record["timestamp"]));
        format!("{clear}{}\n{table}\n", stamp.unwrap_or_default())
    }
}

fn row(record: &Value) -> Vec<String> {
    let flow = match record.get("src_ip") {
        None => String::new(),
        Some(_) => format!(
            "{} {}:{} > {}:{}",
            text(&record["protocol"]),
            text(&record["src_ip"]),
            record["src_port"],
            text(&record["dst_ip"]),
            record["dst_port"]
        ),
    };
    vec![
        text(&record["rule"]),
        flow,
        rate(&record["offered"]["instant_Bps"]),
        rate(&record["passed"]["instant_Bps"]),
        rate(&record["passed"]["smoothed_Bps"]),
        rate(&record["passed"]["peak_Bps"]),
        rate(&record["passed"]["average_Bps"]),
        rate(&record["dropped"]["instant_Bps"]),
        bytes(&record["passed"]["bytes"]),
    ]
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn rate(value: &Value) -> String {
    if value.is_null() {
        return "-".to_owned();
    }
    format!("{}/s", bytes(value))
}

/// Three digits and a decimal prefix.
fn bytes(value: &Value) -> String {
    let mut amount = value.as_f64().unwrap_or_default();
    for unit in ["B", "kB", "MB", "GB"] {
        if amount < 1_000.0 {
            let digits = if unit == "B" || amount >= 100.0 { 0 } else { 2 };
            return format!("{amount:.digits$} {unit}");
        }
        amount /= 1_000.0;
    }
    format!("{amount:.2} TB")
}

/// What `list` says.
pub(super) fn listed(listed: &Value) -> String {
    let empty = Vec::new();
    let array = |key: &str| listed[key].as_array().unwrap_or(&empty).clone();
    let places: Vec<String> = array("attached").iter().map(text).collect();
    let mut out = format!(
        "process {}, {}\nattached to {}\n",
        listed["pid"],
        text(&listed["file"]),
        places.join(", ")
    );
    for rule in array("rules") {
        let count = |side: &str| {
            let (amount, packets) = (&rule[side]["bytes"], &rule[side]["packets"]);
            format!("{side} {amount} B in {packets} packets")
        };
        out.push_str(&format!(
            "{} ({})\n    {}, {}\n",
            text(&rule["text"]),
            text(&rule["hook"]),
            count("passed"),
            count("dropped")
        ));
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_are_short() {
        let cases = [
            (json!(0), "0 B"),
            (json!(999), "999 B"),
            (json!(1_500), "1.50 kB"),
            (json!(123_456_789), "123 MB"),
            (json!(5_000_000_000_000_u64), "5.00 TB"),
        ];
        for (value, expected) in cases {
            assert_eq!(bytes(&value), expected);
        }
        assert_eq!(rate(&Value::Null), "-");
    }

    #[test]
    fn a_table_is_drawn_when_its_instant_is_over() {
        let record = |stamp: &str| json!({"timestamp": stamp, "rule": "downloads"});
        let mut screen = Screen::new(false);
        assert_eq!(screen.take(record("00:00:01.000")), None);
        assert_eq!(screen.take(record("00:00:01.000")), None);
        let table = screen.take(record("00:00:02.000")).unwrap();
        assert_eq!(table.matches("downloads").count(), 2, "{table}");
        assert!(screen.finish().unwrap().starts_with("00:00:02.000"));
    }
}
