//! Owns the versions of objects in buckets.

use crate::object::{Object, Older};
use crate::world::{Bucket, World};

impl Bucket {
    fn is_versioned(&self) -> bool {
        self.versioning.as_deref() == Some("Enabled")
    }

    /// Every version of a key, newest first: the current object, then the older ones.
    pub fn versions(&self, key: &str) -> impl Iterator<Item = Older> + use<'_> {
        let current = self.objects.get(key).cloned().map(|it| Older::Object(Box::new(it)));
        current.into_iter().chain(self.older.get(key).into_iter().flatten().cloned())
    }

    /// The version of a key; `null` names the one without a version.
    #[must_use]
    pub fn version(&self, key: &str, version: &str) -> Option<Older> {
        self.versions(key).find(|it| it.version().unwrap_or("null") == version)
    }

    /// A version, for changes.
    pub fn object_mut(&mut self, key: &str, version: Option<&str>) -> Option<&mut Object> {
        let wanted = |object: &Object| {
            version.is_none_or(|wanted| object.version.as_deref().unwrap_or("null") == wanted)
        };
        if self.objects.get(key).is_some_and(&wanted) {
            return self.objects.get_mut(key);
        }
        version?;
        self.older.get_mut(key)?.iter_mut().find_map(|it| match it {
            Older::Object(object) if wanted(object) => Some(&mut **object),
            Older::Object(_) | Older::DeleteMarker { .. } => None,
        })
    }

    /// Makes the current object of a key an older version, if versions are kept, and removes an
    /// existing null version.
    fn step_back(&mut self, key: &str) {
        if let Some(current) = self.objects.remove(key)
            && self.versioning.is_some()
        {
            self.older
                .entry(key.to_owned())
                .or_default()
                .insert(0, Older::Object(Box::new(current)));
        }
        if !self.is_versioned()
            && let Some(older) = self.older.get_mut(key)
        {
            older.retain(|it| it.version().is_some());
        }
    }

    /// Permanently removes one version; the one after the current one becomes current.
    pub fn remove_version(&mut self, key: &str, version: &str) {
        if self
            .objects
            .get(key)
            .is_some_and(|it| it.version.as_deref().unwrap_or("null") == version)
        {
            self.objects.remove(key);
        } else if let Some(older) = self.older.get_mut(key) {
            older.retain(|it| it.version().unwrap_or("null") != version);
        }
        if !self.objects.contains_key(key)
            && let Some(older) = self.older.get_mut(key)
            && matches!(older.first(), Some(Older::Object(_)))
            && let Older::Object(object) = older.remove(0)
        {
            self.objects.insert(key.to_owned(), *object);
        }
        self.older.retain(|_, older| !older.is_empty());
    }
}

impl World {
    fn version_id(&mut self) -> String {
        format!("v{:016x}.{:08x}", self.random.u64(..), self.random.u32(..))
    }

    /// Stores an object as the current version of its key and returns the stored object.
    pub fn store_object(&mut self, bucket: &str, key: &str, mut object: Object) -> Object {
        let id = self.version_id();
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            object.version = bucket.is_versioned().then_some(id);
            bucket.step_back(key);
            bucket.objects.insert(key.to_owned(), object.clone());
        }
        object
    }

    /// Deletes a key, as a request without a version does; returns the delete marker's version, if
    /// one was created.
    pub fn delete_object(&mut self, bucket: &str, key: &str) -> Option<String> {
        let (id, now) = (self.version_id(), self.now);
        let bucket = self.buckets.get_mut(bucket)?;
        bucket.step_back(key);
        bucket.versioning.as_ref()?;
        let version = bucket.is_versioned().then_some(id);
        bucket
            .older
            .entry(key.to_owned())
            .or_default()
            .insert(0, Older::DeleteMarker { version: version.clone(), last_modified: now });
        Some(version.unwrap_or_else(|| "null".to_owned()))
    }
}
