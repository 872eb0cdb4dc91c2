use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A part of a cluster that copies of the cluster share until one of them changes it, with the digest of its state.
#[derive(Clone)]
pub(crate) struct Part<T> {
    value: Arc<T>,
    /// None since the part may have changed.
    digest: Option<u64>,
}

impl<T: Hash> Part<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Arc::new(value), digest: None }
    }

    /// Whether it may have changed since [`Part::settle`].
    pub(crate) fn is_touched(&self) -> bool {
        self.digest.is_none()
    }

    /// Takes the digest of the state as it is now.
    pub(crate) fn settle(&mut self) {
        self.digest.get_or_insert_with(|| {
            let mut hasher = DefaultHasher::new();
            self.value.hash(&mut hasher);
            hasher.finish()
        });
    }
}

impl<T> Deref for Part<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Clone> DerefMut for Part<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.digest = None;
        Arc::make_mut(&mut self.value)
    }
}

impl<T> Hash for Part<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.expect("a part is settled before its cluster is compared").hash(state);
    }
}
