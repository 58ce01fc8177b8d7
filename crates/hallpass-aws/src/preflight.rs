//! What must be so in AWS before the first request, looked at without changing anything.

use std::fmt;

use aws_config::SdkConfig;
use aws_sdk_iam::types::Role;
use aws_sdk_sts::error::ProvideErrorMetadata as _;
use hallpass_types::{AwsAccountId, RoleArn};

use crate::accounts::{AccountAccess, AwsConfig};
use crate::connection::{Connection, assumed_role_name, base_config, default_http_client};
use crate::documents;
use crate::errors::{AwsError, ErrorClass};
use crate::limits::SESSION_SECONDS_MIN;
use crate::provision::get_role;

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

    /// With which external ids the account's provisioner role lets the service in.
    ///
    /// # Errors
    /// [`AwsError`] when there is no such role, or STS does not answer.
    pub async fn provisioner_opens(&self, account: &AwsAccountId) -> Result<Opens, AwsError> {
        let access = self.access(account)?;
        let role = access.provisioner_role_arn.as_ref().ok_or_else(|| {
            let words = format!("account {account} has no provisioner role");
            AwsError::found("AssumeRole", ErrorClass::Alarm, words)
        })?;
        let sts = aws_sdk_sts::Client::new(&self.base);
        let ids = (&access.external_id, &access.previous_external_id);
        opens(&sts, role, ids).await
    }

    /// With which external ids a role lets the account's provisioner in.
    ///
    /// # Errors
    /// [`AwsError`] when STS does not answer.
    pub async fn shared_role_opens(
        &self,
        account: &AwsAccountId,
        role: &RoleArn,
        ids: (&Option<String>, &Option<String>),
    ) -> Result<Opens, AwsError> {
        let connection = self.connection(account).await?;
        opens(&aws_sdk_sts::Client::new(connection.sdk()), role, ids).await
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

    /// The longest session of a role in seconds, as the account's provisioner sees it; `None` when
    /// there is no such role.
    ///
    /// # Errors
    /// [`AwsError`] when IAM refuses or does not answer.
    pub async fn session_of_role(
        &self,
        account: &AwsAccountId,
        name: &str,
    ) -> Result<Option<u32>, AwsError> {
        let account = self.connection(account).await?;
        let found = get_role(&account, name).await?;
        // What IAM leaves out is its default.
        let seconds = |role: Role| role.max_session_duration().unwrap_or(3_600);
        Ok(found.map(|role| u32::try_from(seconds(role)).unwrap_or_default()))
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

/// With which external ids a role lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opens {
    /// With none.
    pub without: bool,
    /// With the present one, where there is one.
    pub with_present: bool,
    /// With the previous one, where there is one.
    pub with_previous: bool,
}

/// Asks for sessions that may do nothing at all.
async fn opens(
    sts: &aws_sdk_sts::Client,
    role: &RoleArn,
    (present, previous): (&Option<String>, &Option<String>),
) -> Result<Opens, AwsError> {
    let asking = |id: Option<&str>| {
        sts.assume_role()
            .role_arn(role.as_str())
            .role_session_name(SESSION_NAME)
            .policy(documents::deny_all().to_json())
            .duration_seconds(SESSION_SECONDS_MIN.cast_signed())
            .set_external_id(id.map(str::to_owned))
            .send()
    };
    let opens = |id: Option<&str>| {
        let asked = asking(id);
        async move {
            match asked.await {
                Ok(_) => Ok(true),
                Err(error) if error.code() == Some("AccessDenied") => Ok(false),
                Err(error) => Err(AwsError::sdk("AssumeRole", error)),
            }
        }
    };
    let mut found = Opens {
        without: opens(None).await?,
        with_present: false,
        with_previous: false,
    };
    if let Some(id) = present {
        found.with_present = opens(Some(id)).await?;
    }
    if let Some(id) = previous {
        found.with_previous = opens(Some(id)).await?;
    }
    Ok(found)
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
