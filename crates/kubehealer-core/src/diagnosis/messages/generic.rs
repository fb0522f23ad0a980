//! What means the same in every family of messages, by the words of Go, the C library, HTTP, gRPC and Windows.

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

struct Words {
    fact: Fact,
    all: &'static [&'static str],
    any: &'static [&'static str],
    none: &'static [&'static str],
}

const fn words(fact: Fact, any: &'static [&'static str]) -> Words {
    Words { fact, all: &[], any, none: &[] }
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
const FACTS: &[Words] = &[
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
    Words { fact: Fact::Dns, all: &["lookup "], any: SILENT, none: &[] },
    Words { fact: Fact::NotYetValid, all: &["current time ", " is before "], any: &[], none: &[] },
    Words {
        fact: Fact::NotYetValid,
        all: &[],
        any: &["certificate is not yet valid"],
        none: &["expired or"],
    },
    Words { fact: Fact::Expired, all: &["current time ", " is after "], any: &[], none: &[] },
    Words {
        fact: Fact::Expired,
        all: &[],
        any: &["certificate has expired", "certificate expired"],
        none: &["not yet valid"],
    },
    Words {
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
            "404",
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
            "throttl",
            "requestlimitexceeded",
        ],
    ),
    Words {
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
    /// Whether a message (in lower case) states it.
    pub fn holds(self, lower: &str) -> bool {
        FACTS.iter().filter(|w| w.fact == self).any(|w| {
            (w.any.is_empty() || w.any.iter().any(|word| lower.contains(word)))
                && w.all.iter().all(|word| lower.contains(word))
                && w.none.iter().all(|word| !lower.contains(word))
        })
    }
}
