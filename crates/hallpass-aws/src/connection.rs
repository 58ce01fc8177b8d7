//! Clients for one account: one connection pool, one cached provisioner session.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_sdk_iam::config::retry::RetryConfig;
use aws_sdk_iam::config::{IdentityCache, SharedHttpClient};
use aws_smithy_http_client::tls;
use hallpass_types::{AwsAccountId, RoleArn};
use tokio::sync::OnceCell;
use url::Url;

use crate::accounts::{AccountAccess, AwsConfig, ServiceCredentials};
use crate::errors::{AwsError, ErrorClass};
use crate::precedence::Precedence;
use crate::provisioner;
use crate::signed::SignedHttp;

const REFRESH_BEFORE_EXPIRY: Duration = Duration::from_mins(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// AWS, in every account that the service reaches. Cheap to clone.
#[derive(Clone)]
pub struct Aws {
    inner: Arc<Inner>,
}

struct Inner {
    accounts: BTreeMap<AwsAccountId, Connection>,
    elsewhere: BTreeSet<AwsAccountId>,
    signed: SignedHttp,
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Providers and clients hold credentials.
        let accounts: Vec<_> = self.inner.accounts.keys().collect();
        f.debug_struct("Aws")
            .field("accounts", &accounts)
            .finish_non_exhaustive()
    }
}

/// One account.
pub(crate) struct Connection {
    config: SdkConfig,
    iam: aws_sdk_iam::Client,
    /// By region. A client is made once: making one reads every root certificate of the system.
    sts: Mutex<BTreeMap<String, aws_sdk_sts::Client>>,
    provisioner: Option<RoleArn>,
    own_principal: OnceCell<String>,
    precedence: Precedence,
}

impl Aws {
    /// Prepares the clients. Nothing is sent, but the default chain may look for credentials later.
    ///
    /// # Errors
    /// [`AwsError`] of class Alarm when the configuration cannot be used.
    pub async fn new(config: &AwsConfig) -> Result<Self, AwsError> {
        Self::with_http_client(config, default_http_client()).await
    }

    /// As [`Aws::new`], over another HTTP client, for instance one that records.
    ///
    /// # Errors
    /// As [`Aws::new`].
    pub async fn with_http_client(
        config: &AwsConfig,
        http: SharedHttpClient,
    ) -> Result<Self, AwsError> {
        let base = base_config(config, http).await?;
        let endpoint = base
            .endpoint_url()
            .map(|text| Url::parse(text).map_err(|e| unusable(format!("endpoint_url: {e}"))))
            .transpose()?;
        let mut accounts = BTreeMap::new();
        for (account, access) in config.served() {
            accounts.insert(account.clone(), Connection::new(&base, access).await);
        }
        let signed = SignedHttp::new(endpoint)?;
        Ok(Self {
            inner: Arc::new(Inner {
                accounts,
                elsewhere: config.elsewhere().cloned().collect(),
                signed,
            }),
        })
    }

    pub(crate) fn account(&self, account: &AwsAccountId) -> Result<&Connection, AwsError> {
        self.inner.accounts.get(account).ok_or_else(|| {
            unusable(format!(
                "account {account} is not one that the service reaches"
            ))
        })
    }

    /// Accounts that workers of their own serve, and these clients do not reach.
    pub fn elsewhere(&self) -> &BTreeSet<AwsAccountId> {
        &self.inner.elsewhere
    }

    pub(crate) fn configured(&self) -> impl Iterator<Item = &AwsAccountId> {
        self.inner.accounts.keys()
    }

    pub(crate) fn signed(&self) -> &SignedHttp {
        &self.inner.signed
    }
}

pub(crate) fn default_http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(
            tls::rustls_provider::CryptoMode::AwsLc,
        ))
        .build_https()
}

pub(crate) async fn base_config(
    config: &AwsConfig,
    http: SharedHttpClient,
) -> Result<SdkConfig, AwsError> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build();
    // The durable workflow retries; a second retry loop below it would only blur its record.
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(config.region.clone()))
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .identity_cache(
            IdentityCache::lazy()
                .buffer_time(REFRESH_BEFORE_EXPIRY)
                .load_timeout(ATTEMPT_TIMEOUT)
                .build(),
        );
    if let Some(url) = &config.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    if let ServiceCredentials::Static {
        access_key_id,
        secret_access_key,
    } = &config.credentials
    {
        let secret = secret_access_key
            .resolve(|name| std::env::var(name).ok())
            .map_err(|name| unusable(format!("environment variable {name} is not set")))?;
        loader = loader.credentials_provider(Credentials::new(
            access_key_id,
            secret.as_str(),
            None,
            None,
            "hallpass configuration",
        ));
    }
    Ok(loader.load().await)
}

fn unusable(message: String) -> AwsError {
    AwsError::found("configuration", ErrorClass::Alarm, message)
}

impl Connection {
    pub(crate) async fn new(base: &SdkConfig, access: &AccountAccess) -> Self {
        let config = match &access.provisioner_role_arn {
            None => base.clone(),
            Some(role) => {
                // One shared provider is one cache entry for IAM and STS together.
                let provider = provisioner::provider(base, role, access).await;
                base.to_builder().credentials_provider(provider).build()
            }
        };
        Self {
            iam: aws_sdk_iam::Client::new(&config),
            sts: Mutex::default(),
            config,
            provisioner: access.provisioner_role_arn.clone(),
            own_principal: OnceCell::new(),
            precedence: Precedence::default(),
        }
    }

    pub(crate) fn sdk(&self) -> &SdkConfig {
        &self.config
    }

    pub(crate) fn precedence(&self) -> &Precedence {
        &self.precedence
    }

    pub(crate) fn iam(&self) -> aws_sdk_iam::Client {
        self.iam.clone()
    }

    pub(crate) fn sts(&self, region: &str) -> aws_sdk_sts::Client {
        let mut clients = self.sts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(region) {
            return client.clone();
        }
        let config = aws_sdk_sts::config::Builder::from(&self.config)
            .region(Region::new(region.to_owned()))
            .build();
        let client = aws_sdk_sts::Client::from_conf(config);
        clients.insert(region.to_owned(), client.clone());
        client
    }

    /// Who assumes the roles of this account: the principal of every trust policy that we write.
    pub(crate) async fn principal(&self) -> Result<&str, AwsError> {
        match &self.provisioner {
            Some(role) => Ok(role.as_str()),
            None => self
                .own_principal
                .get_or_try_init(|| self.own_principal())
                .await
                .map(String::as_str),
        }
    }

    /// Whether sessions are made with a session's own credentials: AWS then gives an hour at most.
    pub(crate) async fn is_chained(&self) -> Result<bool, AwsError> {
        Ok(self.provisioner.is_some() || self.principal().await?.contains(":role/"))
    }

    async fn own_principal(&self) -> Result<String, AwsError> {
        let operation = "GetCallerIdentity";
        let identity = aws_sdk_sts::Client::new(&self.config)
            .get_caller_identity()
            .send()
            .await
            .map_err(|e| AwsError::sdk(operation, e))?;
        let arn = identity.arn().unwrap_or_default();
        let Some(role) = assumed_role_name(arn) else {
            return Ok(arn.to_owned());
        };
        // A session's ARN has lost the role's path, which the principal of a trust policy needs.
        let found = self
            .iam()
            .get_role()
            .role_name(role)
            .send()
            .await
            .map_err(|e| AwsError::sdk("GetRole", e))?;
        Ok(found.role().map(|r| r.arn().to_owned()).unwrap_or_default())
    }
}

/// The role behind `arn:aws:sts::{account}:assumed-role/{role}/{session}`.
pub(crate) fn assumed_role_name(arn: &str) -> Option<&str> {
    arn.split(':')
        .nth(5)?
        .strip_prefix("assumed-role/")?
        .split('/')
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_lead_to_their_role() {
        let session = "arn:aws:sts::111122223333:assumed-role/hallpassd/i-0abc";
        assert_eq!(assumed_role_name(session), Some("hallpassd"));
        assert_eq!(
            assumed_role_name("arn:aws:iam::111122223333:user/hallpass"),
            None
        );
        assert_eq!(assumed_role_name("arn:aws:iam::111122223333:root"), None);
        assert_eq!(assumed_role_name(""), None);
    }
}
