//! A slim object that is kept for long: in its protobuf encoding, which takes a third of the room.

use std::fmt;
use std::marker::PhantomData;

use super::Object;

/// A slim object, encoded. Reading it again takes microseconds.
#[derive(Clone, PartialEq, Eq)]
pub struct Packed<T>(Box<[u8]>, PhantomData<fn() -> T>);

impl<T: Object> Packed<T> {
    /// Packs an object.
    pub fn new(object: &T) -> Self {
        Self(object.encode_to_vec().into_boxed_slice(), PhantomData)
    }

    /// The object, equal to what was packed.
    pub fn unpack(&self) -> T {
        // Only what was encoded above is ever decoded.
        let mut object = T::decode(&*self.0).unwrap_or_default();
        object.compact();
        object
    }
}

impl<T> fmt::Debug for Packed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({} B)", self.0.len())
    }
}
