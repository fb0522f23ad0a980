//! Label and field selectors, with the API server's syntax and its words for a wrong one.

use super::cluster::Object;
use super::resources::Resource;

/// What a list or a watch asks for.
#[derive(Debug, Default, Clone)]
pub struct Filter {
    namespace: Option<String>,
    name: Option<String>,
    labels: Vec<Label>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Debug, Clone)]
enum Label {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

impl Filter {
    /// Reads both selectors; the error is the sentence of the 400 answer.
    pub fn new(
        resource: &Resource,
        namespace: Option<&str>,
        name: Option<&str>,
        labels: &str,
        fields: &str,
    ) -> Result<Self, String> {
        Ok(Self {
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
            labels: split(labels).into_iter().map(label).collect::<Result<_, _>>()?,
            fields: fields
                .split(',')
                .map(str::trim)
                .filter(|term| !term.is_empty())
                .map(|term| field(resource, term))
                .collect::<Result<_, _>>()?,
        })
    }

    /// True when more than the namespace decides; such lists tell no `remainingItemCount`.
    pub fn selects(&self) -> bool {
        self.name.is_some() || !self.labels.is_empty() || !self.fields.is_empty()
    }

    /// Whether the object is asked for.
    pub fn matches(&self, object: &Object) -> bool {
        self.namespace.as_ref().is_none_or(|ns| *ns == object.namespace)
            && self.name.as_ref().is_none_or(|name| *name == object.name)
            && self.labels.iter().all(|term| term.matches(object))
            && self.fields.iter().all(|(path, equal, value)| (object.field(path) == value) == *equal)
    }
}

impl Label {
    fn matches(&self, object: &Object) -> bool {
        match self {
            // An absent label is "not in" any set, as in Kubernetes.
            Self::In(key, values) => object.label(key).is_some_and(|v| values.iter().any(|x| x == v)),
            Self::NotIn(key, values) => object.label(key).is_none_or(|v| values.iter().all(|x| x != v)),
            Self::Exists(key) => object.label(key).is_some(),
            Self::Missing(key) => object.label(key).is_none(),
        }
    }
}

/// Splits at the commas that stand outside brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut terms) = (0_i32, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                terms.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(text[start..].trim());
    terms.retain(|term| !term.is_empty());
    terms
}

fn label(term: &str) -> Result<Label, String> {
    let wrong = || format!("unable to parse requirement: invalid label selector: {term:?}");
    let plain = |text: &str| -> Result<String, String> {
        let text = text.trim();
        let fine = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        if fine { Ok(text.to_owned()) } else { Err(wrong()) }
    };
    let set = |text: &str| -> Result<Vec<String>, String> {
        let inner = text.trim().strip_prefix('(').and_then(|t| t.strip_suffix(')')).ok_or_else(wrong)?;
        inner.split(',').map(plain).collect()
    };
    if let Some((key, value)) = term.split_once("!=") {
        return Ok(Label::NotIn(plain(key)?, vec![plain(value)?]));
    }
    if let Some((key, value)) = term.split_once('=') {
        return Ok(Label::In(plain(key)?, vec![plain(value.strip_prefix('=').unwrap_or(value))?]));
    }
    if let Some((key, values)) = term.split_once(" notin ") {
        return Ok(Label::NotIn(plain(key)?, set(values)?));
    }
    if let Some((key, values)) = term.split_once(" in ") {
        return Ok(Label::In(plain(key)?, set(values)?));
    }
    match term.strip_prefix('!') {
        Some(key) => Ok(Label::Missing(plain(key)?)),
        None => Ok(Label::Exists(plain(term)?)),
    }
}

fn field(resource: &Resource, term: &str) -> Result<(String, bool, String), String> {
    let (path, equal, value) = if let Some((path, value)) = term.split_once("!=") {
        (path, false, value)
    } else if let Some((path, value)) = term.split_once('=') {
        (path, true, value.strip_prefix('=').unwrap_or(value))
    } else {
        return Err(format!("invalid field selector: {term:?}; can't understand it"));
    };
    let path = path.trim();
    if path != "metadata.name"
        && (path != "metadata.namespace" || !resource.namespaced)
        && !resource.fields.contains(&path)
    {
        return Err(format!("field label not supported: {path}"));
    }
    Ok((path.to_owned(), equal, value.trim().to_owned()))
}
