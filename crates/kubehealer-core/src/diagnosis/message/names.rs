//! Tells the words of a message from the names in it. An image, a file or a pod may be called `timeout`, and a tag or a port
//! may be 401: rules must not take them for what the message says.

/// A text without its names: quoted names, paths, URLs, image references, `host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    text: String,
    lower: String,
}

/// Words with a slash that are no paths.
const NO_PATHS: &[&str] = &["i/o", "input/output", "username/password", "net/http", "user/group"];

/// Behind one of these a name of the image may stand bare.
const BEFORE_NAMES: &[&str] =
    &["for", "in", "of", "manifest", "image", "artifact", "repository", "tag", "repo", "name"];

/// Behind one of these calls stands the name of a file, and a colon.
const CALLS: &[&str] = &["stat", "lstat", "open", "exec", "mkdir", "unlink"];

impl Words {
    /// Takes the names out of a text. `known` are further names in it: of the image that it is about.
    pub fn of(text: &str, known: &[&str]) -> Self {
        let text = blank(text, known);
        Self { lower: text.to_ascii_lowercase(), text }
    }

    /// Whether it states this, which is in lower case: as whole words.
    pub fn state(&self, word: &str) -> bool {
        self.places(word).any(|at| self.begins(word, at) && self.ends(word, at + word.len()))
    }

    /// Whether it has words that begin so.
    pub fn have(&self, word: &str) -> bool {
        self.places(word).any(|at| self.begins(word, at))
    }

    fn places<'s>(&'s self, word: &'s str) -> impl Iterator<Item = usize> + 's {
        self.lower.match_indices(word).map(|(at, _)| at)
    }

    /// Whether a word begins there: not within a longer one, nor in the middle of a name such as `web-timeout`. Within
    /// `ResourceNotFound` a word begins at each capital.
    fn begins(&self, word: &str, at: usize) -> bool {
        let byte = |at: usize| self.text.as_bytes().get(at).copied().unwrap_or(b' ');
        let before = at.checked_sub(1).map_or(b' ', byte);
        let capital = byte(at).is_ascii_uppercase()
            && (!before.is_ascii_uppercase() || byte(at + 1).is_ascii_lowercase());
        !word.starts_with(|c: char| c.is_ascii_alphanumeric())
            || (capital && before != b'-')
            || !(before.is_ascii_alphanumeric() || b"-_.".contains(&before))
    }

    /// Whether a word ends there, in the same way.
    fn ends(&self, word: &str, at: usize) -> bool {
        let byte = |at: usize| self.text.as_bytes().get(at).copied().unwrap_or(b' ');
        let (last, next, behind) = (byte(at.saturating_sub(1)), byte(at), byte(at + 1));
        if !word.ends_with(|c: char| c.is_ascii_alphanumeric()) {
            return true;
        }
        let camel = next.is_ascii_uppercase() && !last.is_ascii_uppercase();
        camel || !(next.is_ascii_alphanumeric() || b"-_.".contains(&next) && behind.is_ascii_alphanumeric())
    }
}

/// The text with its names left out.
fn blank(text: &str, known: &[&str]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut previous = "";
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some((mark, inner, after)) = quoted(rest, &out) {
            // What stands for itself in quotes is a name; a field of JSON or of a log says something.
            let field = out.ends_with('=') || out.ends_with("\":") || out.ends_with("\": ");
            let program = out.ends_with("exec: ") || out.ends_with("exec ");
            if !field && (program || !inner.contains(' ')) {
                out.push_str(mark);
                out.push_str(mark);
                (previous, rest) = ("", after);
                continue;
            }
        }
        let end =
            rest.find(|c: char| c.is_whitespace() || "\"'`,;()[]{}<>=".contains(c)).unwrap_or(rest.len());
        if end == 0 {
            out.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            continue;
        }
        let token = rest.get(..end).unwrap_or_default();
        let bare = token.trim_end_matches([':', '.', '!', '?']);
        let named = known.contains(&bare) && BEFORE_NAMES.contains(&previous);
        let called = CALLS.contains(&previous) && token.ends_with(':') && bare != "executable";
        if named || called || is_name(bare) {
            out.push_str(token.get(bare.len()..).unwrap_or_default());
        } else {
            out.push_str(token);
        }
        previous = token;
        rest = rest.get(end..).unwrap_or_default();
    }
    out
}

/// What is in quotes at the beginning of `rest`: the mark, what is inside, what follows. An apostrophe within a word is none.
fn quoted<'t>(rest: &'t str, before: &str) -> Option<(&'static str, &'t str, &'t str)> {
    let (mark, body) = [("\\\"", "\\\""), ("\"", "\""), ("'", "'"), ("`", "`")]
        .into_iter()
        .find_map(|(mark, own)| Some((mark, rest.strip_prefix(own)?)))?;
    if mark == "'" && before.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let (inner, after) = body.split_once(mark)?;
    Some((mark, inner, after))
}

/// Whether a word without spaces is a path, a URL, an image reference or a `host:port`.
fn is_name(token: &str) -> bool {
    if token.contains('/') {
        return !NO_PATHS.contains(&token.to_ascii_lowercase().as_str());
    }
    // `code:503` is said, `app:503` is named.
    let Some((before, behind)) = token.rsplit_once(':') else { return false };
    let said = ["code", "status", "statuscode", "error", "errno"];
    behind.bytes().any(|b| b.is_ascii_digit())
        && !before.is_empty()
        && !said.contains(&before.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_words() {
        for (text, word) in [
            (
                r#"failed to resolve reference "docker.io/a/x509-exporter:9": docker.io/a/x509-exporter:9: not found"#,
                "x509",
            ),
            ("manifest for enix/x509:9 not found", "x509"),
            ("manifest for app:401 not found", "401"),
            ("cannot open /var/quota/timeout: no such file or directory", "timeout"),
            (r#"exec: "sleep timeout": executable file not found in $PATH"#, "timeout"),
            (r#"Get \"https://timeout.example.com/v2/\": EOF"#, "timeout"),
            ("lookup quota.example.com on 10.0.0.10:53: no such host", "quota"),
            ("pod web-timeout-0_shop is gone", "timeout"),
            ("secret `quota` is gone", "quota"),
            ("mtls: none", "tls: "),
            ("the katacomb", "kata"),
        ] {
            assert!(!Words::of(text, &[]).state(word), "{word}: {text}");
        }
        assert!(!Words::of("reading manifest 401 in quay.io/a/app: unknown", &["401"]).state("401"));
    }

    #[test]
    fn words_are_not_taken_for_names() {
        for (text, word) in [
            ("dial tcp 10.1.2.3:443: i/o timeout", "i/o timeout"),
            ("net/http: TLS handshake timeout", "tls handshake timeout"),
            ("(Client.Timeout exceeded while awaiting headers)", "timeout"),
            ("An error occurred (ResourceNotFoundException)", "notfound"),
            ("PutEndpointIDTooManyRequests", "toomanyrequests"),
            (r#"{"errors":[{"code":"UNAUTHORIZED","message":"x"}]}"#, "unauthorized"),
            (r#"Code="Forbidden" Message="x""#, "forbidden"),
            ("unexpected status: 401 Unauthorized", ": 401"),
            ("x509: certificate signed by unknown authority", "x509"),
            ("can't do: quota 'disk' isn't set", "quota"),
            ("QuotaExceeded", "quota"),
            ("code:503", "503"),
        ] {
            assert!(Words::of(text, &[]).state(word), "{word}: {text}");
        }
    }
}
