//! What means the same in every family of messages, by the words of Go, the C library, HTTP, gRPC and Windows.

use crate::diagnosis::message::Words;

/// A fact that a message states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A name does not resolve, or the name server does not answer.
    Dns,
    /// A certificate is not valid yet by the clock that looks at it.
    NotYetValid,
    /// A certificate has expired.
    Expired,
    /// TLS, or a certificate.
    Tls,
    /// Plain HTTP where HTTPS is wanted.
    PlainHttp,
    /// No credentials were sent.
    NoCredentials,
    /// Credentials are wanted, or other ones.
    Unauthorized,
    /// The credentials are known and do not suffice.
    Forbidden,
    /// Something does not exist.
    NotFound,
    /// The operating system refuses.
    Permission,
    /// A file system that can only be read.
    ReadOnly,
    /// A full disk.
    DiskFull,
    /// A disk that fails.
    IoError,
    /// No more open files or inotify watches.
    FilesExhausted,
    /// No more processes or memory.
    MemoryExhausted,
    /// A mount whose server or daemon is gone.
    Stale,
    /// Too many calls.
    RateLimited,
    /// A quota.
    Quota,
    /// Nobody listens.
    Refused,
    /// The connection was cut.
    Reset,
    /// No way through the network.
    Unreachable,
    /// No answer in time.
    TimeOut,
    /// The server fails.
    ServerError,
    /// Somebody else has it.
    InUse,
}

struct Row {
    fact: Fact,
    all: &'static [&'static str],
    any: &'static [&'static str],
    none: &'static [&'static str],
}

const fn words(fact: Fact, any: &'static [&'static str]) -> Row {
    Row { fact, all: &[], any, none: &[] }
}

const SILENT: &[&str] = &[
    "i/o timeout",
    "connection refused",
    "timed out",
    "timeout",
    "no route to host",
    "network is unreachable",
    "connection reset",
];

/// All rows of a fact count.
const FACTS: &[Row] = &[
    words(
        Fact::Dns,
        &[
            "no such host",
            "server misbehaving",
            "name resolution",
            "name or service not known",
            "could not resolve",
            "failed to resolve server",
            "nodename nor servname",
            "getaddrinfo",
            "nxdomain",
        ],
    ),
    Row { fact: Fact::Dns, all: &["lookup "], any: SILENT, none: &[] },
    Row { fact: Fact::NotYetValid, all: &["current time ", " is before "], any: &[], none: &[] },
    Row { fact: Fact::NotYetValid, all: &[], any: &["certificate is not yet valid"], none: &["expired or"] },
    Row { fact: Fact::Expired, all: &["current time ", " is after "], any: &[], none: &[] },
    Row {
        fact: Fact::Expired,
        all: &[],
        any: &["certificate has expired", "certificate expired"],
        none: &["not yet valid"],
    },
    Row {
        fact: Fact::Tls,
        all: &[],
        any: &["x509", "tls: ", "certificate ", "ssl_", "ssl error", "handshake failure"],
        none: &["tls handshake timeout"],
    },
    words(Fact::PlainHttp, &["server gave http response to https client"]),
    words(
        Fact::NoCredentials,
        &[
            "no basic auth credentials",
            "nocredentialproviders",
            "no credentials",
            "credentials not found",
            "could not find default credentials",
            "unable to locate credentials",
            "failed to refresh cached credentials",
            "no ec2 imds role found",
        ],
    ),
    words(
        Fact::Unauthorized,
        &[
            "401 unauthorized",
            ": 401",
            "unauthorized",
            "unauthenticated",
            "authentication required",
            "authorization failed",
            "authentication failed",
            "authorization failure",
            "invalid username/password",
            "incorrect username or password",
            "username or password is incorrect",
            "invalid bearer token",
            "token has expired",
            "expiredtoken",
        ],
    ),
    words(
        Fact::Forbidden,
        &[
            "403 forbidden",
            ": 403",
            "status=403",
            "(forbidden)",
            "forbidden",
            "accessdenied",
            "access denied",
            "permissiondenied",
            "not authorized",
            "not authorised",
            "unauthorizedoperation",
            "denied:",
            "denied on resource",
            "access to the resource is denied",
            "is not allowed to",
        ],
    ),
    words(
        Fact::NotFound,
        &[
            "not found",
            "notfound",
            "404 not found",
            "404 page not found",
            ": 404",
            "status 404",
            "code 404",
            "does not exist",
            "no such file",
            "no such container",
            "cannot find the file",
            "cannot find the path",
        ],
    ),
    words(
        Fact::Permission,
        &["permission denied", "operation not permitted", "access is denied", "eacces", "eperm"],
    ),
    words(Fact::ReadOnly, &["read-only file system", "erofs"]),
    words(
        Fact::DiskFull,
        &["no space left on device", "disk quota exceeded", "not enough space on the disk", "enospc"],
    ),
    words(Fact::IoError, &["input/output error", "structure needs cleaning"]),
    words(Fact::FilesExhausted, &["too many open files", "inotify_init", "inotify instances"]),
    words(
        Fact::MemoryExhausted,
        &[
            "resource temporarily unavailable",
            "cannot allocate memory",
            "can't allocate memory",
            "insufficient system resources",
            "paging file is too small",
        ],
    ),
    words(
        Fact::Stale,
        &["stale nfs file handle", "stale file handle", "transport endpoint is not connected"],
    ),
    words(
        Fact::RateLimited,
        &[
            "toomanyrequests",
            "too many requests",
            "429 ",
            "rate exceeded",
            "rate limit",
            "rate limited",
            "rate limiting",
            "rate limiter",
            "throttled",
            "throttling",
            "throttle",
            "requestlimitexceeded",
        ],
    ),
    Row {
        fact: Fact::Quota,
        all: &[],
        any: &["quota", "limitexceeded", "limit exceeded"],
        none: &["disk quota", "requestlimitexceeded"],
    },
    words(Fact::Refused, &["connection refused", "econnrefused", "actively refused"]),
    words(
        Fact::Reset,
        &[
            "connection reset",
            "unexpected eof",
            ": eof",
            "broken pipe",
            "connection was aborted",
            "forcibly closed",
        ],
    ),
    words(
        Fact::Unreachable,
        &[
            "no route to host",
            "network is unreachable",
            "host is down",
            "host is unreachable",
            "address is not allowed",
            "unreachable network",
        ],
    ),
    words(
        Fact::TimeOut,
        &[
            "i/o timeout",
            "deadline exceeded",
            "deadlineexceeded",
            "timed out",
            "timeout",
            "client.timeout",
            "etimedout",
            "not yet finished",
        ],
    ),
    words(
        Fact::ServerError,
        &[
            " 500 ",
            "status 500",
            ": 500",
            "internal server error",
            "502 bad",
            ": 502",
            "503 service",
            ": 503",
            "code: 503",
            "504 gateway",
            ": 504",
            "service unavailable",
        ],
    ),
    words(
        Fact::InUse,
        &[
            "already in use",
            "is in use",
            "still in use",
            "still being used",
            "resource busy",
            "already exists",
            "already mounted",
            "is locked",
        ],
    ),
];

impl Fact {
    /// Whether a message states it.
    pub fn holds(self, message: &Words) -> bool {
        FACTS.iter().any(|row| row.fact == self && row.states(message))
    }
}

impl Row {
    fn states(&self, message: &Words) -> bool {
        (self.any.is_empty() || self.any.iter().any(|word| message.state(word)))
            && self.all.iter().all(|word| message.state(word))
            && !self.none.iter().any(|word| message.state(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::message::Message;

    /// At least one message of each row, as it is written.
    const SAMPLES: &[(Fact, &str)] = &[
        (Fact::Dns, "dial tcp: lookup r.example.com on 10.0.0.10:53: no such host"),
        (Fact::Dns, "dial tcp: lookup r.example.com: i/o timeout"),
        (
            Fact::NotYetValid,
            "x509: certificate has expired or is not yet valid: current time 2026-11-02T09:59:20Z is before 2026-11-10T10:00:00Z",
        ),
        (Fact::NotYetValid, "SSL: certificate is not yet valid (_ssl.c:1007)"),
        (
            Fact::Expired,
            "x509: certificate has expired or is not yet valid: current time 2026-11-22T09:59:20Z is after 2026-11-10T10:00:00Z",
        ),
        (Fact::Expired, "curl: (60) SSL certificate problem: certificate has expired"),
        (Fact::Tls, "tls: failed to verify certificate: x509: certificate signed by unknown authority"),
        (Fact::PlainHttp, "http: server gave HTTP response to HTTPS client"),
        (Fact::NoCredentials, "authorization failed: no basic auth credentials"),
        (Fact::Unauthorized, "unexpected status from GET request to https://ghcr.io/token: 401 Unauthorized"),
        (Fact::Forbidden, "unexpected status from HEAD request to https://r/v2/a/manifests/1: 403 Forbidden"),
        (Fact::NotFound, "stat ./agent: no such file or directory"),
        (Fact::Permission, "open /mnt/data/config.php: permission denied"),
        (Fact::ReadOnly, "mkdir /opt/cni: read-only file system"),
        (Fact::DiskFull, "write /x: no space left on device"),
        (Fact::IoError, "rbd: map failed: (5) Input/output error"),
        (Fact::FilesExhausted, "failed to create containerd container: too many open files in system"),
        (Fact::MemoryExhausted, "fork: resource temporarily unavailable"),
        (Fact::Stale, "stat /mnt/data: transport endpoint is not connected"),
        (
            Fact::RateLimited,
            "429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit",
        ),
        (Fact::Quota, "Quota 'SSD_TOTAL_GB' exceeded.  Limit: 500.0 in region europe-west1."),
        (Fact::Refused, "dial tcp 10.1.2.3:443: connect: connection refused"),
        (Fact::Reset, "read tcp 192.168.16.6:35464->104.18.122.25:443: read: connection reset by peer"),
        (Fact::Unreachable, "dial tcp 10.1.2.3:443: connect: no route to host"),
        (Fact::TimeOut, "rpc error: code = DeadlineExceeded desc = context deadline exceeded"),
        (
            Fact::ServerError,
            "unexpected status from HEAD request to https://r/v2/a/manifests/1: 503 Service Unavailable",
        ),
        (Fact::InUse, "failed to reserve container name: name is already in use"),
    ];

    #[test]
    fn every_row_has_a_message_and_every_message_its_fact() {
        let words = |message: &str| Message::read(message).words().clone();
        for (fact, message) in SAMPLES {
            assert!(fact.holds(&words(message)), "{fact:?}: {message}");
        }
        for (at, row) in FACTS.iter().enumerate() {
            let mut of = SAMPLES.iter().filter(|(fact, _)| *fact == row.fact);
            assert!(of.any(|(_, message)| row.states(&words(message))), "row {at}: {:?}", row.fact);
        }
    }
}
