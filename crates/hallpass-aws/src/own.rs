//! The service's own credentials, for calls that are signed here and not by an SDK's client.

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use tokio::sync::Mutex;
use url::Url;

use crate::accounts::AwsConfig;
use crate::connection::{base_config, default_http_client};
use crate::errors::{AwsError, ErrorClass};
use crate::signed::{SignedAnswer, SignedHttp, SignedRequest};

/// Credentials are asked for again so long before they run out.
const REFRESH_BEFORE_EXPIRY: Duration = Duration::from_mins(5);

/// Sends what the service says as itself.
#[derive(Debug)]
pub(crate) struct Own {
    base: SdkConfig,
    signed: SignedHttp,
    credentials: Mutex<Option<Credentials>>,
}

impl Own {
    /// Prepares the clients. Nothing is sent.
    pub(crate) async fn new(aws: &AwsConfig) -> Result<Self, AwsError> {
        let base = base_config(aws, default_http_client()).await?;
        let endpoint = base.endpoint_url().map(Url::parse).transpose();
        let endpoint = endpoint.map_err(|e| alarm(format!("endpoint_url: {e}")))?;
        Ok(Self {
            base,
            signed: SignedHttp::new(endpoint)?,
            credentials: Mutex::new(None),
        })
    }

    pub(crate) async fn send(&self, request: SignedRequest<'_>) -> Result<SignedAnswer, AwsError> {
        let credentials = self.credentials().await?;
        self.signed.send_as(credentials, request).await
    }

    async fn credentials(&self) -> Result<Credentials, AwsError> {
        let mut cached = self.credentials.lock().await;
        let soon = SystemTime::now() + REFRESH_BEFORE_EXPIRY;
        let fresh = |c: &&Credentials| c.expiry().is_none_or(|expiry| expiry > soon);
        if let Some(credentials) = cached.as_ref().filter(fresh) {
            return Ok(credentials.clone());
        }
        let provider = self.base.credentials_provider();
        let provider = provider.ok_or_else(|| alarm("there are no credentials".to_owned()))?;
        let found = provider.provide_credentials().await;
        let found =
            found.map_err(|e| AwsError::found("credentials", ErrorClass::Retry, e.to_string()))?;
        *cached = Some(found.clone());
        Ok(found)
    }
}

fn alarm(message: String) -> AwsError {
    AwsError::found("configuration", ErrorClass::Alarm, message)
}
