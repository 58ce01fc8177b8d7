//! KMS as the codec wants it.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hallpass_aws::{AwsConfig, AwsError, KmsKey, KmsKeyArn};
use hallpass_codec::{FreshKey, KeyService, KeyServiceError};
use zeroize::Zeroizing;

use crate::figures;

/// What data keys are bound to: one of another namespace does not open.
pub(crate) const CONTEXT: &str = "temporal-namespace";

/// How long a new data key may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What KMS says of bytes that this key has not wrapped for this namespace.
const NEVER_WRAPPED: [&str; 2] = ["IncorrectKeyException", "InvalidCiphertextException"];

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
        match error.code.as_deref() {
            Some(code) if NEVER_WRAPPED.contains(&code) => KeyServiceError::NeverWrapped(text),
            _ => KeyServiceError::Away(text),
        }
    }
}

impl KeyService for Kms {
    fn generate(&self) -> BoxFuture<'_, Result<FreshKey, KeyServiceError>> {
        async {
            // Whoever encrypts waits for it, ends among them, and the key in use is good for hours.
            let fresh = tokio::time::timeout(PATIENCE, self.0.generate()).await;
            let late = |_| KeyServiceError::Away("KMS does not answer".to_owned());
            let fresh = fresh.map_err(late)?.map_err(|e| self.failed(&e))?;
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
