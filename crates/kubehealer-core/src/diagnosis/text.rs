//! Words: durations, quoted parts of messages, texts from the cluster made safe to show.

use jiff::SignedDuration;

use crate::redact;

/// The longest text from the cluster that is quoted as evidence, in bytes.
const MAX_QUOTE: usize = 1000;

/// A text from the cluster, fit to be shown: one clean line, secrets hidden, bounded.
pub fn quote(text: &str) -> String {
    shown(&redact::redact(text))
}

/// The same of a text whose secrets are hidden already: once parts of it are joined anew, words stand behind names that they
/// are no values of.
pub fn shown(text: &str) -> String {
    let line = redact::clean(text);
    let line = line.trim();
    let cut = redact::cut(line, MAX_QUOTE);
    if cut.len() < line.len() { format!("{cut} ...") } else { cut.to_owned() }
}

/// The beginning of a text that is fit to be shown already, for a first line: so many characters of it.
pub fn head(text: &str, shown: usize) -> String {
    match text.char_indices().nth(shown) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The same words, with what is left of a long path that was there before: a kubelet repeats those of volumes, in front of the error.
pub fn paths_once(text: &str) -> String {
    /// Shorter ones do not push the rest out of sight.
    const LONG: usize = 40;
    let mut seen: Vec<&str> = Vec::new();
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let path = word
            .trim_matches(|c: char| matches!(c, '"' | '\'' | '(' | ')' | '[' | ']' | ',' | ';' | ':' | '.'));
        let again = path.starts_with('/') && path.len() >= LONG && seen.contains(&path);
        match path.rsplit_once('/').filter(|_| again) {
            Some((_, last)) => words.push(word.replacen(path, &format!("…/{last}"), 1)),
            None => words.push(word.to_owned()),
        }
        seen.push(path);
    }
    words.join(" ")
}

/// A name from the cluster: clean, and no longer than Kubernetes lets names be. What is more than a name, such as an image
/// with credentials in it, has its secrets hidden.
pub fn name(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    if !text.bytes().all(plain) {
        return redact::cut(&redact::redact(text), 253).to_owned();
    }
    redact::cut(&redact::clean(text), 253).to_owned()
}

/// A name as a word of a shell command that a person may paste: quoted unless it is harmless as it stands. Names of
/// referenced objects are not validated by the API server, nor is anything in a file.
pub fn arg(text: &str) -> String {
    let name = name(text);
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_.:/@%+,=".contains(c);
    if !name.is_empty() && !name.starts_with('-') && name.chars().all(harmless) {
        return name;
    }
    format!("'{}'", name.replace('\'', "'\\''"))
}

/// Names in a row, the first ten of them in full.
pub fn list<S: AsRef<str>>(names: &[S]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|n| name(n.as_ref())).collect();
    let shown = shown.join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A duration as people say it: `3s`, `4m10s`, `2h5m`, `3d4h`.
pub fn duration(d: SignedDuration) -> String {
    let s = d.as_secs().max(0);
    match s {
        0..60 => format!("{s}s"),
        60..3600 if s % 60 == 0 => format!("{}m", s / 60),
        60..3600 => format!("{}m{}s", s / 60, s % 60),
        3600..86_400 if s % 3600 < 60 => format!("{}h", s / 3600),
        3600..86_400 => format!("{}h{}m", s / 3600, s % 3600 / 60),
        _ if s % 86_400 < 3600 => format!("{}d", s / 86_400),
        _ => format!("{}d{}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// The text between the first `before` and the next `after`.
pub fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    let (inner, _) = rest.split_once(after)?;
    Some(inner)
}

/// The text without what is new at every attempt (container ids, mount numbers, uids), so that it can be compared and
/// grouped.
pub fn normalise(text: &str) -> String {
    let is_id = |word: &str| {
        let hex = word.chars().filter(|c| c.is_ascii_hexdigit()).count();
        let digits = word.chars().filter(char::is_ascii_digit).count();
        let only = word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        (only && hex >= 12 && digits >= 2) || (word.len() >= 8 && digits == word.len())
    };
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    let flush = |word: &mut String, out: &mut String| {
        let digits_from = word.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |i| i + 1);
        if is_id(word) {
            out.push('*');
        } else if word.len() - digits_from >= 6 {
            out.push_str(word.get(..digits_from).unwrap_or_default());
            out.push('*');
        } else {
            out.push_str(word);
        }
        word.clear();
    };
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || c == '-' {
            word.push(c);
        } else {
            flush(&mut word, &mut out);
            out.push(c);
        }
    }
    flush(&mut word, &mut out);
    out
}

/// The message of an event without the recorder's remark that it stands for several.
pub fn uncombined(message: &str) -> &str {
    message.strip_prefix("(combined from similar events): ").unwrap_or(message)
}

/// `1 restart`, `2 restarts`.
pub fn count(n: i64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_at_every_attempt_is_left_out() {
        assert_eq!(
            normalise(
                r#"failed to generate container "f9a028ee30355a7cafe282ea9d71154897eb87baf3a6caf361249f84906f4548" spec"#
            ),
            r#"failed to generate container "*" spec"#
        );
        assert_eq!(
            normalise("containerd-mount1270156187: no users found"),
            "containerd-mount*: no users found"
        );
        assert_eq!(
            normalise(r#"configmap "gateway-config" not found"#),
            r#"configmap "gateway-config" not found"#
        );
        assert_eq!(normalise("payments/api:4.9.9"), "payments/api:4.9.9");
    }

    #[test]
    fn a_name_cannot_break_out_of_a_command() {
        assert_eq!(arg("cart-7d9f"), "cart-7d9f");
        assert_eq!(arg("x;reboot"), "'x;reboot'");
        assert_eq!(arg("$(id)'"), "'$(id)'\\'''");
        assert_eq!(arg("-o"), "'-o'");
        assert_eq!(arg(""), "''");
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..12).map(|n| format!("c{n}")).collect();
        assert_eq!(list(&names), "c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 and 2 more");
        assert_eq!(list(&["a", "b"]), "a, b");
    }

    #[test]
    fn durations_read_as_people_say_them() {
        for (seconds, text) in [
            (3, "3s"),
            (60, "1m"),
            (250, "4m10s"),
            (3600, "1h"),
            (7500, "2h5m"),
            (86_400, "1d"),
            (273_600, "3d4h"),
        ] {
            assert_eq!(duration(SignedDuration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_long_path_is_written_out_once() {
        let path = "/var/lib/kubelet/pods/*/volumes/kubernetes.io~csi/pvc-1/mount";
        let said = format!("cannot check {path}; stat {path}: input/output error, \"/tmp/a\" \"/tmp/a\"");
        assert_eq!(
            paths_once(&said),
            format!("cannot check {path}; stat …/mount: input/output error, \"/tmp/a\" \"/tmp/a\"")
        );
    }
}
