//! Where plans and results are: a folder, or a bucket where the build has the feature `s3`.
//!
//! Every object is put at once: who reads finds it whole or not at all, whatever was killed while it was written. In a folder it is
//! synced before it gets its name.

use std::path::PathBuf;

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

/// Objects with names, below one place.
pub struct Store {
    objects: Box<dyn ObjectStore>,
    below: Path,
    place: String,
    // The library is asynchronous; what calls it here is not. Its threads write files and nothing else.
    runtime: tokio::runtime::Runtime,
}

/// Why the place said no.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such folder, or it cannot be made.
    #[error("{place}: expected a folder, `file://` or `s3://`: {source}")]
    Place {
        /// The place.
        place: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A place of which this build knows nothing.
    #[error("{place}: expected a folder, `file://` or `s3://`, found `{scheme}://`")]
    Scheme {
        /// The place.
        place: String,
        /// How it begins.
        scheme: String,
    },
    /// A bucket, and no way to it.
    #[error("{place}: this build has no buckets: build it with `--features s3`")]
    NoBuckets {
        /// The place.
        place: String,
    },
    /// Reading, writing or listing failed.
    #[error("{place}/{name}: {source}")]
    Object {
        /// The place.
        place: String,
        /// The object, or what its name begins with.
        name: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Store {
    /// Opens a place; a folder is made where there is none.
    ///
    /// # Errors
    /// [`StoreError`], naming the place.
    pub fn open(place: &str) -> Result<Store, StoreError> {
        let place = place.trim_end_matches('/').to_string();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| StoreError::Place { place: place.clone(), source: e.into() })?;
        let (objects, below) = match place.split_once("://") {
            Some(("file", path)) => (folder(&place, path)?, Path::default()),
            Some(("s3", _)) => bucket(&place)?,
            Some((scheme, _)) => {
                return Err(StoreError::Scheme { scheme: scheme.into(), place: place.clone() });
            }
            None => (folder(&place, &place)?, Path::default()),
        };
        Ok(Store { objects, below, place, runtime })
    }

    /// What it was opened as.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Puts an object, in the place of one of that name.
    ///
    /// # Errors
    /// [`StoreError::Object`]; nothing of it is there then.
    pub fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        let path = self.path(name);
        let put = self.runtime.block_on(self.objects.put(&path, bytes.into()));
        put.map(|_| ()).map_err(|e| self.failed(name, e))
    }

    /// An object; `None` where there is none of that name.
    ///
    /// # Errors
    /// [`StoreError::Object`].
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(name);
        self.runtime.block_on(async {
            match self.objects.get(&path).await {
                Ok(found) => {
                    let bytes = found.bytes().await.map_err(|e| self.failed(name, e))?;
                    Ok(Some(bytes.to_vec()))
                }
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(e) => Err(self.failed(name, e)),
            }
        })
    }

    /// Many objects, in the order of their names' list. They were there when they were listed.
    ///
    /// # Errors
    /// [`StoreError::Object`], for the first that cannot be read.
    pub fn get_all(&self, names: &[String]) -> Result<Vec<Vec<u8>>, StoreError> {
        let one = |name: String| async move {
            let found = self.objects.get(&self.path(&name)).await;
            let found = found.map_err(|e| self.failed(&name, e))?;
            let bytes = found.bytes().await.map_err(|e| self.failed(&name, e))?;
            Ok(bytes.to_vec())
        };
        let all = stream::iter(names.to_vec()).map(one).buffered(READS_AT_ONCE);
        self.runtime.block_on(all.try_collect())
    }

    /// The names below a folder, without it, sorted.
    ///
    /// # Errors
    /// [`StoreError::Object`].
    pub fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let below = self.path(folder);
        let found: Result<Vec<_>, _> =
            self.runtime.block_on(self.objects.list(Some(&below)).try_collect());
        let found = found.map_err(|e| self.failed(folder, e))?;
        let name = |path: &Path| {
            let parts: Vec<_> = path.prefix_match(&below)?.collect();
            Some(parts.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("/"))
        };
        let mut names: Vec<String> = found.iter().filter_map(|o| name(&o.location)).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.below.clone(), |path, part| path.join(part))
    }

    fn failed(&self, name: &str, source: object_store::Error) -> StoreError {
        StoreError::Object { place: self.place.clone(), name: name.into(), source: source.into() }
    }
}

/// How many objects are read at the same time: a bucket answers late and to many.
const READS_AT_ONCE: usize = 32;

fn folder(place: &str, path: &str) -> Result<Box<dyn ObjectStore>, StoreError> {
    let path = if path.is_empty() { PathBuf::from(".") } else { PathBuf::from(path) };
    std::fs::create_dir_all(&path)
        .map_err(|e| StoreError::Place { place: place.into(), source: e.into() })?;
    let folder = LocalFileSystem::new_with_prefix(&path)
        .map_err(|e| StoreError::Place { place: place.into(), source: e.into() })?;
    Ok(Box::new(folder.with_fsync(true)))
}

#[cfg(feature = "s3")]
fn bucket(place: &str) -> Result<(Box<dyn ObjectStore>, Path), StoreError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Place {
        place: place.into(),
        source,
    };
    // Keys, region and endpoint are in the environment: AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL.
    let bucket = object_store::aws::AmazonS3Builder::from_env().with_url(place).build();
    let bucket = bucket.map_err(|e| failed(e.into()))?;
    let below = place.trim_start_matches("s3://").split_once('/').map_or("", |(_, below)| below);
    let below = Path::parse(below).map_err(|e| failed(e.into()))?;
    Ok((Box::new(bucket), below))
}

#[cfg(not(feature = "s3"))]
fn bucket(place: &str) -> Result<(Box<dyn ObjectStore>, Path), StoreError> {
    Err(StoreError::NoBuckets { place: place.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_there_and_listed_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let place = format!("file://{}", folder.path().display());
        let store = Store::open(&place).unwrap();
        assert_eq!(store.get("a/b.json").unwrap(), None);
        assert_eq!(store.list("a").unwrap(), Vec::<String>::new());
        for name in ["a/c.json", "a/b.json", "d.json"] {
            store.put(name, name.as_bytes().to_vec()).unwrap();
        }
        // Another opening, as a plain path, sees the same.
        let store = Store::open(&folder.path().display().to_string()).unwrap();
        let names = store.list("a").unwrap();
        assert_eq!(names, ["b.json", "c.json"]);
        let names: Vec<String> = names.iter().map(|n| format!("a/{n}")).collect();
        assert_eq!(store.get_all(&names).unwrap(), [b"a/b.json".to_vec(), b"a/c.json".to_vec()]);
        assert_eq!(store.get("d.json").unwrap().unwrap(), b"d.json");
    }

    #[test]
    fn a_place_that_is_none_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let file = file.path().display().to_string();
        let refused = |place: &str| Store::open(place).err().expect("refused").to_string();
        assert!(refused(&file).starts_with(&format!("{file}: expected a folder, `file://` or")));
        assert_eq!(
            refused("ftp://here"),
            "ftp://here: expected a folder, `file://` or `s3://`, found `ftp://`"
        );
        #[cfg(not(feature = "s3"))]
        assert_eq!(
            refused("s3://bucket/camp"),
            "s3://bucket/camp: this build has no buckets: build it with `--features s3`"
        );
    }
}
