//! Text from a cluster made safe to show: control characters taken out, secrets hidden.
//!
//! Pure text in, text out. It must not know where a line comes from or where it goes. Every object hides its secrets when it
//! is decoded ([`redact_in_place`]), and a log when its tail is read, so that no text is cut or joined before.
//!
//! What is hidden stands in tables: `passes` (patterns by shape and place), `tokens` (prefixes), `commands` (options of
//! programs), `pairs` (names of secrets), `keys` (private keys). The secret becomes [`MARK`]. It can not be complete: a bare
//! word that is a password looks like any other word. Where it has to choose, a value behind a secret's name is hidden even
//! if that costs a readable word, and words without such a name stay.
//!
//! One look for words of all tables decides which of them are tried at all; most texts have none. Patterns are compiled when
//! they are first tried, match in linear time, and see no more than [`MAX_TEXT`].

mod blocks;
mod commands;
mod keys;
mod pairs;
mod passes;
mod tokens;

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::Regex;

pub use keys::of_private_key;

/// What stands in the place of a secret.
pub const MARK: &str = "[redacted]";

/// Stands for [`MARK`] while a line is worked on: one character that is neither a letter nor a bracket, and that
/// [`clean`] lets through from nowhere.
const HOLE: char = '\u{fdd0}';

/// The longest line that is looked at, in bytes; what is behind it is dropped.
pub const MAX_LINE: usize = 4096;

/// The longest text of several lines that is looked at, in bytes: the longest message that Kubernetes allows.
pub const MAX_TEXT: usize = 32 * 1024;

/// One printable line: no escape sequences, no control characters, nothing that reorders or hides text.
///
/// Tabs, line ends and other blanks become a space. NUL bytes vanish, which also makes UTF-16 text in the ASCII range readable.
pub fn clean(text: &str) -> Cow<'_, str> {
    cleaned(text, false)
}

fn cleaned(text: &str, keep_lines: bool) -> Cow<'_, str> {
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte) || (keep_lines && byte == b'\n')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    let mut no_end = usize::MAX;
    while let Some(c) = chars.next() {
        match c {
            '\n' if keep_lines => out.push(c),
            '\u{1b}' | '\u{90}' | '\u{98}' | '\u{9b}' | '\u{9d}'..='\u{9f}' => {
                skip_escape(c, &mut chars, &mut no_end)
            }
            _ if c.is_whitespace() => out.push(' '),
            _ if is_hidden(c) => {}
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Characters that print nothing or a blank, or that change the order in which others are shown: what Unicode calls default
/// ignorable and bidirectional controls, and a few beside that. [`HOLE`] is one of the noncharacters.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Moves behind an escape sequence whose introducer is `first`. A sequence without an end loses its introducer only,
/// so that a lone escape can not swallow the line. `no_end` is how much text was left where the search for an end gave up: a
/// sequence that begins before has none either, and is not searched again.
fn skip_escape(first: char, chars: &mut std::str::Chars<'_>, no_end: &mut usize) {
    let kind = match first {
        '\u{1b}' => match chars.clone().next() {
            Some(next @ ('[' | ']' | 'P' | 'X' | '^' | '_')) => {
                chars.next();
                next
            }
            // A charset choice is three characters long, any other simple escape two.
            Some(' '..='/') => {
                chars.next();
                chars.next();
                return;
            }
            Some('0'..='~') => {
                chars.next();
                return;
            }
            _ => return,
        },
        '\u{9b}' => '[',
        _ => ']',
    };
    let mut ahead = chars.clone();
    if kind == '[' {
        while let Some(c) = ahead.next() {
            match c {
                '@'..='~' => {
                    *chars = ahead;
                    return;
                }
                ' '..='?' => {}
                _ => return,
            }
        }
        return;
    }
    if *no_end < ahead.as_str().len() {
        return;
    }
    while let Some(c) = ahead.next() {
        match c {
            '\u{07}' | '\u{9c}' => {
                *chars = ahead;
                return;
            }
            '\u{1b}' if ahead.clone().next() == Some('\\') => {
                ahead.next();
                *chars = ahead;
                return;
            }
            '\n' => break,
            _ => {}
        }
    }
    *no_end = ahead.as_str().len();
}

/// The text cut to `max` bytes at a character; where a word would be cut, it goes altogether, so that no half of a
/// secret is left that no pattern knows any more.
pub fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let head = text.get(..end).unwrap_or_default();
    match head.rfind(char::is_whitespace) {
        Some(space) if end - space <= 512 => head.get(..space).unwrap_or(head),
        _ => head,
    }
}

/// The line [`clean`]ed, cut to [`MAX_LINE`], with every secret in it replaced by [`MARK`].
pub fn redact(line: &str) -> Cow<'_, str> {
    let ends = |text: String| if text.contains('\n') { text.replace('\n', " ") } else { text };
    match redact_within(line, MAX_LINE) {
        Cow::Borrowed(text) if !text.contains('\n') => Cow::Borrowed(text),
        text => Cow::Owned(ends(text.into_owned())),
    }
}

/// The same for a text of several lines, which stay several; cut to [`MAX_TEXT`].
pub fn redact_text(text: &str) -> Cow<'_, str> {
    redact_within(text, MAX_TEXT)
}

/// Hides the secrets of a text in its place, which keeps its lines. This is what every decoded object goes through.
pub fn redact_in_place(text: &mut String) {
    if text.is_empty() {
        return;
    }
    if let Cow::Owned(shown) = redact_text(text)
        && (shown.contains(MARK) || text.len() > MAX_TEXT)
    {
        *text = shown;
    }
}

fn redact_within(text: &str, max: usize) -> Cow<'_, str> {
    // Cleaned first: an escape sequence in the middle of a key would hide it from the patterns.
    let text = match cleaned(cut(text, max * 2), true) {
        Cow::Borrowed(text) => Cow::Borrowed(cut(text, max)),
        Cow::Owned(text) => Cow::Owned(cut(&text, max).to_owned()),
    };
    match hide(&text) {
        // The mark may be longer than what it stands for.
        Some(hidden) if hidden.len() > max => Cow::Owned(cut(&hidden, max).to_owned()),
        Some(hidden) => Cow::Owned(hidden),
        None => text,
    }
}

/// A pattern of this file. The tests compile every one of them.
///
/// A word may have any character in it that is not ASCII, and white space is ASCII's, which [`clean`] makes of any other: with
/// Unicode's own tables all patterns together took 14 MB rather than 3. Classes with `\w` do not depend on case, so it is
/// not folded there: `(?i)` would go through all of Unicode for each.
#[expect(clippy::expect_used, reason = "the patterns are constants, and the tests compile each of them")]
fn pattern(text: &str) -> Regex {
    const WORD: &str = r"0-9A-Za-z_\x{80}-\x{10FFFF}";
    let mut parts = text.split(r"\w");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (others, behind) = match whole.strip_suffix('[').map(str::len) {
            Some(length) => {
                whole.truncate(length);
                part.split_once(']').unwrap_or_default()
            }
            None => ("", part),
        };
        whole.extend(["(?-i:[", WORD, others, "])", behind]);
    }
    let classes = [(r"\d", "[0-9]"), (r"\s", r"[\t-\r ]"), (r"\S", r"[^\t-\r ]"), (r"\b", r"(?-u:\b)")];
    let whole = classes.iter().fold(whole, |text, (class, plain)| text.replace(class, plain));
    Regex::new(&whole).expect("a pattern in redact.rs does not compile")
}

/// The stages of hiding, as bits: the passes have the lower ones.
const TOOLS: u64 = 1 << 60;
const TOKENS: u64 = 1 << 61;
const PAIRS: u64 = 1 << 62;
const KEYS: u64 = 1 << 63;

/// Words that the name of a secret, or what is around one, holds.
const PAIR_HINTS: &str = "pass pwd secret token key auth cookie credential creds conn dsn jwt sig sess otp sas webhook pw psk cvv pin totp hotp \
    mnemonic recoverycode backup community bindpw kennwort geheim motdepasse contrase clave senha segredo wachtwoord hasło haslo salasana lösenord \
    losenord adgangskode jelszo jelszó şifre sifre parol lozinka heslo пароль Пароль секрет Секрет токен Токен 密码 密碼 口令 令牌 密钥 秘密 パスワード トークン 비밀번호 \
    암호 matkhau mat_khau mot_de de_passe mot-de";

/// Which stages can find anything: most texts hold no word of any of them, and are done.
static HINTS: LazyLock<(AhoCorasick, Vec<u64>)> = LazyLock::new(|| {
    let words = |list: &'static str, stage: u64| {
        list.split(' ').filter(|w| !w.is_empty()).map(move |word| (word, stage))
    };
    let passes = passes::PASSES.iter().enumerate();
    let hints: Vec<(&str, u64)> = passes
        .flat_map(|(at, pass)| pass.hints.iter().map(move |hint| (*hint, 1 << at)))
        .chain(commands::hints().map(|name| (name, TOOLS)))
        .chain(tokens::hints().map(|prefix| (prefix, TOKENS)))
        .chain(words(PAIR_HINTS, PAIRS))
        .chain(words(pairs::SERVICES, PAIRS))
        .chain([("private key", KEYS), ("putty-user", KEYS)])
        .collect();
    #[expect(clippy::expect_used, reason = "the words are constants, and the tests build the table")]
    let automaton = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build(hints.iter().map(|(word, _)| word))
        .expect("the hints of redact do not build");
    (automaton, hints.into_iter().map(|(_, stage)| stage).collect())
});

fn stages(text: &str) -> u64 {
    let (automaton, of) = &*HINTS;
    let body = if keys::may_have_body(text) { KEYS } else { 0 };
    automaton
        .find_overlapping_iter(text)
        .fold(body, |stages, found| stages | of.get(found.pattern().as_usize()).copied().unwrap_or_default())
}

/// Hides all that is known as a secret in a text that is clean; `None` where there is none. With a part of a secret hidden, the
/// rest may be known as one: it is looked at again until nothing more is found.
fn hide(text: &str) -> Option<String> {
    const ROUNDS: usize = 4;
    let mut shown = hide_once(text)?;
    for _ in 1..ROUNDS {
        match hide_once(&shown) {
            Some(next) if next != shown => shown = next,
            _ => break,
        }
    }
    Some(shown)
}

fn hide_once(text: &str) -> Option<String> {
    let stages = stages(text);
    if stages == 0 {
        return None;
    }
    let mark = HOLE.to_string();
    let mut shown =
        if text.contains(MARK) { Cow::Owned(text.replace(MARK, &mark)) } else { Cow::Borrowed(text) };
    let mut is_changed = false;
    let mut apply = |stage: u64, hide: &dyn Fn(&str) -> Option<String>| {
        if stages & stage != 0
            && let Some(changed) = hide(&shown)
        {
            (shown, is_changed) = (Cow::Owned(changed), true);
        }
    };
    apply(KEYS, &keys::hide);
    apply(TOKENS, &tokens::hide);
    for at in 0..passes::PASSES.len() {
        apply(1 << at, &|text| passes::hide(at, text));
    }
    apply(TOOLS, &commands::hide);
    apply(PAIRS, &blocks::hide);
    apply(PAIRS, &pairs::hide);
    apply(KEYS, &keys::hide_bodies);
    is_changed.then(|| shown.replace(HOLE, MARK))
}

/// Upper case, lower case and a digit: what a generated secret has, and hex digests, ids and words have not.
fn mixed(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && text.bytes().any(|byte| byte.is_ascii_digit())
}

/// Values that say that there is none, or that someone has hidden it already.
fn harmless(value: &str) -> bool {
    let value = value.trim().trim_end_matches('.');
    let lower = value.to_ascii_lowercase();
    value.chars().filter(|c| c.is_alphanumeric()).count() == 0
        || matches!(
            lower.as_str(),
            "null"
                | "nil"
                | "none"
                | "undefined"
                | "true"
                | "false"
                | "yes"
                | "no"
                | "on"
                | "off"
                | "<nil>"
                | "(null)"
                | "unset"
                | "empty"
                | "redacted"
                | "<redacted>"
                | "[filtered]"
                | "sensitive"
                | "hidden"
                | "<unset>"
                | "<none>"
                | "n/a"
                | "nullptr"
                | "nan"
                | "required"
        )
        || value.starts_with("${")
        || value.starts_with("$(")
        || value.starts_with("{{")
        || value.starts_with('{')
        || lower.chars().all(|c| matches!(c, '*' | 'x' | '•' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_takes_out_escapes_and_controls_and_keeps_the_words() {
        assert_eq!(clean("\u{1b}[31;1mERROR\u{1b}[0m boom"), "ERROR boom");
        assert_eq!(clean("\u{1b}]0;title\u{7}text"), "text");
        assert_eq!(clean("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\"), "link");
        assert_eq!(clean("\u{9b}2Jtext"), "text");
        assert_eq!(clean("a\tb\r\nc"), "a b  c");
        assert_eq!(clean("pod\u{202e}gpj\u{200b}\u{feff}\0!"), "podgpj!");
        assert_eq!(clean("\u{1b}(Bplain\u{1b}="), "plain");
        assert_eq!(clean("Müller ✓ 日本"), "Müller ✓ 日本");
    }

    #[test]
    fn clean_leaves_nothing_that_cannot_be_seen_or_that_reorders() {
        let unseen = Regex::new(
            r"[\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\p{Control}\x{fff9}-\x{fffb}\x{2800}\x{1d159}]",
        )
        .unwrap();
        for c in '\u{80}'..=char::MAX {
            let shown = clean(c.encode_utf8(&mut [0; 4])).into_owned();
            if c.is_whitespace() {
                assert_eq!(shown, " ", "{c:?}");
            } else if unseen.is_match(c.encode_utf8(&mut [0; 4])) {
                assert_eq!(shown, "", "{c:?}");
            }
        }
        assert_eq!(clean("a\u{3164}b\u{115f}c\u{a0}d\u{3000}e"), "abc d e");
    }

    #[test]
    fn an_escape_without_end_swallows_nothing() {
        assert_eq!(clean("\u{1b}]0;no end"), "0;no end");
        assert_eq!(clean("\u{1b}[31"), "31");
        assert_eq!(clean("\u{1b}"), "");
    }

    #[test]
    fn a_secret_that_is_split_by_escapes_is_still_hidden() {
        assert_eq!(redact("pass\u{1b}[0mword=hun\u{200b}ter2"), "password=[redacted]");
    }

    #[test]
    fn a_line_over_the_limit_is_cut_before_the_word_that_crosses_it() {
        let line = format!("{} ghp_{}", "x ".repeat(2040), "a1B2".repeat(20));
        let shown = redact(&line);
        assert!(shown.len() <= MAX_LINE);
        assert!(!shown.contains("ghp_"), "half a token is left at the end");
        assert!(redact(&"é".repeat(10_000)).len() <= MAX_LINE);
    }

    #[test]
    fn what_is_hidden_once_stays_as_it_is() {
        let long = "S".repeat(90);
        for text in [
            "AUTH hunter~2X Authentication",
            &format!("[{{https://www.googleapis.com/compute/{long}18/single-pa@al: bad"),
            &"pw=a1 ".repeat(5000),
        ] {
            let shown = redact_text(text);
            assert!(shown.contains(MARK) && shown.len() <= MAX_TEXT);
            assert_eq!(redact_text(&shown), shown);
        }
    }

    #[test]
    fn escapes_without_end_take_no_longer_than_their_number_explains() {
        let began = std::time::Instant::now();
        assert_eq!(clean(&"\u{1b}]".repeat(500_000)), "");
        assert!(began.elapsed() < std::time::Duration::from_secs(10));
        assert_eq!(clean("\u{1b}]a\nb\u{1b}]c\u{7}d"), "a bd");
    }

    #[test]
    fn a_text_without_a_word_of_a_secret_is_not_looked_at_further() {
        assert_eq!(stages("container cart exited: no such file or directory"), 0);
        assert_ne!(stages("PASSWORD"), 0);
    }

    #[test]
    fn a_placeholder_is_no_element_that_holds_a_secret() {
        let words = "ERR AUTH <password> called without any password configured for the default user";
        assert_eq!(redact(words), words);
        assert_eq!(redact("<password>hunter2 and more"), "<password>[redacted]");
        assert_eq!(redact("<password> hunter2 </password>"), "<password> [redacted] </password>");
    }
}
