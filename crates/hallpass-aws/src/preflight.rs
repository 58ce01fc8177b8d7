//! What must be so in AWS before the first request, looked at without changing anything.

use std::fmt;

use aws_config::SdkConfig;
use aws_sdk_sts::error::ProvideErrorMetadata as _;
use hallpass_types::AwsAccountId;

use crate::accounts::{AccountAccess, AwsConfig};
use crate::connection::{Connection, assumed_role_name, base_config, default_http_client};
use crate::errors::{AwsError, ErrorClass};

/// How such a look names its session in CloudTrail.
const SESSION_NAME: &str = "hallpass-check";

/// The service's own identity, and its way into each account.
pub struct Preflight {
    base: SdkConfig,
    config: AwsConfig,
}

impl fmt::Debug for Preflight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The SDK's configuration holds credentials.
        f.debug_struct("Preflight").finish_non_exhaustive()
    }
}

impl Preflight {
    /// Prepares the clients; nothing is sent.
    ///
    /// # Errors
    /// [`AwsError`] of class Alarm when the configuration cannot be used.
    pub async fn new(config: &AwsConfig) -> Result<Self, AwsError> {
        Ok(Self {
            base: base_config(config, default_http_client()).await?,
            config: config.clone(),
        })
    }

    /// ARN of the identity that the service has by itself.
    ///
    /// # Errors
    /// [`AwsError`] when STS refuses or does not answer.
    pub async fn identity(&self) -> Result<String, AwsError> {
        caller(&self.base).await
    }

    /// ARN of the session that the service has in an account.
    ///
    /// # Errors
    /// [`AwsError`] when the service does not get into the account.
    pub async fn enter(&self, account: &AwsAccountId) -> Result<String, AwsError> {
        caller(self.connection(account).await?.sdk()).await
    }

    /// Whether the account's provisioner role lets the service in that does not say the external id.
    ///
    /// # Errors
    /// [`AwsError`] when there is no such role, or STS does not answer.
    pub async fn enters_without_external_id(
        &self,
        account: &AwsAccountId,
    ) -> Result<bool, AwsError> {
        let operation = "AssumeRole";
        let role = &self.access(account)?.provisioner_role_arn;
        let role = role.as_ref().ok_or_else(|| {
            let words = format!("account {account} has no provisioner role");
            AwsError::found(operation, ErrorClass::Alarm, words)
        })?;
        let assumed = aws_sdk_sts::Client::new(&self.base)
            .assume_role()
            .role_arn(role.as_str())
            .role_session_name(SESSION_NAME)
            .duration_seconds(900)
            .send()
            .await;
        match assumed {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("AccessDenied") => Ok(false),
            Err(error) => Err(AwsError::sdk(operation, error)),
        }
    }

    /// Whether the managed policy is there, by its ARN, as the account's provisioner sees it.
    ///
    /// # Errors
    /// [`AwsError`] when IAM refuses or does not answer.
    pub async fn has_policy(&self, account: &AwsAccountId, arn: &str) -> Result<bool, AwsError> {
        let iam = self.connection(account).await?.iam();
        let found = iam.get_policy().policy_arn(arn).send().await;
        there(found.map_err(|e| AwsError::sdk("GetPolicy", e)))
    }

    /// Whether the role is there, by its ARN, as the account's provisioner sees it.
    ///
    /// # Errors
    /// [`AwsError`] when IAM refuses or does not answer.
    pub async fn has_role(&self, account: &AwsAccountId, name: &str) -> Result<bool, AwsError> {
        let iam = self.connection(account).await?.iam();
        let found = iam.get_role().role_name(name).send().await;
        there(found.map_err(|e| AwsError::sdk("GetRole", e)))
    }

    fn access(&self, account: &AwsAccountId) -> Result<&AccountAccess, AwsError> {
        self.config.accounts.get(account).ok_or_else(|| {
            let words = format!("account {account} is not one that the service reaches");
            AwsError::found("configuration", ErrorClass::Alarm, words)
        })
    }

    async fn connection(&self, account: &AwsAccountId) -> Result<Connection, AwsError> {
        Ok(Connection::new(&self.base, self.access(account)?).await)
    }
}

async fn caller(sdk: &SdkConfig) -> Result<String, AwsError> {
    let caller = aws_sdk_sts::Client::new(sdk).get_caller_identity();
    let caller = caller.send().await;
    let caller = caller.map_err(|e| AwsError::sdk("GetCallerIdentity", e))?;
    let arn = caller.arn().unwrap_or_default();
    // The session's own name says nothing here.
    Ok(match assumed_role_name(arn) {
        Some(role) => {
            arn.split_once(role)
                .map_or(arn, |(before, _)| before)
                .to_owned()
                + role
        }
        None => arn.to_owned(),
    })
}

fn there<T>(found: Result<T, AwsError>) -> Result<bool, AwsError> {
    match found {
        Ok(_) => Ok(true),
        Err(error) if error.class == ErrorClass::Gone => Ok(false),
        Err(error) => Err(error),
    }
}
