//! The two forms of output, and what all results have in common.

use clap::ValueEnum;
use comfy_table::{Cell, Table, presets};
use conclave_client::Reply;
use serde_json::{Value, json};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

/// Adds what every answer carries: the request's id and its revision.
pub(crate) fn with_meta<T>(mut json: Value, reply: &Reply<T>) -> Value {
    json["request_id"] = json!(reply.request_id.as_str());
    json["revision"] = json!(revision(reply));
    json
}

/// The reply's revision as text.
pub(crate) fn revision<T>(reply: &Reply<T>) -> Option<String> {
    reply.revision.as_ref().map(ToString::to_string)
}

/// A plain table: no lines, so that it can be cut and copied.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header);
    for row in rows {
        table.add_row(row.map(|text| Cell::new(printable(&text))));
    }
    table
}

/// One `name: value` line for each pair, the values aligned.
pub(crate) fn lines<const N: usize>(pairs: [(&str, String); N]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len() + 1).max().unwrap_or_default();
    pairs
        .map(|(name, value)| format!("{:width$} {}\n", format!("{name}:"), printable(&value)))
        .concat()
}

/// Text from elsewhere must not drive the reader's terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// An empty text as nothing.
pub(crate) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_cannot_drive_a_terminal() {
        let table = table(["A"], [["x\u{1b}[31m".to_owned()]]).to_string();
        assert!(!table.contains('\u{1b}'), "{table:?}");
        assert_eq!(
            lines([("a", "1".to_owned()), ("long", "2\n".to_owned())]),
            "a:    1\nlong: 2\u{fffd}\n"
        );
    }
}
