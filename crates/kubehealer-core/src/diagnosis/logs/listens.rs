//! The addresses on which a program says that it listens: what a refused probe is compared with.

use std::sync::LazyLock;

use regex::Regex;

use super::rule::pattern;

/// So many addresses of one program are kept.
const MOST: usize = 4;

/// `Server listening at http://127.0.0.1:3000`, `Tomcat started on port 8080`, `"msg":"listening","addr":":8080"`.
static SAID: LazyLock<Regex> = LazyLock::new(|| {
    let verb = r"(?:\b(?:listening|listens|listener|serving)\b[^\n]{0,60}?|\b(?:running|started|bound|available|accepting connections)(?: \w+){0,2}? (?:on|at|to)\b[ :]*(?:[a-z]+://)?)";
    let host = r"localhost|\*|\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:]*\]";
    pattern(&format!(
        r#"{verb}(?:(?:(?P<host>{host})|(?:^|[^\w.:\]-])):(?P<port>\d{{2,5}})|(?:[^\w.]|^)(?P<on>{host}) port (?P<second>\d{{2,5}})|\bport(?:s|\(s\))?[ =:"(]+(?P<only>\d{{2,5}}))(?:[^\d.:]|\.?$|\.\s)"#
    ))
});

/// A line that tells of a failure, or of another peer, is no such statement.
const NOT: [&str; 8] =
    ["fail", "error", "refused", "cannot", "unable", "not listening", "in use", "upstream"];

/// The addresses, `HOST:PORT` or `:PORT`, in the order in which they are said.
pub fn of(lines: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in lines {
        let lower = line.to_lowercase();
        if NOT.iter().any(|word| lower.contains(word)) {
            continue;
        }
        let Some(said) = SAID.captures(line) else { continue };
        let named = |name: &str| said.name(name).map_or("", |m| m.as_str());
        let port = [named("port"), named("second"), named("only")].concat();
        if !port.parse::<u16>().is_ok_and(|port| port > 0) {
            continue;
        }
        let address = format!("{}{}:{port}", named("host"), named("on"));
        if !found.contains(&address) {
            found.push(address);
        }
        if found.len() == MOST {
            break;
        }
    }
    found
}

/// Whether only the containers of the same pod reach this address.
pub fn is_loopback(address: &str) -> bool {
    let lower = address.to_lowercase();
    ["127.", "localhost:", "[::1]:"].iter().any(|host| lower.starts_with(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_from_what_servers_print() {
        for (line, address) in [
            (r#"{"level":30,"pid":18,"msg":"Server listening at http://127.0.0.1:3000"}"#, "127.0.0.1:3000"),
            ("[2026-11-30 09:57:20 +0000] [1] [INFO] Listening at: http://0.0.0.0:5000 (1)", "0.0.0.0:5000"),
            ("INFO:     Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)", "127.0.0.1:8000"),
            ("Tomcat started on port 8081 (http) with context path '/'", ":8081"),
            ("Tomcat started on port(s): 8081 (http) with context path ''", ":8081"),
            ("      Now listening on: http://localhost:5000", "localhost:5000"),
            (
                r#"{"time":"2026-11-30T09:57:50.301Z","msg":"grpc server listening","addr":"[::]:9090"}"#,
                "[::]:9090",
            ),
            (
                r#"{"level":"info","ts":"2026-11-30T08:00:12.120Z","msg":"http server listening","addr":":8080"}"#,
                ":8080",
            ),
            ("2026-11-30 08:00:19.411 [info] <0.660.0> started TCP listener on [::]:5672", "[::]:5672"),
            ("⇨ http server started on [::]:1323", "[::]:1323"),
            ("LOG:  listening on IPv4 address \"127.0.0.1\", port 5432", ":5432"),
            ("Example app listening on port 3000", ":3000"),
            ("serving https on :8443 (client auth: require-and-verify)", ":8443"),
            ("Listening on 0.0.0.0 port 2222.", "0.0.0.0:2222"),
        ] {
            assert_eq!(of(&[line.to_owned()]), [address], "{line}");
        }
    }

    #[test]
    fn other_numbers_and_peers_are_no_address_of_the_program() {
        for line in [
            "server started at 10:35:12",
            "2026-11-30T09:57:50 started with 2000 workers",
            "failed to start listener on 0.0.0.0:80: permission denied",
            "Running migrations on postgres://db.example.com:5432/app",
            "started replication from 10.0.3.4:5432",
            "listening for changes since 2026-11-30 10:00:12",
            "dial tcp 10.1.1.1:8080: connect: connection refused",
        ] {
            assert_eq!(of(&[line.to_owned()]), Vec::<String>::new(), "{line}");
        }
    }

    #[test]
    fn loopback_is_told_from_all_addresses() {
        for (address, loopback) in [
            ("127.0.0.1:80", true),
            ("localhost:80", true),
            ("[::1]:80", true),
            ("0.0.0.0:80", false),
            ("[::]:80", false),
            (":80", false),
        ] {
            assert_eq!(is_loopback(address), loopback, "{address}");
        }
    }
}
