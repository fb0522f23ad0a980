//! An object kept small: as its own protobuf, in one piece of memory.
//!
//! A decoded pod takes 2 KB in 28 pieces, and 3.6 KB in 69 with the labels, probes and messages of a real one that fails;
//! packed it takes 0.6 and 1.1 KB in one. It is looked at seldom: unpacking takes some microseconds, packing one or two.
//!
//! Objects that are much alike are packed against a [`Sample`]: what stands in it is not kept again. Of a pod and its finding
//! some hundred bytes of 2 KB are left so, for 1.6 us to pack each of the two and 0.4 us to unpack it.
//!
//! Pure: must not know what is packed, nor why.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};

/// All of a sample is looked at whenever something is packed against it.
const SAMPLE: usize = 16 << 10;

/// Messages as they are encoded, to pack others against that are like them.
#[derive(Debug, PartialEq, Eq)]
pub struct Sample(Box<[u8]>);

impl Sample {
    /// Of these bytes; what is too much of them is left out.
    pub fn new(mut bytes: Vec<u8>) -> Self {
        bytes.truncate(SAMPLE);
        Self(bytes.into())
    }
}

/// A message, encoded.
#[derive(Clone)]
pub struct Packed<T> {
    bytes: Box<[u8]>,
    /// What the bytes say no more than the difference from.
    like: Option<Arc<Sample>>,
    of: PhantomData<T>,
}

impl<T: prost::Message + Default> Packed<T> {
    /// Packs it.
    pub fn new(object: &T) -> Self {
        Self { bytes: object.encode_to_vec().into(), like: None, of: PhantomData }
    }

    /// Packs it, against a sample if there is one.
    pub fn like(object: &T, sample: Option<&Arc<Sample>>) -> Self {
        let mut packed = Self::new(object);
        if let Some(sample) = sample {
            let difference = compress_prepend_size_with_dict(&packed.bytes, &sample.0);
            if difference.len() < packed.bytes.len() {
                packed.bytes = difference.into();
                packed.like = Some(Arc::clone(sample));
            }
        }
        packed
    }

    /// What was packed, the same field by field.
    pub fn unpack(&self) -> T {
        // What this type wrote itself always reads.
        T::decode(&*self.plain()).unwrap_or_default()
    }
}

impl<T> Packed<T> {
    /// Whether it is packed against a sample.
    pub fn is_like_another(&self) -> bool {
        self.like.is_some()
    }

    fn plain(&self) -> Cow<'_, [u8]> {
        match &self.like {
            None => Cow::Borrowed(&self.bytes),
            Some(sample) => {
                decompress_size_prepended_with_dict(&self.bytes, &sample.0).unwrap_or_default().into()
            }
        }
    }
}

/// The same object is the same, whatever it was packed against.
impl<T> PartialEq for Packed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.plain() == other.plain()
    }
}

impl<T> Eq for Packed<T> {}

impl<T> Default for Packed<T> {
    fn default() -> Self {
        Self { bytes: Box::default(), like: None, of: PhantomData }
    }
}

impl<T> std::fmt::Debug for Packed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed({} B)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(of: &[String]) -> Arc<Sample> {
        Arc::new(Sample::new(of.iter().flat_map(prost::Message::encode_to_vec).collect()))
    }

    #[test]
    fn what_is_like_its_sample_takes_little_and_comes_out_as_it_went_in() {
        let text = |pod: u32| {
            let steps = (0..20).map(|n| format!("step {n}: look at pod web-{pod} in namespace shop\n"));
            steps.collect::<String>()
        };
        let like = sample(&[text(0)]);
        for pod in [0, 1, 4711, u32::MAX] {
            let (alone, packed) = (Packed::new(&text(pod)), Packed::like(&text(pod), Some(&like)));
            assert_eq!(packed.unpack(), text(pod));
            assert_eq!(packed, alone);
            assert_ne!(packed, Packed::like(&text(7), Some(&like)));
            assert!(packed.bytes.len() * 3 < alone.bytes.len(), "{packed:?} of {alone:?}");
        }
    }

    #[test]
    fn what_is_not_like_its_sample_does_not_hold_it() {
        let like = sample(&["a".repeat(100)]);
        for text in ["", "b", "no word of it is in the sample"] {
            let packed = Packed::like(&text.to_owned(), Some(&like));
            assert_eq!(packed.unpack(), text);
            assert_eq!(Arc::strong_count(&like), 1, "{text:?}");
        }
    }

    #[test]
    fn a_sample_may_be_empty_or_of_any_size_and_so_may_what_is_packed() {
        for of in ["".to_owned(), "ab".to_owned(), "0123456789".repeat(10_000), "\0".repeat(100_000)] {
            let like = sample(std::slice::from_ref(&of));
            for text in [String::new(), of.clone(), format!("{of}x"), "x".repeat(200_000)] {
                assert_eq!(Packed::like(&text, Some(&like)).unpack(), text);
            }
        }
    }
}
