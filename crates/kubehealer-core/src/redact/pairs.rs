//! Values behind the names of secrets: `password=X`, `"token": "X"`, `--api-key X`, `Authorization: X`, in any spelling of
//! the name.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::Regex;

use super::tokens::automaton;
use super::{HOLE, harmless, mixed, pattern};

/// A name and what parts it from its value: `key=`, `"key": `, `key := `, `:key=>`, `config["key"] = `, `\"key\":\"`,
/// `--key `.
static KEY: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?P<key>[A-Za-z_\x{80}-\x{FDCF}\x{FDF0}-\x{10FFFF}][A-Za-z0-9_.\x{80}-\x{FDCF}\x{FDF0}-\x{10FFFF}-]*)(?P<quote>\\*[\x22'`])?\]?(?P<sep>[^\S\n]{0,3}(?:=>|:=|=|:|%3[dD]|->)[^\S\n]{0,8}(?:[|>][+-]?(?:\n|\\+n)\s*)?)|(?P<flag>--?[A-Za-z][A-Za-z0-9_.-]*)(?P<gap>\\*[\x22'`]?(?:[ \t]*(?:\n|\\+n)[\t -~]{0,64}?-[ \t]+|,\s*|\s+))",
    )
});

/// Hides the values behind the names of secrets; `None` where there is none.
pub(super) fn hide(text: &str) -> Option<String> {
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
        // `for volume "db-credentials" : rpc error`: the name of an object, in a message of the kubelet.
        if quoted && !rest.starts_with(['"', '\'']) && names_object(before) {
            continue;
        }
        // `"no key password": not found`: the quote closes a sentence.
        if !quote.is_empty()
            && !quoted
            && sep.trim() == ":"
            && !rest.trim_start_matches('\\').starts_with(['"', '\'', '`'])
        {
            continue;
        }
        let prose = flag.is_some() || (!quoted && sep.trim() == ":" && sep.ends_with(' '));
        if flag.is_some()
            && !before.is_empty()
            && !before.ends_with(|c: char| c.is_whitespace() || "\"'`,[(".contains(c))
        {
            continue;
        }
        // `"no flag --token", ...`: the quote closes a sentence; `"--token", "X"` are two items of a list.
        let gap = found.name("gap").map_or("", |gap| gap.as_str());
        if gap.starts_with(['"', '\'', '`', '\\']) && !before.ends_with(['"', '\'', '`']) {
            continue;
        }
        // Two items of a YAML list, one below the other.
        let quotes = ['"', '\'', '\\'];
        if gap.trim_end().ends_with('-')
            && (!before.trim_end_matches(quotes).trim_end().ends_with('-')
                || rest.trim_start_matches(quotes).starts_with('-'))
        {
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

/// Whether the word before a quoted name says what object it is.
fn names_object(before: &str) -> bool {
    const KINDS: &str = "volume secret configmap container pod claim persistentvolumeclaim serviceaccount";
    let word =
        before.trim_end_matches(['"', '\'', '`', '\\']).strip_suffix(' ').and_then(|b| b.rsplit(' ').next());
    word.is_some_and(|word| listed(KINDS, &word.to_ascii_lowercase()))
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// One value.
    Plain,
    /// `Authorization`: the scheme stays, all that follows goes.
    Header,
    /// Cookies: all that follows goes.
    Cookie,
    /// Whatever looks random.
    Guess,
    /// A connection string: its own parts are looked at; only one without any is hidden whole.
    Connection,
}

/// What a key that ends with one of these holds is secret, however its words are joined.
const SECRET_ENDS: &str = "secret secrets token tokens pwd apikey accesskey secretkey privatekey authkey accountkey encryptionkey signingkey \
    masterkey sessionkey sharedaccesskey sharedkey sshkey licensekey licencekey hmackey credential credentials jwt sessionid sessid \
    secretid secretkeybase signature tokenvalue secretvalue secretdata dockerconfigjson privatekeydata webhookurl otp passcode \
    keydata keymaterial appkey clientkey consumerkey integrationkey ingestkey insertkey subscriptionkey functionkey storagekey \
    serviceaccountkey serverkey authcode sharedsecret bindpw rootpw adminpw dbpw pincode mnemonic recoverycode backupcodes passkey \
    passwort kennwort geheimnis motdepasse contrasena contraseña clavesecreta senha palavrapasse segredo wachtwoord hasło haslo \
    salasana lösenord losenord adgangskode passord jelszo jelszó şifre sifre parola lozinka heslo пароль секрет токен 密码 密碼 口令 \
    令牌 密钥 秘密 パスワード トークン 비밀번호 암호 matkhau";

static ENDS: LazyLock<AhoCorasick> = LazyLock::new(|| automaton(SECRET_ENDS.split(' ')));

/// The same, as the last word of a name only: longer words end in them, too.
const SECRET_WORDS: &str =
    "pass sig sas userpass pw psk cvv pin clave parol totp hotp geheim creds community authpass passwd";

/// Services whose keys have no prefix: what is named after one and looks random is a key.
pub(super) const SERVICES: &str = "adafruit adobe airtable airbrake algolia alibaba amplitude asana atlassian auth0 bitbucket bitly bittrex \
    braintree bugsnag buildkite chargebee circleci clickup cloudflare cloudinary codecov cohere coinbase confluent contentful datadog \
    discord dockerhub droneci dropbox elasticcloud etsy facebook fastly finicity finnhub firebase flickr freshbooks freshdesk gitter \
    gocardless helpscout heroku honeybadger hubspot infura alchemy instagram intercom jfrog artifactory jumpcloud kraken kucoin \
    launchdarkly linkedin lob logdna loggly logzio looker mailchimp mailgun mailjet mandrill mapbox mattermost maxmind meraki \
    messagebird mixpanel netlify newrelic nexmo vonage nytimes okta onesignal openweather opsgenie optimizely pagerduty papertrail paypal \
    percy plaid plivo pusher rapidapi razorpay rollbar segment sendbird sentry shodan sinch snyk sonar sparkpost splunk squarespace \
    statuspage sumologic telegram travis trello twilio twitch twitter typeform unsplash uptimerobot vercel virustotal wakatime yandex \
    zendesk zoho zoom wandb stripe sendgrid signalfx lightstep honeycomb scalyr quay tencent huawei ovh vultr hetzner scaleway";

static IN_SERVICES: LazyLock<AhoCorasick> = LazyLock::new(|| automaton(SERVICES.split(' ')));

/// Last words that make a key's value a name, a place, a number or a time, not the secret.
const HARMLESS_ENDS: &str = "name names ref file path dir url uri endpoint type count ttl expiry expires length len size limit id \
    version policy field algorithm method provider format enabled required age authentication manager store \
    encoder encryption changed errors error reset check validation attempts min max hint prompt command env \
    key";

fn listed(words: &str, word: &str) -> bool {
    words.split(' ').any(|listed| listed == word)
}

pub(super) fn secret_key(key: &str) -> Option<Kind> {
    let key = key.trim_start_matches('-');
    // A line of a source file, and the names of the Secrets that a pull may use.
    const NAMES: &str =
        ".java .go .py .rb .js .ts .kt .cs .php .rs .scala .c .cpp imagePullSecrets imagePullSecret";
    if NAMES.split(' ').any(|end| key.ends_with(end)) {
        return None;
    }
    let joined: String = key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
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
    let by_end = ENDS.find_overlapping_iter(&joined).any(|end| end.end() == joined.len());
    if by_end || listed(SECRET_WORDS, &last) {
        return Some(Kind::Plain);
    }
    let of_service = || !listed(HARMLESS_ENDS, &last) && IN_SERVICES.is_match(&joined);
    (matches!(last.as_str(), "key" | "keys" | "session") || of_service()).then_some(Kind::Guess)
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
    // `"password=": not found`: the quote closes what is around it.
    if quote.is_some() && body.get(slashes + 1..).is_some_and(|after| after.starts_with([':', ',', ')', ' ']))
    {
        return None;
    }
    let three = quote.map(|quote| format!("{}{quote}", "\\".repeat(slashes)).repeat(3));
    let end = if let Some(three) = three.filter(|three| body.starts_with(three.as_str())) {
        start += three.len();
        body = rest.get(start..)?;
        body.find(three.as_str()).unwrap_or(body.len())
    } else if let Some(length) = braced(body, key).filter(|_| !prose) {
        start += 1;
        body = rest.get(start..)?;
        length
    } else if let Some(quote) = quote {
        start += slashes + 1;
        body = rest.get(start..)?;
        quoted_end(body, quote, slashes)
    } else {
        match kind {
            Kind::Header | Kind::Cookie => body.find(['"', '\'', ']', '\n']).unwrap_or(body.len()),
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
    // A shell's `PWD` is where it stands.
    if key == "PWD" && value.starts_with('/') {
        return None;
    }
    let digits = value.trim_end_matches('.').bytes().all(|byte| byte.is_ascii_digit());
    // A count, or the status of an answer from an address that ends in `/token`.
    if (digits && (key.ends_with('s') || (prose && value.len() <= 3)))
        || (prose && kind == Kind::Header && value.bytes().all(|b| b.is_ascii_lowercase()))
    {
        return None;
    }
    if kind == Kind::Guess {
        let of_service = IN_SERVICES.is_match(&key.to_ascii_lowercase());
        let mixed_only = !of_service && last_word(key) != "session";
        let run = value.split([':', '@']).next().unwrap_or_default().trim_end_matches(['.', ',', ';', ')']);
        let segment = run.split('/').next().unwrap_or_default();
        value = [run, segment].into_iter().find(|part| is_random(part, mixed_only))?;
    }
    let after = rest.get(start + value.len()..).unwrap_or_default();
    if harmless(value) || (kind == Kind::Connection && has_parts(value)) {
        return None;
    }
    if is_plugin_version(value, key) || is_oauth_error(value) {
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
            || MISSING
                .iter()
                .any(|words| after.trim_start_matches(['"', '\'', '`', '\\']).starts_with(words)))
    {
        return None;
    }
    Some((start, start + value.len()))
}

/// The version of a plugin of Jenkins, whose name may be a word of secrets: `credentials:1055.v1346ba467ba1`. Numbers alone are one only
/// behind names that plugins have and passwords have not.
fn is_plugin_version(value: &str, key: &str) -> bool {
    let value = bare(value);
    let (numbers, commit) =
        value.split_once(".v").map_or((value, None), |(numbers, commit)| (numbers, Some(commit)));
    let is_commit = commit.is_some_and(|commit| {
        (8..=24).contains(&commit.len())
            && commit.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f' | b'_'))
    });
    let are_numbers =
        numbers.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    let is_plugin =
        || commit.is_none() && numbers.contains('.') && listed("auth credentials", &last_word(key));
    are_numbers && (is_commit || is_plugin())
}

/// An error code of OAuth: RFC 6749, 6750 and 8628 (RFC 7636 has none of its own).
fn is_oauth_error(value: &str) -> bool {
    const CODES: &str = "invalid_request invalid_client invalid_grant unauthorized_client unsupported_grant_type invalid_scope \
        access_denied unsupported_response_type server_error temporarily_unavailable invalid_token insufficient_scope \
        authorization_pending slow_down expired_token";
    listed(CODES, bare(value))
}

/// Without what ends a sentence or a quote behind it, the escape of a line's end too.
fn bare(value: &str) -> &str {
    let value = value.trim_end_matches(['.', ',', ';', ':', ')', ']', '}', '"', '\'', '`']);
    let value = value.strip_suffix("\\n").unwrap_or(value);
    value.strip_suffix("\\r").unwrap_or(value).trim_end_matches(['.', '\\'])
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
        "splunk",
        "geniekey",
        "ssws",
        "hawk",
        "oauth",
        "hmac",
        "jwt",
        "pat",
        "aws",
        "apitoken",
        "api-token",
        "sso-key",
        "privatekey",
        "goog4-rsa-sha256",
        "acs3-hmac-sha256",
        "tc3-hmac-sha256",
    ]
    .iter()
    .any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// The length of a value in braces, as ODBC writes it: `Pwd={X}`. What names a secret is a placeholder, as in `?token={token}`.
fn braced(body: &str, key: &str) -> Option<usize> {
    let value = body.strip_prefix('{')?;
    let value = value.get(..value.find('}')?)?;
    let is_placeholder = secret_key(value).is_some() || value.eq_ignore_ascii_case(key);
    let is_text = value.chars().all(|c| !c.is_whitespace() && !"{\"'`:=$<>\\".contains(c));
    (is_text && !value.is_empty() && !is_placeholder && !value.starts_with('.')).then_some(value.len())
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
    // Without its end it is hidden to the end of the line.
    body.find('\n').unwrap_or(body.len())
}

/// Where a bare value ends: at white space or `&`, and at a closing mark or a comma only when the text goes on as if
/// the value were over, since passwords hold such marks too.
fn bare_end(body: &str) -> usize {
    for (index, c) in body.char_indices() {
        let next = body.get(index + c.len_utf8()..).unwrap_or_default();
        let over = match c {
            _ if c.is_whitespace() => true,
            '&' => true,
            ',' | ';' => ends_word(next) || starts_pair(next, c == ';'),
            ')' | ']' | '}' | '>' | '"' | '\'' | '`' | ':' | '\\' => {
                // A full stop ends the sentence, not a value that goes on behind it.
                let next = next.strip_prefix('.').filter(|rest| ends_word(rest)).unwrap_or(next);
                ends_word(next) || next.starts_with([')', ']', '}', '>', '"', '\'', '`', ',', ';', ':'])
            }
            _ => false,
        };
        if over {
            return index;
        }
    }
    body.len()
}

fn ends_word(text: &str) -> bool {
    text.is_empty() || text.starts_with(char::is_whitespace)
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

/// What a generated key looks like: no words, no name of an object, no version, no place.
fn is_random(value: &str, mixed_only: bool) -> bool {
    let of_key = |b: u8| b.is_ascii_alphanumeric() || b"_=+-/".contains(&b);
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let letters = value.bytes().filter(u8::is_ascii_alphabetic).count();
    let longest = value.split('-').map(str::len).max().unwrap_or_default();
    let parts = if longest >= 20 { 1 } else { value.split('-').count() };
    let uuid = value.len() == 36
        && value.matches('-').count() == 4
        && value.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    value.len() >= 15
        && value.bytes().all(of_key)
        && !is_path(value)
        && digits >= 2
        && letters >= 2
        && (if mixed_only {
            mixed(value) && parts < 3
        } else {
            uuid || parts < 3 && !value.contains('/') || mixed(value)
        })
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
pub(super) fn sentence(value: &str) -> bool {
    let word = value.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
    listed(PROSE, &word)
}

const PROSE: &str = "a an and are argument authentication bad be cannot can connect connection context could couldn couldn't \
    decode decoding delete denied dial did does doesn doesn't error eof executable exit expected expired expires failed \
    failure field file flag for forbidden from get got has have head http https if illegal in incorrect input \
    invalid is isn it json key lookup malformed missing mismatch must need needs new no not nothing of on \
    open option or parse parsing patch permission please post provided put read received refused request \
    required requires rpc secret should signature string stat strconv that the this timed timeout tls to \
    token too unable unauthorized unexpected unknown unmarshal unset unsupported user using value \
    verification was with write wrong x509 you your";
