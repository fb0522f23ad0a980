//! Secrets that are known by their shape or by the place where they stand: a table of patterns, each with words of which a
//! text must hold one before the pattern is tried at all.

use std::sync::OnceLock;

use regex::{Captures, Regex};

use super::pairs::{secret_key, sentence};
use super::{HOLE, mixed, pattern};

type Hide = fn(&Captures<'_>) -> String;

/// A row of the table.
pub(super) struct Pass {
    /// One of these must be in the text, in any case.
    pub hints: &'static [&'static str],
    pattern: &'static str,
    hide: Hide,
}

const fn pass(hints: &'static [&'static str], pattern: &'static str, hide: Hide) -> Pass {
    Pass { hints, pattern, hide }
}

static COMPILED: [OnceLock<Regex>; PASSES.len()] = [const { OnceLock::new() }; PASSES.len()];

/// Applies one pass; `None` where it hides nothing.
pub(super) fn hide(at: usize, text: &str) -> Option<String> {
    let (pass, compiled) = (PASSES.get(at)?, COMPILED.get(at)?);
    let pattern = compiled.get_or_init(|| pattern(pass.pattern));
    match pattern.replace_all(text, pass.hide) {
        std::borrow::Cow::Owned(changed) if changed != text => Some(changed),
        _ => None,
    }
}

fn group<'a>(found: &'a Captures<'_>, index: usize) -> &'a str {
    found.get(index).map_or("", |group| group.as_str())
}

fn all(_: &Captures<'_>) -> String {
    HOLE.to_string()
}

fn same(found: &Captures<'_>) -> String {
    group(found, 0).to_owned()
}

/// Hides the second group, keeps the first and the third.
fn second(found: &Captures<'_>) -> String {
    format!("{}{HOLE}{}", group(found, 1), group(found, 3))
}

/// Hides the second group where it is more than a word.
fn second_unless_word(found: &Captures<'_>) -> String {
    let value = group(found, 2).trim_end_matches(['.', ',', ';', ':', ')', '"', '\'']);
    let word = value.bytes().all(|b| b.is_ascii_lowercase() || b == b'-' || b == b'_');
    let title =
        value.bytes().skip(1).all(|b| b.is_ascii_lowercase()) && !value.bytes().any(|b| b.is_ascii_digit());
    let upper = value.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let number = value.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let quoted = group(found, 1).ends_with(['"', '\'', '`']);
    let said = sentence(value)
        || word
        || title
        || upper
        || (number && value.len() < 4)
        || value.starts_with(['/', '$', '<', '{', '[', '*']);
    if value.chars().filter(|c| c.is_alphanumeric()).count() < 4
        || (said && !(quoted && !sentence(value) && group(found, 3).ends_with(['"', '\'', '`'])))
    {
        return same(found);
    }
    let tail = group(found, 2).get(value.len()..).unwrap_or_default();
    format!("{}{HOLE}{tail}{}", group(found, 1), group(found, 3))
}

/// Hides the third group where the second is a secret's name.
fn named(found: &Captures<'_>) -> String {
    if secret_key(group(found, 2)).is_some() && !super::harmless(group(found, 3)) {
        format!("{}{}{HOLE}{}", group(found, 1), quote_of(group(found, 3)), group(found, 4))
    } else {
        same(found)
    }
}

/// The quote that a value begins with.
fn quote_of(value: &str) -> &str {
    let bare = value.trim_start_matches(['\\', '"', '\'']);
    value.strip_suffix(bare).unwrap_or_default()
}

/// Without `%2F` and the like, whose digits and capitals say nothing.
fn without_escapes(value: &str) -> String {
    let mut parts = value.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + part.get(2..).unwrap_or_default())
}

/// How the names of elements end that hold a secret.
const ELEMENTS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api-key",
    "accesskey",
    "privatekey",
    "pwd",
];

/// In the order in which they are tried.
pub(super) static PASSES: [Pass; 38] = [
    // JSON Web Tokens, signed, encrypted or cut off, any other base64 of a JSON object, and either encoded once more.
    pass(&["eyJ", "ZXlK"], r"\b(?:eyJ|ZXlK)[A-Za-z0-9_/+-]{10,}(?:\.[A-Za-z0-9_-]*){0,4}={0,2}", all),
    // The secret half of a webhook's address.
    pass(
        &["hooks", "webhook", "hc-ping", "api.telegram"],
        r"((?:hooks\.slack\.com/(?:services|workflows|triggers)|discord(?:app)?\.com/api/webhooks|webhook\.office\.com/webhookb2|hooks\.zapier\.com/hooks/catch|logic\.azure\.com(?::443)?/workflows|hc-ping\.com|api\.telegram\.org/bot|maker\.ifttt\.com/trigger/\w+/with/key|/hooks(?:/catch)?)/?)([A-Za-z0-9][^\s]{5,}?)([.,;:)\]]*(?:[\s\x22']|$))",
        second,
    ),
    // Sentry's address with its key, and others with a token for a user: over HTTP a user without a password is most often one.
    // scheme://user:password@host. The password may hold '/' and '@'; host:port/path@... is no password.
    pass(&["://"], r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s/:@\x22'`]*:)([^\s\x22'`]*)(@)", |found| {
        let password = group(found, 2);
        let digits = password.trim_start_matches(|c: char| c.is_ascii_digit());
        if password.is_empty() || (digits.len() < password.len() && digits.starts_with(['/', '?', '#'])) {
            return same(found);
        }
        second(found)
    }),
    pass(&["http"], r"(?i)(\bhttps?://)([^\s/:@\x22'`?#]+)(@)", second),
    // The same without a scheme, as in `user:password@registry.example.com/app`; a digest has `@`, too.
    pass(
        &["@"],
        r"(^|[\s\x22'`=(,/\[])([\w.+-]+:)([^\s\x22'`/@]{3,})@([\w-]+(?:\.[\w-]+)+|localhost)(:\d|/|[\s\x22'`,;)]|$)",
        |found| {
            if group(found, 2).ends_with("mailto:") || group(found, 3).bytes().all(|b| b.is_ascii_digit()) {
                return same(found);
            }
            format!("{}{}{HOLE}@{}{}", group(found, 1), group(found, 2), group(found, 4), group(found, 5))
        },
    ),
    // user:password@tcp(host) of Go's MySQL driver, Oracle's thin:user/password@ and user/password@, curl -u user:password.
    pass(&["@tcp", "@unix", "@udp"], r"(\b[\w.-]+:)([^\s\x22'`]+)(@(?:tcp|tcp4|tcp6|unix|udp)\()", second),
    pass(
        &["jdbc:oracle", "sqlplus", "sqlldr", "expdp", "impdp", "rman"],
        r"(?i)(\bjdbc:oracle:(?:thin|oci):[^\s/@]+/|\b(?:sqlplus|sqlldr|expdp|impdp|rman)\s(?:[^\n]{0,80}?\s)?[\w$]+/)([^\s@\x22']+)(@|[\s\x22']|$)",
        second,
    ),
    pass(
        &["-u ", "-u=", "--user ", "--user="],
        r"(\s(?:-u|--user)[ =]['\x22]?[^\s:]+:)([^\s'\x22]+)()",
        |found| {
            let digits = group(found, 2).bytes().all(|b| b.is_ascii_digit());
            if digits && group(found, 2).len() < 6 { same(found) } else { second(found) }
        },
    ),
    // Any long random value in a query, whatever its name, and the one-time code of OAuth.
    pass(&["?", "&"], r"([?&](?:code|[A-Za-z0-9_.%\[\]-]{1,64})=)([^&\s\x22'<>]+)()", |found| {
        let (name, value) = (group(found, 1), group(found, 2));
        if name.ends_with("?code=")
            || name.ends_with("&code=")
            || (value.len() >= 20 && mixed(&without_escapes(value)))
        {
            second(found)
        } else {
            same(found)
        }
    }),
    // A scheme of HTTP authentication with what follows it.
    pass(&["bearer", "basic"], r"(?i)(\b(?:bearer|basic)\s+)([A-Za-z0-9._~+/-]{6,}={0,2})()", |found| {
        let value = group(found, 2).trim_end_matches(['.', '=']);
        let word = value.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let title = value.bytes().skip(1).all(|byte| byte.is_ascii_lowercase());
        if value.len() < 16 && (word || title) { same(found) } else { second(found) }
    }),
    // A secret's name, then a value that no one would take for a word.
    pass(
        &[
            "token",
            "secret",
            "password",
            "passwd",
            "pwd",
            "passphrase",
            "passcode",
            "key ",
            "key\n",
            "credential",
        ],
        r"(?i)(\b(?:tokens?|secret|passwords?|passwd|pwd|passphrase|passcode|api[ _-]?key|access[ _-]?key|secret[ _-]?key|credentials?)\s+(?:is\s+|was\s+)?['\x22`]?)([A-Za-z0-9+/_=-]{8,})()",
        |found| {
            let value = group(found, 2);
            let hex = value.len() >= 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
            let long = value.len() >= 16 || group(found, 1).to_ascii_lowercase().starts_with("pass");
            if (mixed(value) && long) || hex { second(found) } else { same(found) }
        },
    ),
    // `the password is X`.
    pass(
        &["password", "passwd", "pwd", "passphrase", "passcode", "secret", "token", "key"],
        r"(?i)(\b(?:password|passwd|pwd|passphrase|passcode|(?:api|access|secret|private|encryption|root|admin|join) ?(?:key|token|secret|password))s?\s+(?:is|was|set to|changed to|reset to|are|=>|equals)(?: now| set to)?\s*:?\s*\\*[\x22'`]?)([^\s\x22'`\\]+)(\\*[\x22'`]?)",
        second_unless_word,
    ),
    pass(
        &["secret", "token"],
        r"(?i)(\b(?:secret|token)s?\s+(?:is|was|set to)\s*:?\s*[\x22'`]?)([A-Za-z0-9+/_.=-]{8,})([\x22'`]?)",
        second_unless_word,
    ),
    // `with password X`, `using password X`, `login X password X` of a .netrc.
    pass(
        &["password", "passphrase", "passwd"],
        r"(?i)(\b(?:with|using|use|tried|trying|wrong|bad|invalid|incorrect|login \S+|user \S+)\s+(?:the\s+)?(?:password|passphrase|passwd)\s+\\*[\x22'`]?)([^\s\x22'`:=\\]{4,})(\\*[\x22'`]?)",
        second_unless_word,
    ),
    pass(&["machine", "login"], r"(\b(?:machine\s+\S+|default)\s+login\s+\S+\s+password\s+)(\S+)()", second),
    // An AWS secret key without its name, in a line that speaks of one.
    pass(
        &["aws", "s3", "secret", "credential"],
        r"((?i:aws|s3|secret|credential)[^\n]{0,200}?[\s:=\x22',/])([A-Za-z0-9/+]{40})($|[\s\x22',;)\]}.:/])",
        |found| {
            if mixed(group(found, 2)) { second(found) } else { same(found) }
        },
    ),
    // The same beside the id of a key, which is hidden already.
    pass(
        &["akia", "asia"],
        r"(\x{FDD0}[\t\n\r -~]{0,100}?(?:^|[\s:=\x22',/|;]))([A-Za-z0-9/+]{40})($|[\s\x22',;)\]}.:|])",
        |found| if mixed(group(found, 2)) { second(found) } else { same(found) },
    ),
    pass(
        &["akia", "asia"],
        r"((?:^|[\s:=\x22',/|;]))([A-Za-z0-9/+]{40})([\s\x22',;)\]}.:|][\t\n\r -~]{0,100}?\x{FDD0})",
        |found| if mixed(group(found, 2)) { second(found) } else { same(found) },
    ),
    // Hashes of passwords.
    pass(
        &["$"],
        r"\$(?:2[abxy]|apr1|[156y]|argon2\w{1,2}|pbkdf2[\w-]*|scrypt|P|H|S|7|gy|sha1)\$[^\s\x22',;:]{8,}",
        all,
    ),
    pass(
        &["{sha", "{ssha", "{crypt", "{pbkdf2", "{bcrypt", "{argon2", "{md5", "{smd5", "{noop"],
        r"(?i)(\{(?:S?SHA\d*|CRYPT|PBKDF2[\w-]*|bcrypt|ARGON2\w*|S?MD5|noop)\})([^\s\x22',;]{4,})()",
        second,
    ),
    pass(
        &["pbkdf2_", "scrypt:", "scram-sha", "md5"],
        r"\b(?:pbkdf2_sha\d+\$|scrypt:\d+:|SCRAM-SHA-(?:1|256)\$)[^\s\x22']{8,}|\bmd5[0-9a-f]{32}\b",
        all,
    ),
    pass(
        &["key=", "name="],
        r"(?i)(<\w+\s[^<>]*?\b(?:key|name)=\\*[\x22']([\w.-]+)\\*[\x22'][^<>]*>\s*)([^<\s][^<]*?)(\s*<\\?/)",
        named,
    ),
    // A variable as Kubernetes writes it, in JSON or in YAML, the name first or the value first.
    pass(
        &["val", "content"],
        r"(?i)(\b(?:name|key|property|variable)\\*[\x22']?\s*[:=]\s*\\*[\x22']?([\w.-]+)\\*[\x22']?\s*,?(?:\s|\\+[nrt])*(?:-\s)?\\*[\x22']?(?:value|val|content)\\*[\x22']?\s*[:=]\s*)(\\*[\x22'][^\x22'\\\n]+|[^\x22'\\,}>\s]+)()",
        named,
    ),
    pass(
        &["value", "content"],
        r"(?i)(\b(?:value|content)\\*[\x22']?\s*[:=]\s*)(\\*[\x22'][^\x22'\\\n]+|[^\x22'\\,}>\s]+)(\\*[\x22']?\s*,?(?:\s|\\+[nrt])*(?:-\s)?\\*[\x22']?(?:name|key|property|variable)\\*[\x22']?\s*[:=]\s*\\*[\x22']?)([\w.-]+)",
        |found| {
            if secret_key(group(found, 4)).is_some() && !super::harmless(group(found, 2)) {
                format!(
                    "{}{}{HOLE}{}{}",
                    group(found, 1),
                    quote_of(group(found, 2)),
                    group(found, 3),
                    group(found, 4)
                )
            } else {
                same(found)
            }
        },
    ),
    // A Secret as a manifest, whatever its keys are called.
    pass(
        &["kind"],
        r"(?is)(\bkind\\*[\x22']?\s*:\s*\\*[\x22']?secret\b[^{}]{0,400}?(?:\b|\\n)(?:string)?data\\*[\x22']?\s*:\s*\{?)([^{}]+)()",
        |found| hide_values(group(found, 1), group(found, 2)),
    ),
    pass(
        &["kind"],
        r"(?is)(\b(?:string)?data\\*[\x22']?\s*:\s*\{)([^{}]+)(\}[^}]{0,200}\bkind\\*[\x22']?\s*:\s*\\*[\x22']?secret\b)",
        |found| hide_values(group(found, 1), group(found, 2)) + group(found, 3),
    ),
    // Passwords that stand behind words of their own.
    pass(
        &["password"],
        r"(?i)(\bpassword (?:for|of) (?:the )?(?:user )?['\x22]?[\w.@-]{1,64}['\x22]?(?: user)?(?: is)?: )(\S+)()",
        |found| if sentence(group(found, 2)) { same(found) } else { second(found) },
    ),
    pass(&["temporary password"], r"(?i)(\btemporary password is generated for \S+:\s*)(\S+)()", second),
    pass(
        &["password"],
        r"(?i)(\bpassword (?:for (?:the )?(?:user )?)?['\x22]?[\w.@-]{1,64}['\x22]?(?: user)? = )(\S+)()",
        second,
    ),
    pass(
        &["identified", "password"],
        r"(?i)(\b(?:(?:(?:create|alter)\s+(?:user|role|login)|grant)\s.{1,160}?\sidentified\s+(?:with\s+\S+\s+)?(?:by|as)|encrypted\s+password|with\s+password|(?:user|role)\s+\S+\s+password|set\s+password\s*(?:for\s+\S+\s*)?(?:=|to)|password\()\s*[\x22'])([^'\x22]+)(['\x22]|$)",
        second,
    ),
    pass(
        &["requirepass", "masterauth", "auth"],
        r"((?i:\b(?:requirepass|masterauth|sentinel auth-pass \S+|masteruser \S+ masterauth))\s+[\x22']?|\bAUTH (?:\w+ )?)([^\s\x22']+)()",
        |found| {
            let value = group(found, 2);
            let word = value.bytes().all(|b| b.is_ascii_lowercase())
                || value.bytes().all(|b| b.is_ascii_uppercase());
            // Behind a password that is hidden already stands no other.
            let is_hidden = group(found, 1).contains(HOLE);
            if group(found, 1).starts_with("AUTH") && (word || is_hidden)
                || value.starts_with(HOLE)
                || value.starts_with('<')
            {
                same(found)
            } else {
                second(found)
            }
        },
    ),
    // An element, with attributes or without, as text or escaped once more.
    pass(
        ELEMENTS,
        r"(?i)((?:<|&lt;|\\+u003c)(?:[\w.:-]*(?:password|passwd|pwd|passphrase|secret|token|apikey|api-key|accesskey|privatekey))(?:\s[^<>\n]*?)?\s*(?:>|&gt;|\\+u003e)\s*(?:<!\[CDATA\[)?)([^<\s][^<]*?)(\s*(?:\]\]>\s*)?(?:<\\?/|&lt;\\?/|\\+u003c\\?/))",
        second,
    ),
    // Cut within the element; behind a placeholder such as `AUTH <password>` stands a blank.
    pass(
        ELEMENTS,
        r"(?i)(<(?:[\w.:-]*(?:password|passwd|pwd|passphrase|secret|token|apikey|api-key|accesskey|privatekey))\s*>(?:<!\[CDATA\[)?)([^<\s][^<]*)($)",
        second,
    ),
    // `ENV NAME X` and `ARG NAME X` of a Dockerfile, at the end of a line: a sentence goes on.
    pass(
        &["env ", "env\t", "arg "],
        r"(\b(?:ENV|ARG)[ \t]+([\w.-]+)[ \t]+)(\\*[\x22'][^\x22'\\\n]+|[^\s=\\\x22'][^\s\\\x22']*?)(\\*[\x22']?(?:[:;,)]\s|[ \t]*(?:\\|\n|[\x22']|$)))",
        |found| if sentence(group(found, 3)) { same(found) } else { named(found) },
    ),
    pass(&["private-mac"], r"(?i)(\bPrivate-MAC:\s*)([0-9a-f]{8,})()", second),
    // Telegram's bots, Rancher's and k3s' tokens, bootstrap tokens, Facebook's app tokens.
    pass(
        &[":a", "token-", "::server:", "kubeconfig-"],
        r"\b\d{8,10}:A[A-Za-z0-9_-]{30,}|\b(?:token|kubeconfig)-[a-z0-9-]{4,24}:[a-z0-9]{40,}|\bK10[a-f0-9]{40,}::\w+:\S+",
        all,
    ),
    pass(&["|"], r"\b\d{15,16}\|[0-9A-Za-z_-]{27,40}\b", all),
    // What has its mark in the middle: Azure's client secrets, Terraform's tokens, MaxMind's, Mailchimp's keys, OpenAI's.
    pass(
        &[
            "q~",
            ".atlasv1.",
            "_mmk",
            "-us",
            "t3blbkfj",
            "_acc",
            ".acc",
            "-x@",
            "aaaaaaaaaa",
            "access_token$",
            "oy2",
            "pat",
        ],
        r"\baccess_token\$(?:production|sandbox)\$[a-z0-9]+\$[a-f0-9]+|[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{25,}|\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{30,}|\b[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk|\b[0-9a-f]{32}-us\d{1,2}\b|\b[\w-]{20,}T3BlbkFJ[\w-]*|\boy2[a-z0-9]{43}\b|\bpat[A-Za-z0-9]{14}\.[0-9a-f]{64}\b|\b(?:sc|ext|scauth|authress)_[A-Za-z0-9]{5,30}\.[A-Za-z0-9]{4,6}\.acc[_-][A-Za-z0-9-]{10,32}\.[A-Za-z0-9+/_=-]{20,}|\b[a-z0-9]{11}AAAAAAAAAA[A-Za-z0-9_=-]{30,}",
        all,
    ),
];

/// Hides the values of `key: value` and `"key":"value"` pairs.
fn hide_values(before: &str, pairs: &str) -> String {
    let mut out = before.to_owned();
    for piece in pairs.split_inclusive(|c: char| c.is_whitespace() || matches!(c, ',' | ':')) {
        let value = piece.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, ',' | ':'));
        let inner = value.trim_matches(['"', '\'', '\\']);
        let ends = piece.get(value.len()..).unwrap_or_default();
        let key = ends.starts_with(':')
            && (value.starts_with(['"', '\'', '\\']) || !value.ends_with(['"', '\'', '\\']))
            && inner.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if inner.len() >= 4 && !key {
            let quotes = value.find(inner).unwrap_or(0);
            out.push_str(value.get(..quotes).unwrap_or_default());
            out.push(HOLE);
            out.push_str(value.get(quotes + inner.len()..).unwrap_or_default());
        } else {
            out.push_str(value);
        }
        out.push_str(ends);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        PASSES.iter().for_each(|pass| drop(pattern(pass.pattern)));
    }
}
