//! How tables look to people.

use comfy_table::{CellAlignment, ContentArrangement, Table};

/// A table without lines: columns two blanks apart, `>` before a title for numbers.
pub fn table<const N: usize>(titles: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::TableStyle::new());
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(titles.map(|title| title.trim_start_matches('>').to_owned()));
    for row in rows {
        table.add_row(row);
    }
    for (column, title) in table.column_iter_mut().zip(titles) {
        column.set_padding((0, 2));
        if title.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_no_lines_and_no_blanks_at_the_end() {
        let rows =
            [["shop".to_owned(), "1".to_owned(), "ok".to_owned()], ["x".to_owned(), "1,000".to_owned(), String::new()]];
        insta::assert_snapshot!(table(["source", ">rows", "state"], rows), @"
        source   rows  state
        shop        1  ok
        x       1,000
        ");
    }
}
