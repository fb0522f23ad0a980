//! Structured lines: JSON objects and `key=value` pairs as flat lists of names and texts.
//!
//! Both readers are tolerant: a line that was cut in the middle still gives the fields before the cut. They must not know
//! what a field means.

use std::iter::Peekable;
use std::str::Chars;

/// The most fields that are read of one line.
const MAX_FIELDS: usize = 200;

/// How deep objects may nest; what is deeper is passed over.
const MAX_DEPTH: usize = 8;

/// Names, lower case, nested ones joined by dots, and their texts, in the order of the line.
pub(super) type Fields = Vec<(String, String)>;

/// The fields of a line that is a JSON object, whole or cut off; `None` for anything else.
pub(super) fn json(line: &str) -> Option<Fields> {
    if !line.starts_with('{') {
        return None;
    }
    let mut scan = Scan { chars: line.chars().peekable(), fields: Vec::new() };
    let whole = scan.object("", 0);
    // Braces that hold something else are no JSON: one field at least has to have come out well.
    if scan.fields.is_empty() || (!whole && scan.chars.peek().is_some()) {
        return None;
    }
    Some(scan.fields)
}

/// The text up to a JSON object at its end, and the fields of that object.
pub(super) fn json_at_end(text: &str) -> Option<(&str, Fields)> {
    let at = text.find(" {\"").or_else(|| text.find(" { \""))?;
    let (head, tail) = text.split_at(at);
    Some((head.trim_end(), json(tail.trim_start())?))
}

struct Scan<'a> {
    chars: Peekable<Chars<'a>>,
    fields: Fields,
}

impl Scan<'_> {
    fn space(&mut self) {
        while self.chars.next_if(|c| c.is_whitespace()).is_some() {}
    }

    /// Reads an object whose brace comes next; false where the text ends or is no JSON.
    fn object(&mut self, path: &str, depth: usize) -> bool {
        self.chars.next();
        self.space();
        if self.chars.next_if_eq(&'}').is_some() {
            return true;
        }
        loop {
            self.space();
            let Some((key, true)) = self.string() else { return false };
            self.space();
            if self.chars.next_if_eq(&':').is_none() {
                return false;
            }
            let key = key.to_ascii_lowercase();
            let path = if path.is_empty() { key } else { format!("{path}.{key}") };
            if !self.value(&path, depth + 1) {
                return false;
            }
            self.space();
            match self.chars.next() {
                Some(',') => {}
                Some('}') => return true,
                _ => return false,
            }
        }
    }

    fn array(&mut self, path: &str, depth: usize) -> bool {
        self.chars.next();
        loop {
            self.space();
            if self.chars.next_if_eq(&']').is_some() {
                return true;
            }
            if !self.value(path, depth + 1) {
                return false;
            }
            self.space();
            match self.chars.next() {
                Some(',') => {}
                Some(']') => return true,
                _ => return false,
            }
        }
    }

    fn value(&mut self, path: &str, depth: usize) -> bool {
        self.space();
        if depth > MAX_DEPTH || self.fields.len() >= MAX_FIELDS {
            return false;
        }
        match self.chars.peek() {
            Some('{') => self.object(path, depth),
            Some('[') => self.array(path, depth),
            Some('"') => {
                let Some((text, whole)) = self.string() else { return false };
                self.fields.push((path.to_owned(), text));
                whole
            }
            Some(_) => {
                let mut text = String::new();
                while let Some(c) = self.chars.next_if(|c| !matches!(c, ',' | '}' | ']')) {
                    text.push(c);
                }
                self.fields.push((path.to_owned(), text.trim().to_owned()));
                self.chars.peek().is_some()
            }
            None => false,
        }
    }

    /// A string and whether it has an end; `None` where none begins.
    fn string(&mut self) -> Option<(String, bool)> {
        self.chars.next_if_eq(&'"')?;
        let mut text = String::new();
        while let Some(c) = self.chars.next() {
            match c {
                '"' => return Some((text, true)),
                '\\' => match self.chars.next() {
                    Some('n' | 'r') => text.push('\n'),
                    Some('t' | 'b' | 'f') => text.push(' '),
                    Some('u') => {
                        let code: String = self.chars.by_ref().take(4).collect();
                        let c = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                        text.push(c.unwrap_or(' '));
                    }
                    Some(c) => text.push(c),
                    None => {}
                },
                c => text.push(c),
            }
        }
        Some((text, false))
    }
}

/// The pairs of `key=value` in a text, and where the first of them begins. A value in quotes may hold anything; a bare one
/// goes on to the next pair, for some programs do not quote.
pub(super) fn pairs(text: &str) -> (usize, Fields) {
    let mut fields = Fields::new();
    let mut first = text.len();
    let mut at = 0;
    while let Some((from, key, value)) = next_pair(text, at) {
        first = first.min(from);
        let rest = text.get(value..).unwrap_or_default();
        let (said, end) = match rest.strip_prefix('"') {
            Some(inner) => unquote(inner)
                .map_or_else(|| (inner.to_owned(), text.len()), |(said, used)| (said, value + 1 + used)),
            None => {
                let end = next_pair(text, value).map_or(text.len(), |(next, _, _)| next);
                (text.get(value..end).unwrap_or_default().trim().to_owned(), end)
            }
        };
        if !said.is_empty() && fields.len() < MAX_FIELDS {
            fields.push((key.to_ascii_lowercase(), said));
        }
        at = end.max(value);
    }
    (first, fields)
}

/// Where the next pair begins, its name, and where its value begins.
fn next_pair(text: &str, from: usize) -> Option<(usize, &str, usize)> {
    let mut at = from;
    loop {
        let equals = at + text.get(at..)?.find('=')?;
        let head = text.get(from..equals)?;
        let start = from + head.rfind(char::is_whitespace).map_or(0, |space| space + 1);
        let key = text.get(start..equals)?.trim_matches('"');
        let named = !key.is_empty()
            && key.len() <= 60
            && key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '@')
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-@/".contains(&b));
        // A pair begins the text or stands behind a blank (where the last value ended, in front of one).
        let apart = start == 0 || text.get(..start).is_some_and(|head| head.ends_with(char::is_whitespace));
        if named && apart && text.as_bytes().get(equals + 1) != Some(&b'=') {
            return Some((start, key, equals + 1));
        }
        at = equals + 1;
    }
}

/// The text up to the closing quote, and how much of the input that took.
fn unquote(inner: &str) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((text, at + 1)),
            '\\' => match chars.next()?.1 {
                'n' | 'r' => text.push('\n'),
                't' => text.push(' '),
                c => text.push(c),
            },
            c => text.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &Fields, name: &str) -> String {
        fields.iter().find(|(key, _)| key == name).map(|(_, text)| text.clone()).unwrap_or_default()
    }

    #[test]
    fn json_is_read_flat_and_also_where_it_was_cut() {
        let line = r#"{"a":1,"error":{"message":"x \"y\"\nz","stack":["p","q"]},"log.level":"ERROR","cut":"here it en"#;
        let fields = json(line).expect("JSON");
        assert_eq!(of(&fields, "error.message"), "x \"y\"\nz");
        assert_eq!(of(&fields, "error.stack"), "p");
        assert_eq!(of(&fields, "log.level"), "ERROR");
        assert_eq!(of(&fields, "cut"), "here it en");
        assert_eq!(json("{not json}"), None);
        assert_eq!(json("{}"), None);
        let (head, fields) = json_at_end("cannot sync\t {\"error\": \"boom\"}").expect("a tail");
        assert_eq!((head, of(&fields, "error").as_str()), ("cannot sync", "boom"));
    }

    #[test]
    fn pairs_are_read_with_quotes_and_without() {
        let (at, fields) = pairs(r#"run.go "command failed" err="a \"b\": c" node=x"#);
        assert_eq!(at, 24);
        assert_eq!((of(&fields, "err").as_str(), of(&fields, "node").as_str()), ("a \"b\": c", "x"));
        let (_, fields) = pairs("Configuration error. error=missing field `topics` internal=true");
        assert_eq!(of(&fields, "error"), "missing field `topics`");
        assert_eq!(pairs("a == b, x!=y").1, []);
    }
}
