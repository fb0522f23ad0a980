//! YAML as a tree in which every value knows its place, so that an error can point at it.
//!
//! Bounded: size, nesting and number of values are limited before anything is built. Anchors and aliases are refused, so
//! a small file cannot stand for a large tree. Must not know what a rule is.

use granit_parser::{Event, Parser, ScalarStyle, Span};

/// A file larger than this is refused.
pub(super) const MAX_BYTES: usize = 512 * 1024;
const MAX_DEPTH: usize = 48;
const MAX_NODES: usize = 100_000;

/// A value and the bytes of the file that it was read from.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// First byte.
    pub(super) at: usize,
    /// First byte after it.
    pub(super) end: usize,
    /// What it is.
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// A text, number, truth value or null.
    Scalar(String, Style),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Style {
    Plain,
    Quoted,
    Block,
}

/// Something is wrong at a byte of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

impl Node {
    /// What a reader would call it.
    pub(super) fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar(text, Style::Plain) if is_null(text) => "nothing",
            Kind::Scalar(..) => "a string",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// Written as null, or not at all.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(text, Style::Plain) if is_null(text))
    }

    /// As JSON would say it, with the types of YAML's core schema.
    pub(super) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.kind {
            Kind::Scalar(text, Style::Quoted | Style::Block) => Value::from(text.as_str()),
            Kind::Scalar(text, Style::Plain) => match text.as_str() {
                null if is_null(null) => Value::Null,
                "true" | "True" | "TRUE" => Value::Bool(true),
                "false" | "False" | "FALSE" => Value::Bool(false),
                number => number
                    .parse::<i64>()
                    .map(Value::from)
                    .ok()
                    .or_else(|| {
                        number
                            .parse::<f64>()
                            .ok()
                            .filter(|_| {
                                number.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.')
                            })
                            .map(Value::from)
                    })
                    .unwrap_or_else(|| Value::from(number)),
            },
            Kind::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Kind::Map(entries) => Value::Object(
                entries
                    .iter()
                    .filter_map(|(key, value)| match &key.kind {
                        Kind::Scalar(key, _) => Some((key.clone(), value.to_json())),
                        _ => None,
                    })
                    .collect(),
            ),
        }
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Reads a file that holds any number of documents.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Fault> {
    if text.len() > MAX_BYTES {
        return Err(Fault::new(
            0,
            format!("the file has {} bytes; at most {MAX_BYTES} are read: split it", text.len()),
        ));
    }
    let options = granit_parser::options! { flow_nesting_limit: MAX_DEPTH, block_nesting_limit: MAX_DEPTH };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder::default();
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let at = error.marker().byte_offset().unwrap_or_default().min(text.len());
            match error.info() {
                deep if deep.contains("recursion limit") => {
                    Fault::new(at, format!("nested more than {MAX_DEPTH} deep"))
                }
                other => Fault::new(at, format!("not valid YAML: {other}")),
            }
        })?;
        let done = matches!(event, Event::StreamEnd);
        builder.take(event, &span, text)?;
        if done {
            break;
        }
    }
    Ok(builder.documents)
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    nodes: usize,
}

/// A list or mapping whose end has not come yet.
struct Open {
    at: usize,
    map: bool,
    key: Option<Node>,
    items: Vec<Node>,
    entries: Vec<(Node, Node)>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span, text: &str) -> Result<(), Fault> {
        let at = span.start.byte_offset().unwrap_or_default().min(text.len());
        let end = span.end.byte_offset().unwrap_or(at).min(text.len()).max(at);
        match event {
            Event::Scalar(value, style, anchor, tag) => {
                Self::plain_only(span, at, anchor, tag.is_some())?;
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                self.add(Node { at, end, kind: Kind::Scalar(value.into_owned(), style) })
            }
            Event::SequenceStart(_, anchor, tag) => {
                Self::plain_only(span, at, anchor, tag.is_some())?;
                self.push(at, false)
            }
            Event::MappingStart(_, anchor, tag) => {
                Self::plain_only(span, at, anchor, tag.is_some())?;
                self.push(at, true)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let kind = if open.map { Kind::Map(open.entries) } else { Kind::List(open.items) };
                self.add(Node { at: open.at, end, kind })
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                Err(Fault::new(at, "aliases (*name) are not supported here: write the value out"))
            }
            _ => Ok(()),
        }
    }

    fn plain_only(span: &Span, at: usize, anchor: usize, tagged: bool) -> Result<(), Fault> {
        if anchor != 0 {
            return Err(Fault::new(at, "anchors (&name) are not supported here: write the value out"));
        }
        if tagged {
            let at = span.tag_start.and_then(|mark| mark.byte_offset()).unwrap_or(at);
            return Err(Fault::new(
                at,
                "tags (!name) are not supported here: quote a string that begins with !",
            ));
        }
        Ok(())
    }

    fn push(&mut self, at: usize, map: bool) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault::new(at, format!("nested more than {MAX_DEPTH} deep")));
        }
        self.open.push(Open { at, map, key: None, items: Vec::new(), entries: Vec::new() });
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<(), Fault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Fault::new(node.at, format!("more than {MAX_NODES} values: split the file")));
        }
        match self.open.last_mut() {
            None => self.documents.push(node),
            Some(open) if !open.map => open.items.push(node),
            Some(open) => match open.key.take() {
                None => open.key = Some(node),
                Some(key) => open.entries.push((key, node)),
            },
        }
        Ok(())
    }
}

/// The place in the file of a byte of a decoded scalar. Exact for plain, quoted and block texts: the file is walked along
/// with the text, over the indentation, quotes and escapes that only the file has.
pub(super) fn place_in(text: &str, node: &Node, offset: usize) -> usize {
    let Kind::Scalar(value, style) = &node.kind else { return node.at };
    let raw = text.get(node.at..node.end).unwrap_or_default();
    let mut raw_at = match style {
        Style::Plain => 0,
        Style::Quoted => 1,
        // The header (`|`, `>-`) is a line of its own, if it is part of what was read.
        Style::Block if raw.starts_with(['|', '>']) => raw.find('\n').map_or(0, |i| i + 1),
        Style::Block => 0,
    };
    for (i, c) in value.char_indices() {
        let rest = raw.get(raw_at..).unwrap_or_default();
        let step = rest
            .char_indices()
            .find(|&(j, r)| {
                r == c
                    || (c == '\n' && r == '\\' && rest.get(j + 1..).is_some_and(|r| r.starts_with('n')))
                    || (c == ' ' && r == '\n')
                    || (r == '\\'
                        && *style == Style::Quoted
                        && rest.get(j + 1..).is_some_and(|r| r.starts_with(['u', 'U', 'x'])))
            })
            .map_or(0, |(j, _)| j);
        raw_at += step;
        if i >= offset {
            return node.at + raw_at;
        }
        raw_at += raw.get(raw_at..).and_then(|r| r.chars().next()).map_or(0, char::len_utf8);
    }
    (node.at + raw_at).min(node.end)
}

/// Line and column, both from 1, the column in characters.
pub(super) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar<'a>(nodes: &'a [Node], key: &str) -> &'a Node {
        let Kind::Map(entries) = &nodes[0].kind else { panic!("no mapping") };
        &entries.iter().find(|(k, _)| matches!(&k.kind, Kind::Scalar(t, _) if t == key)).unwrap().1
    }

    #[test]
    fn every_character_of_a_text_is_found_in_the_file_however_it_is_written() {
        let file = "plain: a.b == 1\nsingle: 'it''s x'\ndouble: \"say \\\"x\\\" y\"\nliteral: |\n    one\n      two x\nfolded: >-\n    one\n    two x\nlast: é x\n";
        let nodes = parse(file).unwrap();
        for (key, wanted) in [
            ("single", "x'"),
            ("double", "y\""),
            ("literal", "x\nfolded"),
            ("folded", "x\nlast"),
            ("last", "x\n"),
        ] {
            let node = scalar(&nodes, key);
            let Kind::Scalar(value, _) = &node.kind else { panic!() };
            let offset = value.rfind(['x', 'y']).unwrap();
            let at = place_in(file, node, offset);
            assert!(file[at..].starts_with(wanted), "{key}: {:?}", &file[at..]);
        }
    }

    #[test]
    fn what_would_make_a_small_file_large_is_refused() {
        for (file, says) in [
            ("a: &x [1]\nb: *x\n", "anchors"),
            ("a: !!binary x\n", "tags"),
            (&"[".repeat(200), "nest"),
            (&"a: 1\n".repeat(200_000), "bytes"),
            (&"- \n".repeat(120_000), "values"),
        ] {
            let fault = parse(file).unwrap_err();
            assert!(fault.message.contains(says), "{says}: {fault:?}");
        }
    }
}
