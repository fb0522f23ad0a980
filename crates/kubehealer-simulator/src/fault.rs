//! What can be made to go wrong between the simulated API server and its clients.

use std::time::Duration;

use bytes::Bytes;

/// One misbehaviour. Set with [`super::Cluster::fault`], taken away with [`super::Cluster::heal`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// 403, and access reviews say no.
    Forbidden,
    /// 403 for all namespaces at once, and for every other one than these: a client with Roles alone.
    ForbiddenExceptIn(Vec<String>),
    /// 401, as for an expired token.
    Unauthorized,
    /// 503, with `Retry-After` in seconds if any.
    Unavailable {
        /// Seconds for the `Retry-After` header.
        retry_after: Option<u32>,
    },
    /// 429 with `Retry-After` in seconds.
    TooManyRequests {
        /// Seconds for the `Retry-After` header.
        retry_after: u32,
    },
    /// 500.
    InternalError,
    /// The answer comes this much later.
    Delay(Duration),
    /// The request is taken and never answered.
    BlackHole,
    /// A list's body breaks off in the middle, with the connection.
    CutList,
    /// A watch ends, in order, after so many events.
    CutWatch {
        /// Events that still come whole, counted per watch.
        after: usize,
    },
    /// A watch breaks off inside the line after so many events.
    CutWatchMidLine {
        /// Events that still come whole, counted per watch.
        after: usize,
    },
    /// A watch stays open and says nothing more, not even bookmarks, until healed.
    StallWatch,
    /// A watch sends no bookmarks.
    NoBookmarks,
    /// The n-th item of each list, or event of each watch, has this JSON in place of its object.
    BadItem {
        /// Counted from 0, per list page or watch.
        at: usize,
        /// Stands for the object, as it is, in protobuf as well: it need not even be JSON.
        json: Bytes,
    },
    /// Every `continue` token has expired: 410.
    GoneOnPage,
    /// A watch is refused with the HTTP status 410, rather than with an ERROR event.
    GoneOnWatch,
    /// Lists, and watches that begin with all objects, show what there was at this version, as a cache that is behind does;
    /// as far back as watches can resume.
    Behind {
        /// The resourceVersion.
        version: u64,
    },
    /// `sendInitialEvents` is not known, as on servers without the WatchList feature: 422.
    RefuseWatchList,
    /// Protobuf is not offered: JSON where the client accepts that too, else 406.
    RefuseProtobuf,
    /// A watch says nothing and ends, in order, after this time.
    CloseWatch {
        /// Since its answer began.
        after: Duration,
    },
    /// A watch says one bookmark, which does not end its first list, and ends in order.
    BookmarkThenClose,
    /// The same, but its first list is said to be complete, without one object.
    EmptyThenClose,
    /// A watch that resumes says one bookmark, then 410 as an ERROR event.
    BookmarkThenGone,
    /// A watch says something that is no event in any encoding, again and again, and ends in order.
    Garbage {
        /// How often it says so before it ends.
        times: usize,
        /// How long it pauses before each.
        every: Duration,
    },
    /// Each page of a list has the same `continue` token.
    RepeatContinue,
    /// The body of a list, or the first frame of a watch, has no end.
    Endless,
    /// The same answer to every request, as of a proxy or a broken server.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The `Content-Type`.
        content_type: &'static str,
        /// Other headers.
        headers: &'static [(&'static str, &'static str)],
        /// The whole body.
        body: &'static [u8],
    },
    /// The head of an answer, then a space now and then, for ever.
    Drip {
        /// The pause before each.
        every: Duration,
    },
    /// What is asked for as protobuf is answered with bytes that are none.
    BrokenProtobuf,
}

/// How open watches are ended at once, by [`super::Cluster::cut_watches`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The stream ends in order, as at a time-out.
    End,
    /// The connection breaks inside a line.
    MidLine,
    /// An ERROR event with 410 Gone, then the end.
    Gone,
}
