//! Times as the API writes them.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 2000-01-01. Containers that never started carry 1970 or the year 1; Kubernetes itself is of 2014.
const FIRST_BELIEVABLE: i64 = 946_684_800;

/// A `metav1.Time` or `MicroTime`. Zero, also written `null`, `1970-01-01T00:00:00Z` or nothing at all, is unknown.
/// The protobuf encoding cannot tell these apart, so neither does this type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub struct Time {
    /// Seconds since 1970.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds within the second. Only event times have them.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Time {
    /// The instant, unless it is unknown or too early to be true.
    pub fn get(self) -> Option<Timestamp> {
        if self.seconds < FIRST_BELIEVABLE {
            return None;
        }
        Timestamp::new(self.seconds, self.nanos.clamp(0, 999_999_999)).ok()
    }

    /// Whether there is a believable instant.
    pub fn is_known(self) -> bool {
        self.get().is_some()
    }
}

impl From<Timestamp> for Time {
    fn from(t: Timestamp) -> Self {
        Self { seconds: t.as_second(), nanos: t.subsec_nanosecond() }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::lenient::text(deserializer)
            .map(|text| text.parse::<Timestamp>().map(Self::from).unwrap_or_default())
    }
}

/// Reads a time; anything else is unknown.
pub(super) fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
    Time::deserialize(deserializer)
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.get() {
            Some(t) => serializer.collect_str(&t),
            None => serializer.serialize_none(),
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            Some(t) => t.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}
