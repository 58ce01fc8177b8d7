//! Where the archive is kept: a folder or a bucket.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hallpass_archive::{Directory, Object, Store, StoreError, Version};
use hallpass_aws::{AwsConfig, Bucket, Condition, Put};

use super::config::StoreConfig;

pub(crate) async fn open(config: &StoreConfig, aws: &AwsConfig) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match config {
        StoreConfig::Directory { path } => {
            let opened = Directory::open(path);
            let why = || format!("cannot use the archive's folder {}", path.display());
            Arc::new(opened.with_context(why)?)
        }
        StoreConfig::S3(bucket) => Arc::new(S3(Bucket::new(aws, bucket.clone()).await?)),
    })
}

/// A bucket.
struct S3(Bucket);

impl S3 {
    async fn look(&self, path: &str) -> Result<Option<Object>, StoreError> {
        let found = self.0.get(path).await.map_err(StoreError::io)?;
        Ok(found.map(|(bytes, etag)| Object {
            bytes,
            version: Version(etag),
        }))
    }

    async fn under(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let prefix = format!("{folder}/");
        let paths = self.0.list(&prefix, &prefix).await;
        let paths = paths.map_err(StoreError::io)?;
        let names: BTreeSet<&str> = paths.iter().filter_map(|p| below(folder, p)).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    async fn make(&self, path: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        let put = self.0.put(path, bytes.clone(), Condition::Absent, true);
        match put.await.map_err(StoreError::io)? {
            Put::Done(_) => Ok(()),
            Put::Refused => match self.look(path).await? {
                Some(found) if found.bytes == bytes => Ok(()),
                Some(_) => Err(StoreError::Differs),
                None => Err(StoreError::io("another write of it is under way")),
            },
        }
    }

    async fn swap(
        &self,
        path: &str,
        bytes: Vec<u8>,
        seen: Option<&Version>,
    ) -> Result<Version, StoreError> {
        let condition = match seen {
            Some(Version(etag)) => Condition::Tagged(etag),
            None => Condition::Absent,
        };
        let put = self.0.put(path, bytes, condition, false).await;
        match put.map_err(StoreError::io)? {
            Put::Done(etag) => Ok(Version(etag)),
            Put::Refused => Err(StoreError::Conflict),
        }
    }
}

/// What comes right below `folder` in the path of an object.
fn below<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(folder)?.strip_prefix('/')?;
    rest.split('/').next()
}

impl Store for S3 {
    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Object>, StoreError>> {
        self.look(path).boxed()
    }

    fn create<'a>(
        &'a self,
        path: &'a str,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.make(path, bytes).boxed()
    }

    fn replace<'a>(
        &'a self,
        path: &'a str,
        bytes: Vec<u8>,
        seen: Option<&'a Version>,
    ) -> BoxFuture<'a, Result<Version, StoreError>> {
        self.swap(path, bytes, seen).boxed()
    }

    fn names<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        self.under(folder).boxed()
    }

    fn discard<'a>(&'a self, _folder: &'a str) -> BoxFuture<'a, ()> {
        // Locked objects stay, and a bucket's lifecycle takes the others.
        std::future::ready(()).boxed()
    }
}
