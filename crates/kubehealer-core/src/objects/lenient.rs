//! Deserialization that never fails on content.
//!
//! An API server of another version, a third-party virtual kubelet or a hand-written file may hold anything: a null list,
//! a number where a string belongs, an unknown enum value. One undecodable item blocks a whole list in most clients, so
//! every field of the slim types is read by one of these functions: a value of the wrong shape becomes the default and is
//! skipped without being kept, and only broken syntax is an error.
//!
//! Must not know any Kubernetes type.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Implements the visitor methods that turn a value of an unexpected shape into the default.
macro_rules! otherwise_default {
    ($value:ty; $($method:ident($arg:ty)),* $(,)?) => {
        $(fn $method<E>(self, _: $arg) -> Result<$value, E> { Ok(Default::default()) })*
        fn visit_unit<E>(self) -> Result<$value, E> { Ok(Default::default()) }
        fn visit_none<E>(self) -> Result<$value, E> { Ok(Default::default()) }
    };
}

macro_rules! skip_seq {
    ($value:ty) => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<$value, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Default::default())
        }
    };
}

macro_rules! skip_map {
    ($value:ty) => {
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<$value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Default::default())
        }
    };
}

/// A string; anything else is the empty string.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct V;
    impl<'de> Visitor<'de> for V {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_str<E>(self, v: &str) -> Result<String, E> {
            Ok(v.to_owned())
        }
        fn visit_string<E>(self, v: String) -> Result<String, E> {
            Ok(v)
        }
        otherwise_default!(String; visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64));
        skip_seq!(String);
        skip_map!(String);
    }
    deserializer.deserialize_any(V)
}

/// A string or a number, as a string. Quantities may be written either way (`cpu: 1`).
pub fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct V;
    impl<'de> Visitor<'de> for V {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or a number")
        }
        fn visit_str<E>(self, v: &str) -> Result<String, E> {
            Ok(v.to_owned())
        }
        fn visit_i64<E>(self, v: i64) -> Result<String, E> {
            Ok(v.to_string())
        }
        fn visit_u64<E>(self, v: u64) -> Result<String, E> {
            Ok(v.to_string())
        }
        fn visit_f64<E>(self, v: f64) -> Result<String, E> {
            Ok(v.to_string())
        }
        otherwise_default!(String; visit_bool(bool));
        skip_seq!(String);
        skip_map!(String);
    }
    deserializer.deserialize_any(V)
}

/// A whole number, clamped to 64 bits; a number in a string counts; anything else is none.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    struct V;
    impl<'de> Visitor<'de> for V {
        type Value = Option<i64>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }
        fn visit_i64<E>(self, v: i64) -> Result<Option<i64>, E> {
            Ok(Some(v))
        }
        fn visit_u64<E>(self, v: u64) -> Result<Option<i64>, E> {
            Ok(Some(i64::try_from(v).unwrap_or(i64::MAX)))
        }
        fn visit_f64<E>(self, v: f64) -> Result<Option<i64>, E> {
            // A float cast saturates and takes NaN to 0.
            Ok(Some(v as i64))
        }
        fn visit_str<E>(self, v: &str) -> Result<Option<i64>, E> {
            Ok(v.parse().ok())
        }
        otherwise_default!(Option<i64>; visit_bool(bool));
        skip_seq!(Option<i64>);
        skip_map!(Option<i64>);
    }
    deserializer.deserialize_any(V)
}

/// Takes a 64-bit number to 32 bits. A Windows exit code such as `0xC0000005` may be written as an unsigned number: its
/// bits are kept, as the API server's own conversion does; what is larger still is clamped.
fn narrow(v: i64) -> i32 {
    i32::try_from(v).or_else(|_| u32::try_from(v).map(u32::cast_signed)).unwrap_or(if v < 0 {
        i32::MIN
    } else {
        i32::MAX
    })
}

/// A 32-bit number (see `narrow`); anything else is 0.
pub fn int32<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    Ok(whole(deserializer)?.map_or(0, narrow))
}

/// A 64-bit number; anything else is 0.
pub fn int64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Ok(whole(deserializer)?.unwrap_or(0))
}

/// A 32-bit number, or none.
pub fn some_int32<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    Ok(whole(deserializer)?.map(narrow))
}

/// A 64-bit number, or none.
pub fn some_int64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    whole(deserializer)
}

/// A truth value, or none.
pub fn some_flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    struct V;
    impl<'de> Visitor<'de> for V {
        type Value = Option<bool>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a boolean")
        }
        fn visit_bool<E>(self, v: bool) -> Result<Option<bool>, E> {
            Ok(Some(v))
        }
        fn visit_str<E>(self, v: &str) -> Result<Option<bool>, E> {
            Ok(v.parse().ok())
        }
        otherwise_default!(Option<bool>; visit_i64(i64), visit_u64(u64), visit_f64(f64));
        skip_seq!(Option<bool>);
        skip_map!(Option<bool>);
    }
    deserializer.deserialize_any(V)
}

/// A truth value; anything else is false.
pub fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(some_flag(deserializer)?.unwrap_or(false))
}

struct Object<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = Option<T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Option<T>, D::Error> {
        d.deserialize_any(self)
    }
    otherwise_default!(Option<T>; visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));
    skip_seq!(Option<T>);
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Object<T> {
    type Value = Option<T>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Option<T>, D::Error> {
        d.deserialize_any(self)
    }
}

/// An object, or none.
pub fn some_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    d.deserialize_any(Object(PhantomData))
}

/// An object behind a pointer, or none: keeps the struct around it small.
pub fn some_boxed<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<Box<T>>, D::Error> {
    Ok(some_object(d)?.map(Box::new))
}

/// An object; anything else is its default.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(some_object(d)?.unwrap_or_default())
}

/// A list of objects. Elements that are no objects are left out; null or anything else is the empty list.
/// The result has no spare capacity: a list of one would otherwise take the room of four.
pub fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Vec<T>, D::Error> {
    struct V<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of objects")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = seq.next_element_seed(Object(PhantomData))? {
                if list.is_empty() {
                    list.reserve_exact(1);
                }
                list.extend(item);
            }
            list.shrink_to_fit();
            Ok(list)
        }
        fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Vec<T>, D::Error> {
            d.deserialize_any(self)
        }
        otherwise_default!(Vec<T>; visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));
        skip_map!(Vec<T>);
    }
    d.deserialize_any(V(PhantomData))
}

macro_rules! scalar_list {
    ($name:ident, $item:ty, $one:ident, $doc:literal) => {
        #[doc = $doc]
        pub fn $name<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<$item>, D::Error> {
            struct One($item);
            impl<'de> Deserialize<'de> for One {
                fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                    $one(d).map(One)
                }
            }
            struct V;
            impl<'de> Visitor<'de> for V {
                type Value = Vec<$item>;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a list")
                }
                fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<$item>, A::Error> {
                    let mut list = Vec::new();
                    while let Some(One(item)) = seq.next_element()? {
                        list.push(item);
                    }
                    list.shrink_to_fit();
                    Ok(list)
                }
                otherwise_default!(Vec<$item>; visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));
                skip_map!(Vec<$item>);
            }
            d.deserialize_any(V)
        }
    };
}
scalar_list!(texts, String, text, "A list of strings; null or anything else is the empty list.");
scalar_list!(int32s, i32, int32, "A list of numbers; null or anything else is the empty list.");

/// The first string of a list; the others are skipped unread.
pub fn first_text<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    struct First(String);
    impl<'de> Deserialize<'de> for First {
        fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            text(d).map(First)
        }
    }
    struct V;
    impl<'de> Visitor<'de> for V {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of strings")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<String, A::Error> {
            let first = seq.next_element::<First>()?.map(|f| f.0).unwrap_or_default();
            while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
            Ok(first)
        }
        otherwise_default!(String; visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));
        skip_map!(String);
    }
    d.deserialize_any(V)
}

/// Which entries of a JSON object are worth keeping, by key. Values of other keys are skipped unread: an annotation may
/// hold a whole manifest with its env values.
pub trait Entry: Sized {
    /// Whether the value of `key` is to be read.
    fn wanted(_key: &str) -> bool {
        true
    }
    /// Makes an entry.
    fn new(key: String, value: String) -> Self;
}

/// A JSON object of strings as a list of entries, in the order of the document.
pub fn entries<'de, D: Deserializer<'de>, T: Entry>(d: D) -> Result<Vec<T>, D::Error> {
    struct One(String);
    impl<'de> Deserialize<'de> for One {
        fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            text_or_number(d).map(One)
        }
    }
    struct V<T>(PhantomData<T>);
    impl<'de, T: Entry> Visitor<'de> for V<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of strings")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(key) = map.next_key::<String>()? {
                if T::wanted(&key) {
                    let One(value) = map.next_value()?;
                    list.push(T::new(key, value));
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            list.shrink_to_fit();
            Ok(list)
        }
        fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Vec<T>, D::Error> {
            d.deserialize_any(self)
        }
        otherwise_default!(Vec<T>; visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));
        skip_seq!(Vec<T>);
    }
    d.deserialize_any(V(PhantomData))
}
