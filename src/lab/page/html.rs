//! HTML that cannot be broken out of: text becomes [`Html`] only by being escaped, and names of tags and attributes are literals.

use std::fmt::Display;

/// A piece of a page, well-formed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Html(String);

/// Text with everything escaped that could end a text or an attribute.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\0' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

impl From<&str> for Html {
    fn from(text: &str) -> Self {
        Self(escape(text))
    }
}

impl From<String> for Html {
    fn from(text: String) -> Self {
        Self(escape(&text))
    }
}

impl From<&String> for Html {
    fn from(text: &String) -> Self {
        Self(escape(text))
    }
}

impl FromIterator<Html> for Html {
    fn from_iter<I: IntoIterator<Item = Html>>(pieces: I) -> Self {
        Self(pieces.into_iter().map(|piece| piece.0).collect())
    }
}

impl<const N: usize> From<[Html; N]> for Html {
    fn from(pieces: [Html; N]) -> Self {
        pieces.into_iter().collect()
    }
}

impl Html {
    /// Text of this program's own, such as a style sheet: it is not escaped.
    pub fn own(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// JSON for a script element: `<` never stands in it, so no text can end the element or begin a comment.
    pub fn json(value: &impl serde::Serialize) -> Self {
        let text = serde_json::to_string(value).expect("strings, numbers and lists go into memory");
        Self(text.replace('<', "\\u003c"))
    }

    /// Adds a piece at the end.
    pub fn push(&mut self, piece: Html) {
        self.0.push_str(&piece.0);
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// An element with attributes.
pub fn tag_with(name: &'static str, attributes: &[(&'static str, &str)], inner: impl Into<Html>) -> Html {
    let attributes: String = attributes.iter().map(|(key, value)| format!(" {key}=\"{}\"", escape(value))).collect();
    let inline = ["a", "b", "code", "i", "span"].contains(&name); // a line's end would be a space in a sentence
    let end = if inline { "" } else { "\n" };
    Html(format!("<{name}{attributes}>{}</{name}>{end}", inner.into().0))
}

/// An element of a class; of none where that is empty.
pub fn tag(name: &'static str, class: &str, inner: impl Into<Html>) -> Html {
    if class.is_empty() { tag_with(name, &[], inner) } else { tag_with(name, &[("class", class)], inner) }
}

/// A paragraph.
pub fn p(inner: impl Into<Html>) -> Html {
    tag("p", "", inner)
}

/// A paragraph in the small print.
pub fn note(inner: impl Into<Html>) -> Html {
    tag("p", "note", inner)
}

/// Escaped text without an element.
pub fn text(value: impl Display) -> Html {
    Html::from(value.to_string())
}

/// A link within the page.
pub fn link(to: &str, inner: impl Into<Html>) -> Html {
    tag_with("a", &[("href", &format!("#{to}"))], inner)
}

/// A table in a box of its own that scrolls sideways. A column whose head begins with `#` holds numbers: the mark goes, the
/// column is set flush right. The last cell of a row that is too short spans the columns that are left.
pub fn table(heads: &[&str], rows: Vec<Vec<Html>>) -> Html {
    let number = |i: usize| if heads.get(i).is_some_and(|head| head.starts_with('#')) { "n" } else { "" };
    let row = |name: &'static str, cells: Vec<Html>| -> Html {
        let (last, short) = (cells.len(), heads.len().saturating_sub(cells.len()));
        let cell = |(i, cell): (usize, Html)| {
            let span = (short + 1).to_string();
            if i + 1 == last && short > 0 {
                tag_with(name, &[("colspan", &span)], cell)
            } else {
                tag(name, number(i), cell)
            }
        };
        tag("tr", "", cells.into_iter().enumerate().map(cell).collect::<Html>())
    };
    let head = row("th", heads.iter().map(|head| Html::from(head.trim_start_matches('#'))).collect());
    let body: Html = rows.into_iter().map(|cells| row("td", cells)).collect();
    let table = tag("table", "", [tag("thead", "", head), tag("tbody", "", body)]);
    tag_with("div", &[("class", "scroll"), ("tabindex", "0")], table)
}

/// Names and what they are, in as many columns as fit.
pub fn pairs(pairs: Vec<(&str, Html)>) -> Html {
    let row = |(name, value): (&str, Html)| tag("div", "", [tag("dt", "", name), tag("dd", "", value)]);
    tag("dl", "pairs", pairs.into_iter().map(row).collect::<Html>())
}

/// Something to open.
pub fn details(title: impl Into<Html>, inner: Html) -> Html {
    tag("details", "", [tag("summary", "", title), inner])
}

/// A bar of parts, each as wide as its share of all of them; under it what each part is. A part is its name, its value in
/// words, how much it is, and its colour's number.
pub fn bar(parts: &[(&str, String, u64, usize)]) -> Html {
    let total: f64 = parts.iter().map(|(.., amount, _)| *amount as f64).sum();
    let shown = || parts.iter().filter(|(.., amount, _)| *amount > 0);
    let piece = |(name, value, amount, colour): &(&str, String, u64, usize)| {
        let width = format!("width:{:.3}%", *amount as f64 / total * 100.0);
        let title = format!("{name}: {value}");
        tag_with("span", &[("class", &format!("b{colour}")), ("style", &width), ("title", &title)], Html::default())
    };
    let legend = |(name, value, _, colour): &(&str, String, u64, usize)| {
        let name = [tag("i", &format!("b{colour}"), Html::default()), Html::from(*name)];
        tag("li", "", [Html::from(name), text(" "), tag("b", "", value)])
    };
    let bar = tag("div", "bar", shown().map(piece).collect::<Html>());
    Html::from([bar, tag("ul", "legend", shown().map(legend).collect::<Html>())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let hostile = "</script><b onclick='x'>\"&\0";
        let page = tag_with("a", &[("title", hostile)], hostile).into_string();
        let safe = "&lt;/script&gt;&lt;b onclick=&#39;x&#39;&gt;&quot;&amp;\u{fffd}";
        assert_eq!(page, format!("<a title=\"{safe}\">{safe}</a>"));
        let json = Html::json(&hostile).into_string();
        assert!(!json.contains('<'), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), hostile);
    }

    #[test]
    fn numbers_stand_right() {
        let html = table(&["name", "#ns"], vec![vec!["a".into(), "1".into()]]).into_string();
        assert!(html.contains("<th class=\"n\">ns</th>") && html.contains("<td class=\"n\">1</td>"), "{html}");
        assert!(html.contains("<th>name</th>"), "{html}");
        let short = table(&["", "#a", "#b"], vec![vec!["x".into(), "none".into()]]).into_string();
        assert!(short.contains("<td colspan=\"2\">none</td>"), "{short}");
    }
}
