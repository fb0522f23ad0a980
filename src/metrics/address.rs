//! A key that is compared by where it is: nothing of it needs to be read, which takes longer than all else.
//!
//! Must not know what it is.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Something of which there is one as long as it is in use.
#[derive(Debug)]
pub struct ByAddress<T>(pub Arc<T>);

impl<T> PartialEq for ByAddress<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Eq for ByAddress<T> {}

impl<T> Hash for ByAddress<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).addr().hash(state);
    }
}
