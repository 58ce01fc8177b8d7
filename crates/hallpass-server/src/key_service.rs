//! KMS as the codec wants it.

use std::collections::BTreeMap;
use std::error::Error as _;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hallpass_aws::{AwsConfig, AwsError, KmsKey, KmsKeyArn};
use hallpass_codec::{FreshKey, KeyService, KeyServiceError};
use zeroize::Zeroizing;

use crate::figures;

/// What data keys are bound to: one of another namespace does not open.
const CONTEXT: &str = "temporal-namespace";

/// A key of AWS KMS.
#[derive(Debug)]
pub(crate) struct Kms(KmsKey);

impl Kms {
    pub(crate) fn new(aws: &AwsConfig, arn: &KmsKeyArn, namespace: &str) -> Self {
        let context = BTreeMap::from([(CONTEXT.to_owned(), namespace.to_owned())]);
        Self(KmsKey::new(aws.clone(), arn.clone(), context))
    }

    fn failed(&self, error: &AwsError) -> KeyServiceError {
        figures::aws_error(error.operation, error.class);
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        tracing::warn!(key = %self.0.arn(), error = text, "KMS gives no data key");
        KeyServiceError(text)
    }
}

impl KeyService for Kms {
    fn generate(&self) -> BoxFuture<'_, Result<FreshKey, KeyServiceError>> {
        async {
            let fresh = self.0.generate().await.map_err(|e| self.failed(&e))?;
            Ok(FreshKey {
                clear: fresh.clear,
                wrapped: fresh.wrapped,
            })
        }
        .boxed()
    }

    fn open<'a>(
        &'a self,
        wrapped: &'a [u8],
    ) -> BoxFuture<'a, Result<Zeroizing<[u8; 32]>, KeyServiceError>> {
        async { self.0.open(wrapped).await.map_err(|e| self.failed(&e)) }.boxed()
    }
}
