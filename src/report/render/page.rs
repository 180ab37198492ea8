//! A page of text that fits a terminal: what is too long goes on in the next line, under its own column. Nothing is left out.

/// Wide enough for a sentence beside its figures, and narrower than any window in which a report is read.
pub(super) const WIDTH: usize = 118;
/// A word up to this long is never parted from its column: names of points, runs and processes are copied from here.
const WORD: usize = 40;
/// What a figure is not parted from.
const UNITS: [&str; 9] = ["ms", "s", "min", "h", "%", "B", "KiB", "MiB", "GiB"];
/// Units after which a figure of smaller ones may follow.
const LARGER: [&str; 2] = [" min", " h"];
/// Between two columns.
const GAP: usize = 2;
/// Before every row, and before what continues a line.
const INDENT: usize = 2;

/// A page that grows line by line.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    /// The page.
    pub(super) fn text(self) -> String {
        self.0
    }

    /// A line; what does not fit goes on below, further in.
    pub(super) fn line(&mut self, line: impl AsRef<str>) {
        let line = line.as_ref().trim_end();
        let indent = line.len() - line.trim_start().len();
        let mut first = true;
        for part in wrapped(line.trim_start(), WIDTH - indent - INDENT) {
            let indent = if first { indent } else { indent + INDENT };
            self.put(&format!("{:indent$}{part}", ""));
            first = false;
        }
    }

    /// The line that is read first: where it is too long, each of its parts has one of its own.
    pub(super) fn headline(&mut self, line: &str) {
        if line.chars().count() <= WIDTH {
            return self.put(line);
        }
        let mut parts = line.split("; ").peekable();
        let mut indent = 0;
        while let Some(part) = parts.next() {
            let end = if parts.peek().is_some() { ";" } else { "" };
            self.line(format!("{:indent$}{part}{end}", ""));
            indent = INDENT;
        }
    }

    /// What follows, under a line of its own.
    pub(super) fn title(&mut self, title: &str) {
        self.put("");
        self.put(title);
    }

    /// Columns side by side. Where they are too wide together, the widest ones are wrapped.
    pub(super) fn rows(&mut self, rows: &[Vec<String>]) {
        let widths = widths(rows);
        for row in rows {
            let cells: Vec<Vec<String>> = row.iter().zip(&widths).map(|(cell, width)| wrapped(cell, *width)).collect();
            for number in 0..cells.iter().map(Vec::len).max().unwrap_or_default() {
                let part = |(cell, width): (&Vec<String>, &usize)| {
                    let text = cell.get(number).map_or("", String::as_str);
                    format!("{text:width$}")
                };
                let parts: Vec<String> = cells.iter().zip(&widths).map(part).collect();
                self.put(&format!("{:INDENT$}{}", "", parts.join(&" ".repeat(GAP))));
            }
        }
    }

    fn put(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// How wide each column may be, so that all of them fit: as wide as its widest cell, or as the widest ones must be cut down to.
fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let word = |cell: &String| words(cell).iter().map(|word| length(word)).max().unwrap_or_default();
    let whole = |column: usize| cells(column).map(|cell| length(cell)).max().unwrap_or_default();
    let least = |column: usize| cells(column).map(word).max().unwrap_or_default().min(WORD);
    let room = WIDTH.saturating_sub(INDENT + GAP * columns.saturating_sub(1));
    let capped =
        |cap: usize| (0..columns).map(move |column| whole(column).min(cap.max(least(column)))).collect::<Vec<_>>();
    let fits = |cap: &usize| capped(*cap).iter().sum::<usize>() <= room;
    capped((1..=WIDTH).rev().find(fits).unwrap_or(1))
}

/// A text in lines that are at most so long, parted at blanks; a word that is longer has a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words(text) {
        match lines.last_mut() {
            Some(last) if last.is_empty() => last.push_str(&word),
            Some(last) if length(last) + 1 + length(&word) <= width => {
                last.push(' ');
                last.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// The words of a text; a figure and its unit are one, and so is `1 min 14.5 s`.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let digit = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let figure = |word: &str| digit(word.trim_start_matches('('));
    for word in text.split(' ') {
        let unit = word.trim_end_matches([',', ';', ':', '.', ')']);
        match words.last_mut() {
            Some(last)
                if figure(last)
                    && (UNITS.contains(&unit) || digit(word) && LARGER.iter().any(|unit| last.ends_with(unit))) =>
            {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rows: &[&[&str]]) -> String {
        let mut page = Page::default();
        let row = |row: &&[&str]| row.iter().map(|cell| (*cell).to_owned()).collect();
        page.rows(&rows.iter().map(row).collect::<Vec<_>>());
        page.text()
    }

    #[test]
    fn what_fits_is_as_it_was() {
        assert_eq!(page(&[&["a", "bb", "c"], &["aaa", "b", ""]]), "  a    bb  c\n  aaa  b\n");
    }

    #[test]
    fn a_cell_that_is_too_wide_goes_on_under_its_own_column_and_no_other_pays_for_it() {
        let long = "all that was written since the recovery point is lost: 9.26 s before the fault, and 1.07 s after it; of the \
                    drill's own writes 2,400 of 5,105 acknowledged ones";
        let said = page(&[
            &["met", "data lost (RPO)", long, "age of the recovery point at the fault, by the wall clock"],
            &["met", "checks", "1 check true", "what else had to be true"],
        ]);
        let lines: Vec<&str> = said.lines().collect();
        let place = |line: &str, text: &str| line[..line.find(text).unwrap()].chars().count();
        assert_eq!(place(lines[0], "all that"), place(lines[lines.len() - 1], "1 check true"), "{said}");
        assert_eq!(place(lines[0], "age of"), place(lines[lines.len() - 1], "what else"), "{said}");
        assert!(lines.iter().all(|line| length(line) <= WIDTH), "{said}");
        let under = place(lines[0], "all that");
        assert!(lines[1..lines.len() - 1].iter().all(|line| place(line, line.trim_start()) == under), "{said}");
        for word in long.split(' ') {
            assert!(said.contains(word), "{word}");
        }
    }

    #[test]
    fn a_figure_is_not_parted_from_its_unit() {
        let said = "wanted at most 15 min, took 1 min 14.5 s to 2 h 05 min (99.9 %); 3 of them";
        let kept = [
            "wanted",
            "at",
            "most",
            "15 min,",
            "took",
            "1 min 14.5 s",
            "to",
            "2 h 05 min",
            "(99.9 %);",
            "3",
            "of",
            "them",
        ];
        assert_eq!(words(said), kept);
        assert_eq!(words("a  b"), ["a", "", "b"], "blanks that somebody wrote stay");
    }

    #[test]
    fn what_is_copied_is_not_parted() {
        let name = "20261123T020825Z-hqxyhz-of-some-source";
        let (text, other) = ("word ".repeat(60), "other ".repeat(60));
        let said = page(&[&[name, &text, &other]]);
        assert!(said.starts_with(&format!("  {name}  word")), "{said}");
        let digest = "9f86d081".repeat(20);
        let mut page = Page::default();
        page.line(format!("  made from {digest} and more"));
        assert_eq!(page.text(), format!("  made from\n    {digest}\n    and more\n"));
    }

    #[test]
    fn a_long_headline_has_a_line_for_each_of_its_parts() {
        let short = "✓ MET: restored; nothing lost";
        let mut page = Page::default();
        page.headline(short);
        page.headline(&["MISSED: ", &"a ".repeat(40), "b; ", &"c ".repeat(20), "d; e"].concat());
        let said = page.text();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!((lines[0], lines.len()), (short, 4));
        assert!(lines[1].ends_with(" b;") && lines[2].starts_with("  c c") && lines[3] == "  e", "{said}");
    }
}
