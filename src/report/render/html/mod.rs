//! One file that opens offline, in light and dark, prints, and reads on a phone. Graphs are inline SVG without a script.

mod drill;
mod gauge;
mod graph;
mod lag;
mod month;
mod scale;
mod style;
mod waterfall;

use super::escape;

pub(super) use drill::drill;
pub(super) use month::month;

/// A page that grows.
#[derive(Default)]
struct Page(String);

impl Page {
    /// Markup as it is.
    fn raw(&mut self, markup: impl AsRef<str>) -> &mut Self {
        self.0.push_str(markup.as_ref());
        self.0.push('\n');
        self
    }

    /// Begins a section.
    fn section(&mut self, title: &str, lead: &str) -> &mut Self {
        self.raw(format!("<section><h2>{}</h2>", escape(title)));
        if !lead.is_empty() {
            self.raw(format!("<p class=\"lead\">{}</p>", escape(lead)));
        }
        self
    }

    /// Ends it.
    fn end(&mut self) {
        self.raw("</section>");
    }

    /// A table; cells are markup already, `>` before a title for numbers.
    fn table<const N: usize>(&mut self, titles: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
        let class = |at: usize| if titles[at].starts_with('>') { " class=\"num\"" } else { "" };
        self.raw("<div class=\"scroll\"><table>");
        if titles.iter().any(|title| !title.is_empty()) {
            let cells = titles.iter().enumerate().map(|(at, title)| {
                format!("<th scope=\"col\"{}>{}</th>", class(at), escape(title.trim_start_matches('>')))
            });
            self.raw(format!("<thead><tr>{}</tr></thead>", cells.collect::<String>()));
        }
        self.raw("<tbody>");
        for row in rows {
            let cells = row.iter().enumerate().map(|(at, cell)| format!("<td{}>{cell}</td>", class(at)));
            self.raw(format!("<tr>{}</tr>", cells.collect::<String>()));
        }
        self.raw("</tbody></table></div>");
    }

    /// Names and values.
    fn facts(&mut self, facts: impl IntoIterator<Item = (String, String)>) {
        self.raw("<dl class=\"facts\">");
        for (name, value) in facts {
            self.raw(format!("<div><dt>{}</dt><dd>{}</dd></div>", escape(&name), escape(&value)));
        }
        self.raw("</dl>");
    }

    /// A list of sentences.
    fn list<T: AsRef<str>>(&mut self, lines: impl IntoIterator<Item = T>) {
        let items: Vec<String> = lines.into_iter().map(|line| escape(line.as_ref())).collect();
        if !items.is_empty() {
            self.raw(format!("<ul><li>{}</li></ul>", items.join("</li><li>")));
        }
    }
}

/// The whole file around a page.
fn document(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"generator\" content=\"davit\">\n\
         <title>{}</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(title),
        style::STYLE
    )
}

/// A verdict as a chip: a sign, a word and a colour, so that none of the three is needed alone.
fn chip(word: Option<&str>) -> String {
    let word_or_none = word.unwrap_or("not asked");
    let class = word.unwrap_or("none");
    format!(
        "<span class=\"chip {class}\"><span aria-hidden=\"true\">{}</span> {word_or_none}</span>",
        super::sign(word)
    )
}
