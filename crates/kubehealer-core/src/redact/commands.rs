//! Command lines: which options of which program take a secret, whether behind the option or as the next word.
//!
//! A message may hold them as a shell writes them (`mysql -uroot -pX`) or as a list (`["mysql", "-pX"]`), quoted in any way.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::tokens::automaton;
use super::{HOLE, harmless};

/// A program, or several that take the same options. Lists are words with a space between them.
struct Tool {
    names: &'static str,
    /// Only if this word follows somewhere.
    with: &'static str,
    /// Options with the secret directly behind them, and only there.
    glued: &'static str,
    /// Options with the secret as the next word or directly behind them.
    apart: &'static str,
    /// The same for `user:password` (or `user%password`): only the password is hidden.
    login: &'static str,
    /// Which word behind `with` is the secret; options do not count.
    nth: usize,
}

const fn tool(names: &'static str) -> Tool {
    Tool { names, with: "", glued: "", apart: "", login: "", nth: 0 }
}

const TOOLS: &[Tool] = &[
    Tool {
        glued: "-p",
        ..tool(
            "mysql mysqldump mysqladmin mysqlimport mysqlshow mysqlcheck mysqlsh mysqlpump mysqlbinlog mysqlslap mycli mariadb mariadb-dump mariadb-admin mariadb-import mariadb-check xtrabackup mariabackup innobackupex mydumper myloader pt-archiver pt-table-checksum",
        )
    },
    Tool {
        apart: "-a --pass",
        ..tool("redis-cli valkey-cli keydb-cli redis-benchmark redis-sentinel memtier_benchmark")
    },
    Tool {
        apart: "-p --password",
        ..tool("mongo mongosh mongodump mongorestore mongoexport mongoimport mongostat mongotop mongofiles")
    },
    Tool {
        apart: "-p -pw --password",
        ..tool(
            "sshpass cqlsh nodetool cassandra-cli rabbitmqadmin cypher-shell neo4j-shell couchbase-cli cbq cbbackupmgr ldapcompare doveadm ncftp lftp twine plink pscp psftp putty oc xfreerdp rdesktop racadm elasticsearch-users az",
        )
    },
    Tool {
        login: "-u --user -U --proxy-user",
        apart: "-b --cookie --oauth2-bearer --pass",
        ..tool("curl http https xh httpie ab wrk siege hey")
    },
    Tool {
        apart: "--password --http-password --ftp-password --proxy-password",
        ..tool("wget wget2 aria2c svn cadaver")
    },
    Tool {
        apart: "-w -y -s -a",
        ..tool("ldapsearch ldapadd ldapmodify ldapdelete ldappasswd ldapwhoami ldapmodrdn ldapexop ldapvi")
    },
    Tool {
        with: "login",
        apart: "-p --password",
        ..tool(
            "docker podman nerdctl buildah skopeo helm oras crane regctl cosign ctr buildctl kubectl rancher oc argocd cf ibmcloud bw",
        )
    },
    Tool {
        login: "--creds --src-creds --dest-creds -u --user",
        apart: "--docker-password --token --auth --password --identity-token",
        ..tool("podman skopeo buildah crictl ctr nerdctl kubectl helm oc ctr crane")
    },
    Tool { apart: "-passin -passout -pass -k -K -password -passwd", ..tool("openssl") },
    Tool {
        apart: "-P --password",
        ..tool(
            "sqlcmd bcp osql isql tsql freebcp impala-shell mosquitto_pub mosquitto_sub mosquitto_rr ipmitool zip unzip exiftool smbpasswd pkcs12",
        )
    },
    Tool { glued: "-p -hp", ..tool("7z 7za 7zz 7zr rar unrar") },
    Tool { apart: "-c -A -X", ..tool("snmpget snmpwalk snmpbulkwalk snmpset snmptrap snmpbulkget") },
    Tool { login: "-U --user -u", ..tool("smbclient rpcclient smbget net lftp nats etcdctl influx") },
    Tool {
        apart: "-a --password --pass --passphrase -p -ap",
        ..tool("swaks influx gpg gpg2 sendEmail msmtp restic borg duplicity rclone nats")
    },
    Tool {
        apart: "-storepass -keypass -srcstorepass -deststorepass -destkeypass -srckeypass -storepasswd",
        ..tool("keytool jarsigner apksigner")
    },
    Tool { apart: "-N -P", ..tool("ssh-keygen puttygen") },
    Tool { apart: "-w -pw -W", ..tool("kadmin kadmin.local ktutil kinit pgpool pcp_node_info") },
    Tool { apart: "-p --password", ..tool("useradd usermod vncviewer x11vnc expdp") },
    Tool {
        apart: "-token --token -t --access-token --api-token --apikey --api-key --authkey --auth-key --password -p",
        ..tool(
            "vault consul nomad doctl tailscale cloudflared ngrok flyctl fly vercel netlify heroku railway sentry-cli snyk codecov pulumi infracost newrelic datadog-ci linode-cli hcloud scw glab gh argocd k3s rke2 kubeadm ibmcloud",
        )
    },
    Tool { with: "login", nth: 1, ..tool("vault cargo pulumi") },
    Tool { with: "authtoken", nth: 1, ..tool("ngrok") },
    Tool { with: "add-authtoken", nth: 1, ..tool("ngrok") },
    Tool { with: "add_user", nth: 2, ..tool("rabbitmqctl") },
    Tool { with: "change_password", nth: 2, ..tool("rabbitmqctl") },
    Tool { with: "authenticate_user", nth: 2, ..tool("rabbitmqctl") },
    Tool { with: "set-initial-password", nth: 1, ..tool("neo4j-admin") },
    Tool { with: "aws_secret_access_key", nth: 1, ..tool("aws") },
    Tool { with: "aws_session_token", nth: 1, ..tool("aws") },
    Tool { with: "-b", nth: 3, ..tool("htpasswd") },
    Tool { with: "-nb", nth: 2, ..tool("htpasswd") },
    Tool { with: "-nbB", nth: 2, ..tool("htpasswd") },
    Tool { with: "-bc", nth: 3, ..tool("htpasswd") },
    Tool { with: "set", nth: 4, ..tool("mc") },
    Tool { with: "password", nth: 1, ..tool("nmcli") },
    Tool { nth: 2, ..tool("wpa_passphrase") },
    Tool { with: "AUTH", nth: 1, ..tool("redis-cli valkey-cli") },
    Tool { with: "user", nth: 2, ..tool("net") },
    Tool {
        apart: "-ApiKey -Password -password --api-key -k --password -p",
        ..tool("nuget dotnet choco nuget.exe")
    },
    Tool { login: "-auth", ..tool("jenkins-cli.jar jenkins-cli") },
    Tool {
        apart: "-password --password -j",
        ..tool("kafka-configs kafka-acls beeline sqoop hive spark-beeline trino presto flyway liquibase")
    },
];

static NAMES: LazyLock<(AhoCorasick, Vec<(&'static str, &'static Tool)>)> = LazyLock::new(|| {
    let named: Vec<_> = TOOLS.iter().flat_map(|t| t.names.split(' ').map(move |name| (name, t))).collect();
    (automaton(named.iter().map(|(name, _)| *name)), named)
});

/// What a text must hold for [`hide`] to find something.
pub(super) fn hints() -> impl Iterator<Item = &'static str> {
    TOOLS.iter().flat_map(|t| t.names.split(' '))
}

/// Hides secrets on command lines; `None` where there is none.
pub(super) fn hide(text: &str) -> Option<String> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for found in NAMES.0.find_overlapping_iter(text) {
        let before = text.get(..found.start())?.chars().next_back().unwrap_or(' ');
        let after = text.get(found.end()..)?.chars().next().unwrap_or(' ');
        let starts = before.is_whitespace() || "\"'`/([{,;|&=:".contains(before);
        if !starts || !(after.is_whitespace() || "\"'`\\".contains(after)) {
            continue;
        }
        let Some((_, tool)) = NAMES.1.get(found.pattern().as_usize()) else { continue };
        let words = words(text, found.end());
        secrets(tool, text, &words, &mut spans);
    }
    spans.retain(|(start, end)| text.get(*start..*end).is_some_and(|value| !harmless(value)));
    spans.sort_unstable();
    let (mut out, mut copied) = (String::new(), 0);
    for (start, end) in spans {
        if start >= copied {
            out.push_str(text.get(copied..start)?);
            out.push(HOLE);
            copied = end;
        }
    }
    if copied == 0 {
        return None;
    }
    out.push_str(text.get(copied..)?);
    Some(out)
}

/// The most words of one command line that are looked at.
const MOST_WORDS: usize = 128;

fn listed<'w>(list: &'w str, word: &str) -> Option<&'w str> {
    list.split(' ').find(|listed| !listed.is_empty() && *listed == word)
}

/// The option that a word begins with, and where its value begins.
fn glued<'w>(list: &'w str, word: &str) -> Option<(&'w str, usize)> {
    let behind = |option: &&str| {
        let rest = word.strip_prefix(*option)?;
        let length = word.len() - rest.strip_prefix('=').unwrap_or(rest).len();
        let is_long = option.len() > 2;
        (!option.is_empty() && !rest.is_empty() && (!is_long || rest.starts_with('='))).then_some(length)
    };
    list.split(' ').find_map(|option| Some((option, behind(&option)?)))
}

/// Adds where the secrets of a command line are.
fn secrets(tool: &Tool, text: &str, words: &[Word], spans: &mut Vec<(usize, usize)>) {
    let of = |word: &Word| text.get(word.start..word.end).unwrap_or_default();
    let with = words.iter().position(|w| of(w) == tool.with);
    if !tool.with.is_empty() && with.is_none() {
        return;
    }
    if tool.nth > 0 {
        let behind = words.iter().skip(with.map_or(0, |at| at + 1));
        if let Some(word) = behind.filter(|w| !of(w).starts_with('-')).nth(tool.nth - 1) {
            spans.push((word.start, word.end));
        }
    }
    for (at, word) in words.iter().enumerate() {
        let next = words.get(at + 1);
        let written = of(word);
        if let Some((option, from)) = glued(tool.glued, written).or_else(|| glued(tool.apart, written)) {
            // `-pass pass:X` of openssl, and long options with one hyphen that begin like a short one.
            if option.len() > 1 && !long_option(tool, written) {
                let start = word.start + from;
                spans.push((start + scheme(text.get(start..word.end).unwrap_or_default()), word.end));
            }
        } else if listed(tool.glued, written).is_some() {
            // `-p'X'`: the quote stands directly behind.
            if let Some(next) = next.filter(|n| n.glued && n.quoted) {
                spans.push((next.start, next.end));
            }
        } else if listed(tool.apart, written).is_some() {
            if let Some(next) = next.filter(|n| !of(n).starts_with("--")) {
                spans.push((next.start + scheme(of(next)), next.end));
            }
        }
        let login = match glued(tool.login, written) {
            Some((_, from)) => Some((word.start + from, word.end)),
            None if listed(tool.login, written).is_some() => next.map(|n| (n.start, n.end)),
            None => None,
        };
        if let Some((start, end)) = login
            && let Some(at) = text.get(start..end).and_then(|value| value.find([':', '%', ',']))
        {
            spans.push((start + at + 1, end));
        }
    }
}

/// Whether a word that begins with a short option is another, long one: `-port` for `-p`, `-user` for `-u`.
fn long_option(tool: &Tool, word: &str) -> bool {
    const LONG: &str = "-port -protocol -print -pretty -prefix -path -proto -pull -password-file -publish -auth -addr -address -append -config -connect -context -key -kubeconfig -keystore \
        -alias -all -stdin -storetype -target -timeout -tls -template -trust -passwordfile -passin-file -p12 -pkcs12 -sha256 -subj";
    let name = word.split('=').next().unwrap_or(word);
    listed(LONG, name).is_some()
        || listed(tool.apart, name).is_some_and(|o| o.len() > 2 && !word.contains('='))
}

/// `pass:` and `env:` of openssl: what they say is no secret, what is behind the first is.
fn scheme(value: &str) -> usize {
    if value.starts_with("pass:") {
        5
    } else if value.starts_with("env:") || value.starts_with("file:") || value.starts_with("fd:") {
        value.len()
    } else {
        0
    }
}

/// A word of a command line, without its quotes.
#[derive(Clone, Copy, Debug)]
struct Word {
    start: usize,
    end: usize,
    quoted: bool,
    /// It stands directly behind the word before it.
    glued: bool,
}

/// The words behind a program's name, to the end of the command.
fn words(text: &str, from: usize) -> Vec<Word> {
    let bytes = text.as_bytes();
    let byte = |at: usize| bytes.get(at).copied();
    let is_quote = |b: u8| matches!(b, b'"' | b'\'' | b'`');
    let mut found: Vec<Word> = Vec::new();
    let mut at = from;
    // A name in quotes of its own is the first element of a list.
    let mut list = byte(at).is_some_and(|b| is_quote(b) || b == b'\\');
    if list {
        while byte(at).is_some_and(|b| is_quote(b) || b == b'\\') {
            at += 1;
        }
        // `"mysql": executable file not found` and `"mysql" failed` end here.
        list = byte(at).is_some_and(|b| b == b',' || b == b' ');
        if !list {
            return found;
        }
    }
    while found.len() < MOST_WORDS {
        let gap = at;
        while byte(at).is_some_and(|b| b.is_ascii_whitespace() || (list && b == b',')) {
            at += 1;
        }
        let quotes = at;
        while byte(at) == Some(b'\\') {
            at += 1;
        }
        let slashes = at - quotes;
        let Some(first) = byte(at) else { break };
        if is_quote(first) {
            let start = at + 1;
            let end = closing(bytes, start, first, slashes);
            found.push(Word { start, end, quoted: true, glued: gap == quotes && !found.is_empty() });
            at = (end + slashes + 1).min(bytes.len());
            if byte(at).is_some_and(|b| matches!(b, b']' | b')' | b'}' | b':' | b';')) {
                break;
            }
            continue;
        }
        if matches!(first, b'|' | b';' | b'&' | b']' | b')') {
            break;
        }
        at = quotes;
        let start = at;
        while byte(at).is_some_and(|b| {
            !b.is_ascii_whitespace() && !is_quote(b) && !(b == b'\\' && byte(at + 1).is_some_and(is_quote))
        }) {
            at += 1;
        }
        if at == start {
            break;
        }
        found.push(Word { start, end: at, quoted: false, glued: false });
        // A quote behind a bare word opens its value, as in `-p'X'`, or closes the command: `"mysql -pX": not found`.
        let mut ahead = at;
        while byte(ahead) == Some(b'\\') {
            ahead += 1;
        }
        if byte(ahead).is_some_and(is_quote) {
            let opens =
                byte(ahead + 1).is_some_and(|b| !b.is_ascii_whitespace() && !b":,;.)]}\\".contains(&b));
            if !opens {
                break;
            }
        }
    }
    found
}

/// Where a quoted word ends: at the same quote behind as many backslashes.
fn closing(bytes: &[u8], start: usize, quote: u8, slashes: usize) -> usize {
    let mut run = 0;
    for (index, byte) in bytes.iter().enumerate().skip(start) {
        match byte {
            b'\\' => run += 1,
            _ if *byte == quote && run == slashes => return index - slashes,
            _ => run = 0,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_directly_behind_a_program_are_found_in_shells_and_in_lists() {
        for (line, hidden) in [
            ("mysql -uroot -pX1 db", "mysql -uroot -p¦ db"),
            (
                "exec: \"mysql -uroot -pX1\": executable file not found in $PATH",
                "exec: \"mysql -uroot -p¦\": executable file not found in $PATH",
            ),
            ("[\"mysql\",\"-pX1\",\"db\"]", "[\"mysql\",\"-p¦\",\"db\"]"),
            ("[\\\"mysql\\\", \\\"-pX1\\\"]", "[\\\"mysql\\\", \\\"-p¦\\\"]"),
            ("mysql -p'X 1' db", "mysql -p'¦' db"),
            ("redis-cli -aX1 ping", "redis-cli -a¦ ping"),
            ("redis-cli -h r -a X1 ping", "redis-cli -h r -a ¦ ping"),
            ("curl -uu:X1 http://x", "curl -uu:¦ http://x"),
            ("curl -u u:X1 http://x", "curl -u u:¦ http://x"),
            ("openssl rsa -passin pass:X1 -in k", "openssl rsa -passin pass:¦ -in k"),
            ("ldapsearch -x -D cn=a -w X1 -b dc=x", "ldapsearch -x -D cn=a -w ¦ -b dc=x"),
            ("rabbitmqctl add_user app X1", "rabbitmqctl add_user app ¦"),
            ("docker login -u a -p X1 r.example.com", "docker login -u a -p ¦ r.example.com"),
        ] {
            assert_eq!(hide(line).map(|l| l.replace(HOLE, "¦")).as_deref(), Some(hidden), "{line}");
        }
        for line in [
            "mysql -h db -u root -p shop",
            "docker run -p 80:80 web",
            "mkdir -p /data",
            "exec: \"mysql\": executable file not found in $PATH",
            "mysql: [Warning] -p",
        ] {
            assert_eq!(hide(line), None, "{line}");
        }
    }
}
