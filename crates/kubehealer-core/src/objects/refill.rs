//! Reads protobuf into an object that held another one before.
//!
//! A pod is some 90 pieces of memory, and to ask for them and to give them back was most of what it took to decode one from
//! protobuf: of two pods that are alike, the second asks for none. What is read is what `prost` reads: the fields and their
//! numbers are those of its attributes ([`message`]), and it remains the judge. Whatever is not as Kubernetes writes it (broken,
//! a field twice, an unexpected wire type) is [`Odd`], and is left to it.
//!
//! Must not know any Kubernetes type, nor keep anything between two objects but their own memory.

/// Not as Kubernetes writes it: for `prost` to read, or to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odd;

/// A field as it is written.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A number.
    Varint(u64),
    /// A text or a message.
    Bytes(&'a [u8]),
    /// A number of fixed length, which no type here has.
    Fixed,
}

impl<'a> Value<'a> {
    /// A text or a message.
    pub fn bytes(self) -> Result<&'a [u8], Odd> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Odd),
        }
    }

    /// A text.
    pub fn text(self) -> Result<&'a str, Odd> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Odd)
    }

    fn number(self) -> Result<u64, Odd> {
        match self {
            Self::Varint(number) => Ok(number),
            _ => Err(Odd),
        }
    }
}

/// What can be read in place of what it was.
pub trait Refill: Default {
    /// Whether an element of a list is worth reading. What is not is dropped after decoding as well, see `Object::trim`.
    fn is_wanted(_value: Value<'_>) -> bool {
        true
    }

    /// Takes in the field, of which `nth` came and were taken before. Says whether this one was.
    fn take(&mut self, value: Value<'_>, nth: usize) -> Result<bool, Odd>;

    /// So many were taken in all: the rest of what it was goes.
    fn end(&mut self, times: usize);
}

/// The next field of a message. Inlined by force, with what it calls: it is most of what decoding does.
#[inline(always)]
pub fn next<'a>(rest: &mut &'a [u8]) -> Result<Option<(u32, Value<'a>)>, Odd> {
    if rest.is_empty() {
        return Ok(None);
    }
    let key = u32::try_from(varint(rest)?).map_err(|_| Odd)?;
    let value = match key & 7 {
        0 => Value::Varint(varint(rest)?),
        2 => {
            let length = usize::try_from(varint(rest)?).map_err(|_| Odd)?;
            Value::Bytes(split(rest, length)?)
        }
        wire_type @ (1 | 5) => {
            split(rest, if wire_type == 1 { 8 } else { 4 })?;
            Value::Fixed
        }
        _ => return Err(Odd),
    };
    if key >> 3 == 0 { Err(Odd) } else { Ok(Some((key >> 3, value))) }
}

#[inline(always)]
fn split<'a>(rest: &mut &'a [u8], at: usize) -> Result<&'a [u8], Odd> {
    let (content, after) = rest.split_at_checked(at).ok_or(Odd)?;
    *rest = after;
    Ok(content)
}

#[inline(always)]
fn varint(rest: &mut &[u8]) -> Result<u64, Odd> {
    let (&first, after) = rest.split_first().ok_or(Odd)?;
    *rest = after;
    if first < 0x80 {
        return Ok(first.into());
    }
    let mut number = u64::from(first & 0x7f);
    for shift in (7..64).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or(Odd)?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            // The tenth byte has room for one bit.
            return if shift == 63 && byte > 1 { Err(Odd) } else { Ok(number) };
        }
    }
    Err(Odd)
}

impl Refill for String {
    #[inline]
    fn take(&mut self, value: Value<'_>, _: usize) -> Result<bool, Odd> {
        // Of two pods most texts are the same, and those were looked at before.
        if self.as_bytes() != value.bytes()? {
            let text = value.text()?;
            self.clear();
            self.push_str(text);
        }
        Ok(true)
    }
    #[inline]
    fn end(&mut self, times: usize) {
        if times == 0 {
            self.clear();
        }
    }
}

macro_rules! numbers {
    ($($type:ty: $number:ident => $value:expr;)*) => {$(
        impl Refill for $type {
            #[inline]
            fn take(&mut self, value: Value<'_>, _: usize) -> Result<bool, Odd> {
                let $number = value.number()?;
                *self = $value;
                Ok(true)
            }
            #[inline]
            fn end(&mut self, times: usize) {
                if times == 0 {
                    *self = Self::default();
                }
            }
        }
    )*};
}
numbers! {
    i32: number => number as i32;
    i64: number => number.cast_signed();
    bool: number => number != 0;
}

impl<T: Refill> Refill for Option<T> {
    #[inline]
    fn take(&mut self, value: Value<'_>, nth: usize) -> Result<bool, Odd> {
        self.get_or_insert_default().take(value, nth)
    }
    #[inline]
    fn end(&mut self, times: usize) {
        if times == 0 {
            *self = None;
        }
    }
}

impl<T: Refill> Refill for Box<T> {
    #[inline]
    fn take(&mut self, value: Value<'_>, nth: usize) -> Result<bool, Odd> {
        (**self).take(value, nth)
    }
    #[inline]
    fn end(&mut self, times: usize) {
        (**self).end(times);
    }
}

impl<T: Refill> Refill for Vec<T> {
    #[inline]
    fn take(&mut self, value: Value<'_>, nth: usize) -> Result<bool, Odd> {
        if !T::is_wanted(value) {
            return Ok(false);
        }
        if nth == self.len() {
            self.push(T::default());
        }
        self.get_mut(nth).ok_or(Odd)?.take(value, 0)
    }
    #[inline]
    fn end(&mut self, times: usize) {
        self.truncate(times);
    }
}

/// The field number in the words of a `prost` attribute, such as `string, tag = "3"`.
pub const fn tag_of(attribute: &str) -> u32 {
    let bytes = attribute.as_bytes();
    let (mut tag, mut factor, mut at) = (0, 1, bytes.len());
    // It stands last.
    while at > 0 {
        at -= 1;
        #[allow(clippy::indexing_slicing, reason = "within the length, and evaluated by the compiler")]
        match bytes[at] {
            digit @ b'0'..=b'9' => {
                tag += (digit - b'0') as u32 * factor;
                factor *= 10;
            }
            b'"' if factor == 1 => {}
            _ => break,
        }
    }
    assert!(tag > 0, "the tag is the last word of the attribute");
    tag
}

/// Implements [`Refill`] of a message by how it takes in a field and what it does at its end.
macro_rules! refill_message {
    ($name:ty, $read:ident $(, $wanted:path)?) => {
        impl $crate::objects::refill::Refill for $name {
            $(fn is_wanted(value: $crate::objects::refill::Value<'_>) -> bool {
                $wanted(value)
            })?
            fn take(
                &mut self,
                value: $crate::objects::refill::Value<'_>,
                nth: usize,
            ) -> Result<bool, $crate::objects::refill::Odd> {
                // Written in two pieces, which are one: nobody does.
                if nth > 0 {
                    return Err($crate::objects::refill::Odd);
                }
                self.$read(value.bytes()?)?;
                Ok(true)
            }
            fn end(&mut self, times: usize) {
                if times == 0 {
                    *self = Self::default();
                }
            }
        }
    };
}
pub(super) use refill_message;

/// A message that `prost` reads and writes, and that can be read in place of what it was. `only if` leaves elements of lists
/// unread that are not wanted.
macro_rules! message {
    ($(only if $wanted:path;)? $(#[$meta:meta])* pub struct $name:ident {$(
        $(#[doc = $doc:literal])* #[prost($($prost:tt)*)] $(#[$rest:meta])* pub $field:ident: $type:ty,
    )*}) => {
        $(#[$meta])*
        pub struct $name {$(
            $(#[doc = $doc])* #[prost($($prost)*)] $(#[$rest])* pub $field: $type,
        )*}

        impl $name {
            #[allow(unused_mut, reason = "some have no fields")]
            fn refill(&mut self, mut bytes: &[u8]) -> Result<(), $crate::objects::refill::Odd> {
                $(let mut $field = 0;)*
                while let Some((tag, value)) = $crate::objects::refill::next(&mut bytes)? {
                    let _ = value;
                    $(
                        if tag == const { $crate::objects::refill::tag_of(stringify!($($prost)*)) } {
                            let taken = $crate::objects::refill::Refill::take(&mut self.$field, value, $field)?;
                            $field += usize::from(taken);
                            continue;
                        }
                    )*
                    let _ = tag;
                }
                $($crate::objects::refill::Refill::end(&mut self.$field, $field);)*
                Ok(())
            }
        }

        $crate::objects::refill::refill_message!($name, refill $(, $wanted)?);
    };
}
pub(super) use message;
