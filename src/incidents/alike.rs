//! What pods of one workload that fail for one reason have in common, held once for all of them.
//!
//! Their specs are the same, and the texts of their findings but for names and times. So the first of them leaves a
//! [`Sample`] of both, and of the others, and of what the first one is later, the difference from it is kept: in a storm
//! that is a tenth. A sample lives for as long as something is packed against it.
//!
//! Pure: must not know what the findings mean, or read a clock.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use prost::Message as _;

use super::kept;
use super::packed::Sample;
use super::store::Home;
use crate::diagnosis::{Finding, ReasonName};
use crate::objects::Pod;

/// Samples that nobody uses leave an entry of some bytes; so many are not worth a look.
const LEFT_OVER: usize = 64;

/// The samples that are in use.
#[derive(Debug, Default)]
pub struct Alike(HashMap<(Arc<Home>, ReasonName), Weak<Sample>>);

impl Alike {
    /// The sample for a pod with these findings, or a new one that it is itself. None without a finding: what is only
    /// looked at again will be at rest soon.
    pub fn sample(&mut self, home: &Arc<Home>, pod: &Pod, findings: &[Finding]) -> Option<Arc<Sample>> {
        let key = (Arc::clone(home), findings.first()?.reason.clone());
        if let Some(sample) = self.0.get(&key).and_then(Weak::upgrade) {
            return Some(sample);
        }
        let mut bytes = pod.encode_to_vec();
        bytes.extend(findings.iter().flat_map(kept::encoded_texts));
        let sample = Arc::new(Sample::new(bytes));
        self.0.insert(key, Arc::downgrade(&sample));
        Some(sample)
    }

    /// Forgets samples that are not in use, once they may be more than half of all. `users` is how many pods may use one.
    pub fn forget(&mut self, users: usize) {
        if self.0.len() > 2 * users + LEFT_OVER {
            self.0.retain(|_, sample| sample.strong_count() > 0);
            self.0.shrink_to(2 * users);
        }
    }

    /// How many there are, those included that are about to be forgotten.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
