//! Text from a cluster made safe to show: control characters taken out, secrets hidden.
//!
//! Pure text in, text out. It must not know where a line comes from or where it goes. Everything that is quoted
//! from a log passes [`redact`]; everything else that a cluster wrote and a person or a machine will read passes [`clean`].
//!
//! Hiding is by the name in front (`password=`, `"token": `, `Authorization: `), by the shape (a JWT, a cloud key) and
//! by the place (user info and query of a URL). The name stays readable and the value becomes [`MARK`]. It can not be
//! complete: a bare word that is a password looks like any other word. Where it has to choose, a value behind a
//! secret's name is hidden even if that costs a readable word, and words without such a name stay.
//!
//! The `regex` crate matches in linear time, and no line longer than [`MAX_LINE`] is looked at.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What stands in the place of a secret.
pub const MARK: &str = "[redacted]";

/// Stands for [`MARK`] while a line is worked on: one character that is neither a letter nor a bracket, and that
/// [`clean`] lets through from nowhere.
const HOLE: char = '\u{fdd0}';

/// The longest line that is looked at, in bytes; what is behind it is dropped.
pub const MAX_LINE: usize = 4096;

/// One printable line: no escape sequences, no control characters, nothing that reorders or hides text.
///
/// Tabs and line ends become a space. NUL bytes vanish, which also makes UTF-16 text in the ASCII range readable.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\t' | '\n' | '\r' | '\u{0b}' | '\u{0c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => out.push(' '),
            '\u{1b}' | '\u{90}' | '\u{98}' | '\u{9b}' | '\u{9d}'..='\u{9f}' => skip_escape(c, &mut chars),
            _ if hidden(c) => {}
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Characters that print nothing, or that change the order in which others are shown.
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fdd0}'..='\u{fdef}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Moves behind an escape sequence whose introducer is `first`. A sequence without an end loses its introducer only,
/// so that a lone escape can not swallow the line.
fn skip_escape(first: char, chars: &mut std::str::Chars<'_>) {
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
            '\n' => return,
            _ => {}
        }
    }
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
    // Cleaned first: an escape sequence in the middle of a key would hide it from the patterns.
    let mut text = match clean(cut(line, MAX_LINE * 2)) {
        Cow::Borrowed(text) => Cow::Borrowed(cut(text, MAX_LINE)),
        Cow::Owned(text) => Cow::Owned(cut(&text, MAX_LINE).to_owned()),
    };
    if !HINT.is_match(&text) {
        return text;
    }
    let whole = text.clone();
    if text.contains(MARK) {
        text = Cow::Owned(text.replace(MARK, HOLE.encode_utf8(&mut [0; 4])));
    }
    for (pattern, hide) in PASSES.iter() {
        if let Cow::Owned(changed) = pattern.replace_all(&text, hide) {
            text = Cow::Owned(changed);
        }
    }
    if let Some(changed) = hide_pairs(&text) {
        text = Cow::Owned(changed);
    }
    if text.contains(HOLE) { Cow::Owned(text.replace(HOLE, MARK)) } else { whole }
}

/// A pattern of this file. The tests compile every one of them.
///
/// A word may have any character in it that is not ASCII: with Unicode's own tables for `\w` and `\d` all patterns together
/// took 14 MB rather than 3.
#[expect(clippy::expect_used, reason = "the patterns are constants, and the tests compile each of them")]
fn pattern(text: &str) -> Regex {
    let text = text.replace(r"\w", r"[0-9A-Za-z_\x{80}-\x{10FFFF}]").replace(r"\d", "[0-9]");
    Regex::new(&text).expect("a pattern in redact.rs does not compile")
}

/// A line without any of this holds nothing that a pass below could hide: most lines end here.
static HINT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?ix) pass|pwd|secret|token|key|auth|cookie|credential|conn|dsn|jwt|sig|sess|bearer|basic|identified|://|-u\x20|@tcp|@unix|thin:
        | [?&] | -----BEGIN | eyJ | AKIA|ASIA | AIza | ya29 | GOCSPX | _pat_|pat- | gh[pousr]_ | gl[a-z]{2,6}- | xox | xapp- | [sr]k_ | sk- | whsec_ | npm_
        | hv[sbr]\. | k8s-aws-v1 | \$(?:2[aby]|apr1|[156y]|argon2) | mysql|mariadb|sshpass|ldapsearch|redis-cli|docker\x20login | dop_v1_ | SG\. | pypi- | shp | hf_ | glsa_ | glc_ | dapi | NRAK | ATATT | SK[0-9a-f]{32} | \d{8,10}:[\w-]{35} | ^\s*[A-Za-z0-9+/=]{40,}\s*$",
    )
});

type Hide = fn(&Captures<'_>) -> String;

fn group<'a>(found: &'a Captures<'_>, index: usize) -> &'a str {
    found.get(index).map_or("", |group| group.as_str())
}

/// Hides the second group, keeps the first and the third.
fn second(found: &Captures<'_>) -> String {
    format!("{}{HOLE}{}", group(found, 1), group(found, 3))
}

/// Secrets that are known by their shape or place, in the order in which they are looked for.
static PASSES: LazyLock<Vec<(Regex, Hide)>> = LazyLock::new(|| {
    let pass = |text: &str, hide: Hide| (pattern(text), hide);
    vec![
        // Private keys in PEM, whole or cut off, with real or with escaped line ends. Public parts may stay.
        pass(
            r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|$)",
            |_| HOLE.to_string(),
        ),
        // A line of a PEM body: nothing but base64.
        pass(r"^\s*[A-Za-z0-9+/]{40,}={0,2}\s*$", |found| {
            let line = group(found, 0);
            if mixed(line) && line.matches('/').count() * 12 <= line.len() {
                HOLE.to_string()
            } else {
                line.to_owned()
            }
        }),
        // JSON Web Tokens, signed, encrypted or cut off, and any other base64 of a JSON object.
        pass(r"\beyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*){0,4}={0,2}", |_| HOLE.to_string()),
        // The tokens of known services. The prefix is the proof, so no name is needed in front.
        pass(
            r"(?x)
            \b(?: (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}           # AWS key ids
              | k8s-aws-v1\.[A-Za-z0-9_-]{10,} | AGE-SECRET-KEY-1[A-Z0-9]{10,}
              | AIza[A-Za-z0-9_-]{30,} | ya29\.[A-Za-z0-9_-]{10,} | GOCSPX-[A-Za-z0-9_-]{10,}   # Google
              | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_[A-Za-z0-9_]{20,}
              | gl(?:pat|rt|dt|ptt|cbt|ft|imt|agent|soat)-[A-Za-z0-9_-]{10,}
              | xox[abeoprs]-[A-Za-z0-9-]{8,} | xapp-[A-Za-z0-9-]{8,}
              | (?:sk|rk)_(?:live|test)_[A-Za-z0-9]{8,} | whsec_[A-Za-z0-9+/=]{8,}
              | sk-[A-Za-z0-9_-]{20,} | npm_[A-Za-z0-9]{20,} | pypi-[A-Za-z0-9_-]{20,} | dckr_pat_[A-Za-z0-9_-]{10,}
              | hv[sbr]\.[A-Za-z0-9_-]{10,} | dop_v1_[a-f0-9]{16,} | SG\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}
              | shp(?:at|ss|ca|pa)_[A-Fa-f0-9]{16,} | hf_[A-Za-z0-9]{20,} | gl(?:sa|c)_[A-Za-z0-9_=+/]{16,}
              | dapi[a-f0-9]{32} | NRAK-[A-Z0-9]{16,} | ATATT3[A-Za-z0-9_=-]{16,} | SK[a-f0-9]{32} | [0-9]{8,10}:AA[A-Za-z0-9_-]{30,}
              )",
            |_| HOLE.to_string(),
        ),
        // The secret half of a webhook's address.
        pass(
            r"((?:hooks\.slack\.com/(?:services|workflows)|discord(?:app)?\.com/api/webhooks|webhook\.office\.com/webhookb2)/)([^\s]+?)([.,;:)\]]*(?:[\s\x22']|$))",
            second,
        ),
        // scheme://user:password@host. The password may hold '/' and '@'; host:port/path@... is no password.
        pass(r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s/:@\x22'`]*:)([^\s\x22'`]*)(@)", |found| {
            let password = group(found, 2);
            let digits = password.trim_start_matches(|c: char| c.is_ascii_digit());
            if password.is_empty() || (digits.len() < password.len() && digits.starts_with(['/', '?', '#'])) {
                return group(found, 0).to_owned();
            }
            second(found)
        }),
        // https://token@host: over HTTP a user without a password is most often a token.
        pass(r"(?i)(\bhttps?://)([^\s/:@\x22'`?#]+)(@)", second),
        // user:password@tcp(host) of Go's MySQL driver, Oracle's thin:user/password@, curl -u user:password.
        pass(r"(\b[\w.-]+:)([^\s\x22'`]+)(@(?:tcp|tcp4|tcp6|unix|udp)\()", second),
        pass(r"(?i)(\bjdbc:oracle:(?:thin|oci):[^\s/@]+/)([^\s@]+)(@)", second),
        pass(r"(\s(?:-u|--user)[ =]['\x22]?[^\s:]+:)([^\s'\x22]+)()", second),
        // Any long random value in a query, whatever its name, and the one-time code of OAuth.
        pass(r"([?&](?:code|[A-Za-z0-9_.%\[\]-]{1,64})=)([^&\s\x22'<>]+)()", |found| {
            let (name, value) = (group(found, 1), group(found, 2));
            if name.ends_with("?code=") || name.ends_with("&code=") || (value.len() >= 20 && mixed(value)) {
                second(found)
            } else {
                group(found, 0).to_owned()
            }
        }),
        // A scheme of HTTP authentication with what follows it.
        pass(r"(?i)(\b(?:bearer|basic)\s+)([A-Za-z0-9._~+/-]{6,}={0,2})()", |found| {
            let value = group(found, 2).trim_end_matches(['.', '=']);
            let word = value.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            let title = value.bytes().skip(1).all(|byte| byte.is_ascii_lowercase());
            if value.len() < 16 && (word || title) { group(found, 0).to_owned() } else { second(found) }
        }),
        // A secret's name, then a value that no one would take for a word.
        pass(
            r"(?i)(\b(?:tokens?|secret|passwords?|passwd|api[ _-]?key|access[ _-]?key|secret[ _-]?key|credentials?)\s+(?:is\s+|was\s+)?['\x22`]?)([A-Za-z0-9+/_=-]{16,})()",
            |found| {
                let value = group(found, 2);
                let hex = value.len() >= 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
                if mixed(value) || hex { second(found) } else { group(found, 0).to_owned() }
            },
        ),
        // An AWS secret key without its name, in a line that speaks of one.
        pass(
            r"((?i:aws|s3|secret|credential)[^\n]{0,200}?[\s:=\x22',])([A-Za-z0-9/+]{40})($|[\s\x22',;)\]}])",
            |found| {
                if mixed(group(found, 2)) { second(found) } else { group(found, 0).to_owned() }
            },
        ),
        // Hashes of passwords.
        pass(r"\$(?:2[aby]|apr1|[156y]|argon2\w{1,2})\$[^\s\x22',;:]{8,}", |_| HOLE.to_string()),
        // Options of commands that take a password under a letter.
        pass(
            r"(\b(?:mysql|mysqldump|mysqladmin|mariadb|mariadb-dump)\s[^\n|;]{0,200}?\s-p)([^\s'\x22]+)()",
            second,
        ),
        pass(r"(\bredis-cli\s[^\n|;]{0,200}?-a\s+)(\S+)()", second),
        pass(r"(\b(?:sshpass|docker login|ldapsearch)\s(?:[^\n|;]{0,200}?\s)?-[pw]\s*)([^\s-]\S*)()", second),
        // A variable as Kubernetes writes it, in JSON or in YAML on one line.
        pass(
            r"(\bname\\*\x22?:\s*\\*\x22?([\w.-]+)\\*\x22?\s*,?\s*(?:\\*\x22)?value\\*\x22?:\s*\\*\x22?)([^\x22\\,}\s]+)",
            |found| {
                if secret_key(group(found, 2)).is_some() {
                    format!("{}{HOLE}", group(found, 1))
                } else {
                    group(found, 0).to_owned()
                }
            },
        ),
        // Passwords that stand behind words of their own.
        pass(
            r"(?i)(\bpassword (?:for|of) (?:the )?(?:user )?['\x22]?[\w.@-]{1,64}['\x22]?(?: user)?(?: is)?: )(\S+)()",
            |found| {
                if sentence(group(found, 2)) { group(found, 0).to_owned() } else { second(found) }
            },
        ),
        pass(r"(?i)(\btemporary password is generated for \S+:\s*)(\S+)()", second),
        pass(
            r"(?i)(\bpassword (?:for (?:the )?(?:user )?)?['\x22]?[\w.@-]{1,64}['\x22]?(?: user)? = )(\S+)()",
            second,
        ),
        pass(
            r"(?i)(\b(?:(?:user|to|role)\s.{1,80}\sidentified\s+by|encrypted\s+password|with\s+password|(?:user|role)\s+\S+\s+password)\s+')([^']+)('|$)",
            second,
        ),
        pass(r"(?i)(\b(?:requirepass|masterauth)\s+)(\S+)()", second),
        pass(
            r"(?i)(<(?:[\w.:-]*(?:password|passwd|passphrase|secret|token|apikey|api-key|accesskey|privatekey))\s*>)([^<]+)(<)",
            second,
        ),
        // Cut in the middle of the element; behind a placeholder such as `AUTH <password>` stands a blank.
        pass(
            r"(?i)(<(?:[\w.:-]*(?:password|passwd|passphrase|secret|token|apikey|api-key|accesskey|privatekey))\s*>)([^<\s][^<]*)($)",
            second,
        ),
    ]
});

/// Upper case, lower case and a digit: what a generated secret has, and hex digests, ids and words have not.
fn mixed(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && text.bytes().any(|byte| byte.is_ascii_digit())
}

/// A name and what parts it from its value: `key=`, `"key": `, `key := `, `:key=>`, `config["key"] = `, `\"key\":\"`,
/// `--key `.
static KEY: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)(?P<quote>\\*[\x22'`])?\]?(?P<sep>\s{0,3}(?:=>|:=|=|:|%3[dD]|->)\s{0,8})|(?P<flag>--?[A-Za-z][A-Za-z0-9_.-]*)(?P<gap>\s+)",
    )
});

/// Hides the values behind the names of secrets; `None` where there is none.
fn hide_pairs(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = KEY.captures_at(text, at) {
        let whole = found.get(0)?;
        at = whole.end();
        let flag = found.name("flag");
        let key = found.name("key").or(flag)?;
        let Some(kind) = secret_key(key.as_str()) else {
            continue;
        };
        let rest = text.get(at..)?;
        let sep = found.name("sep").map_or("", |sep| sep.as_str());
        // `key: value` in plain text may just as well be a sentence, and so may `--flag value`.
        let before = text.get(..key.start()).unwrap_or_default();
        let quote = found.name("quote").map_or("", |quote| quote.as_str());
        let quoted = !quote.is_empty() && before.ends_with(quote.trim_start_matches('\\'));
        let prose = flag.is_some() || (!quoted && sep.trim() == ":" && sep.ends_with(' '));
        if flag.is_some() && !before.is_empty() && !before.ends_with([' ', '"', '\'', '`', ',', '[']) {
            continue;
        }
        let before = before.trim_end();
        if prose && (before.ends_with("unexpected") || before.ends_with("Unexpected")) {
            continue;
        }
        let Some((start, end)) = value(rest, kind, key.as_str(), prose) else {
            continue;
        };
        out.push_str(text.get(copied..at + start)?);
        out.push(HOLE);
        copied = at + end;
        at = copied;
    }
    if copied == 0 {
        return None;
    }
    out.push_str(text.get(copied..)?);
    Some(out)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// One value.
    Plain,
    /// `Authorization`: the scheme stays, all that follows goes.
    Header,
    /// Cookies: all that follows goes.
    Cookie,
    /// A connection string: its own parts are looked at; only one without any is hidden whole.
    Connection,
}

/// What a key that ends with one of these holds is secret, however its words are joined.
const SECRET_ENDS: &str = "secret secrets token pwd apikey accesskey secretkey privatekey authkey accountkey encryptionkey \
    signingkey masterkey sessionkey sharedaccesskey sharedkey sshkey licensekey hmackey credential \
    credentials jwt sessionid sessid secretid secretkeybase signature tokenvalue secretvalue secretdata \
    dockerconfigjson privatekeydata webhookurl otp passcode";

/// Last words that make a key's value a name, a place, a number or a time, not the secret.
const HARMLESS_ENDS: &str = "name names ref file path dir url uri endpoint type count ttl expiry expires length len size limit id \
    version policy field algorithm method provider format enabled required age authentication manager store \
    encoder encryption changed errors error reset check validation attempts min max hint prompt command env \
    key";

fn listed(words: &str, word: &str) -> bool {
    words.split(' ').any(|listed| listed == word)
}

fn secret_key(key: &str) -> Option<Kind> {
    let key = key.trim_start_matches('-');
    let joined: String =
        key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let last = last_word(key);
    if joined.contains("password") || joined.contains("passwd") || joined.contains("passphrase") {
        return (!listed(HARMLESS_ENDS, &last)).then_some(Kind::Plain);
    }
    if joined.ends_with("authorization") || last == "auth" {
        return Some(Kind::Header);
    }
    if joined.ends_with("cookie") {
        return Some(Kind::Cookie);
    }
    if joined.ends_with("connectionstring") || joined.ends_with("connstr") || last == "dsn" {
        return Some(Kind::Connection);
    }
    let by_end = SECRET_ENDS.split(' ').any(|end| joined.ends_with(end));
    (by_end || matches!(last.as_str(), "pass" | "sig" | "sas" | "userpass")).then_some(Kind::Plain)
}

/// The last word of `db_userName`, `x-api-key`, `spring.datasource.password`, in lower case.
fn last_word(key: &str) -> String {
    let tail = key.trim_end_matches(['_', '.', '-']).rsplit(['_', '.', '-']).next().unwrap_or(key);
    let camel = tail.char_indices().rev().find(|(index, c)| {
        let before = tail.get(..*index).and_then(|head| head.chars().next_back());
        c.is_ascii_uppercase() && before.is_some_and(|before| before.is_ascii_lowercase())
    });
    camel.and_then(|(index, _)| tail.get(index..)).unwrap_or(tail).to_ascii_lowercase()
}

/// The bytes of the value at the start of `rest` that are to be hidden; `None` where there is nothing to hide.
fn value(rest: &str, kind: Kind, key: &str, prose: bool) -> Option<(usize, usize)> {
    let lead = rest.len() - rest.trim_start_matches(['[', '(']).len();
    let mut start = lead;
    let mut body = rest.get(start..)?;
    let prefix = body.strip_prefix(['b', 'u', 'r', 'B']).filter(|next| next.starts_with(['"', '\'']));
    if let Some(next) = prefix {
        start += 1;
        body = next;
    }
    let slashes = body.len() - body.trim_start_matches('\\').len();
    let quote =
        body.get(slashes..).and_then(|text| text.chars().next()).filter(|c| matches!(c, '"' | '\'' | '`'));
    let end = if let Some(quote) = quote {
        start += slashes + 1;
        body = rest.get(start..)?;
        quoted_end(body, quote, slashes)
    } else {
        match kind {
            Kind::Header | Kind::Cookie => body.find(['"', '\'', ']']).unwrap_or(body.len()),
            _ => bare_end(body),
        }
    };
    let mut value = body.get(..end)?;
    if kind == Kind::Header {
        let scheme = value.split_once(' ').map(|(scheme, _)| scheme).filter(|scheme| is_scheme(scheme));
        if let Some(scheme) = scheme {
            start += scheme.len() + 1;
            value = value.get(scheme.len() + 1..)?;
        } else if prose || value.contains(' ') {
            value = value.get(..bare_end(value))?;
        }
    }
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    if (digits && key.ends_with('s'))
        || (prose && kind == Kind::Header && value.bytes().all(|b| b.is_ascii_lowercase()))
    {
        return None;
    }
    let after = rest.get(start + value.len()..).unwrap_or_default();
    if harmless(value) || (kind == Kind::Connection && has_parts(value)) {
        return None;
    }
    if quote.is_none() && kind == Kind::Plain && (value.contains("://") || is_path(value)) {
        return None;
    }
    // A task of rails or rake.
    if key.eq_ignore_ascii_case("credentials") && !prose && matches!(value, "edit" | "show") {
        return None;
    }
    // Controllers name a Secret object under the key `secret`: "ns/name".
    if key.eq_ignore_ascii_case("secret") && is_object_name(value) {
        return None;
    }
    // `failed to fetch token: serviceaccounts "default" is forbidden`
    let word = value.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'.');
    if prose && word && after.starts_with([' ']) && after.trim_start().starts_with(['"', '\'', '\\']) {
        return None;
    }
    if prose
        && (sentence(value)
            || MISSING.iter().any(|words| after.trim_start_matches(['"', '\'', '`']).starts_with(words)))
    {
        return None;
    }
    Some((start, start + value.len()))
}

const MISSING: &[&str] = &[
    " not found",
    " does not exist",
    " is not set",
    " is required",
    " is missing",
    " is forbidden",
    " must be",
    " cannot be",
    " not set",
    " is empty",
    " has expired",
    " is invalid",
    " is not valid",
];

fn is_scheme(word: &str) -> bool {
    [
        "bearer",
        "basic",
        "digest",
        "token",
        "apikey",
        "negotiate",
        "aws4-hmac-sha256",
        "sharedkey",
        "key",
        "bot",
    ]
    .iter()
    .any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// Where a quoted value ends: at the same quote behind as many backslashes as the opening one had.
fn quoted_end(body: &str, quote: char, slashes: usize) -> usize {
    let mut run = 0;
    for (index, c) in body.char_indices() {
        match c {
            '\\' => run += 1,
            _ if c == quote && (run == slashes || (slashes == 0 && run % 2 == 0)) => {
                return index - run.min(slashes);
            }
            _ => run = 0,
        }
    }
    body.len()
}

/// Where a bare value ends: at white space or `&`, and at a closing mark or a comma only when the text goes on as if
/// the value were over, since passwords hold such marks too.
fn bare_end(body: &str) -> usize {
    for (index, c) in body.char_indices() {
        let next = body.get(index + c.len_utf8()..).unwrap_or_default();
        let over = match c {
            _ if c.is_whitespace() => true,
            '&' => true,
            ',' | ';' => {
                next.is_empty() || next.starts_with(char::is_whitespace) || starts_pair(next, c == ';')
            }
            ')' | ']' | '}' | '>' | '"' | '\'' | '`' | ':' | '\\' => {
                next.is_empty()
                    || next.starts_with(|c: char| {
                        c.is_whitespace()
                            || matches!(c, ')' | ']' | '}' | '>' | '"' | '\'' | '`' | ',' | ';' | ':' | '.')
                    })
            }
            _ => false,
        };
        if over {
            return index;
        }
    }
    body.len()
}

/// Whether the text begins with another `name=` or `"name":`; in connection strings a name may hold spaces.
fn starts_pair(text: &str, spaces: bool) -> bool {
    let text = text.trim_start_matches(['"', '\'', '\\']);
    let name = text.len()
        - text
            .trim_start_matches(|c: char| {
                c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') || (spaces && c == ' ')
            })
            .len();
    (1..=48).contains(&name)
        && text
            .get(name..)
            .is_some_and(|rest| rest.trim_start_matches(['"', '\'', '\\']).starts_with(['=', ':']))
}

/// Values that say that there is none, or that someone has hidden it already.
fn harmless(value: &str) -> bool {
    let value = value.trim();
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

/// Whether a connection string has a part of its own that the other rules hide, so that host and database stay readable.
fn has_parts(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    lower.contains("://")
        || lower.contains("host=")
        || lower.contains("server=")
        || lower.contains("endpoint=")
        || lower.contains("@tcp(")
        || lower.contains(HOLE)
}

/// A path of lower-case words: where a secret is mounted, not the secret.
fn is_path(value: &str) -> bool {
    value.starts_with('/')
        && value.matches('/').count() >= 2
        && value
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/._-".contains(&byte))
}

/// `namespace/name`, in the letters that Kubernetes allows for objects.
fn is_object_name(value: &str) -> bool {
    value.matches('/').count() == 1
        && value.starts_with(|c: char| c.is_ascii_lowercase())
        && value
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/.-".contains(&byte))
}

/// Whether what follows `token: ` is the start of a sentence. Only words that error messages begin with.
fn sentence(value: &str) -> bool {
    let word = value.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
    listed(PROSE, &word)
}

const PROSE: &str = "a an and are argument authentication bad be cannot can connect connection context could couldn couldn't \
    decode decoding delete denied dial did does doesn doesn't error eof exit expected expired expires failed \
    failure field file flag for forbidden from get got has have head http https if illegal in incorrect input \
    invalid is isn it json key lookup malformed missing mismatch must need needs new no not nothing of on \
    open option or parse parsing patch permission please post provided put read received refused request \
    required requires rpc secret should signature string stat strconv that the this timed timeout tls to \
    token too unable unauthorized unexpected unknown unmarshal unset unsupported user using value \
    verification was with write wrong x509 you your";

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
    fn every_pattern_compiles() {
        assert!(PASSES.len() > 10);
        assert!(HINT.is_match("password"));
        assert!(KEY.is_match("a=b"));
    }

    #[test]
    fn a_placeholder_is_no_element_that_holds_a_secret() {
        let words = "ERR AUTH <password> called without any password configured for the default user";
        assert_eq!(redact(words), words);
        assert_eq!(redact("<password>hunter2 and more"), "<password>[redacted]");
        assert_eq!(redact("<password> hunter2 </password>"), "<password>[redacted]</password>");
    }
}
