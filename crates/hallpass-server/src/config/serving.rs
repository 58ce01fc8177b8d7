//! The configuration as an account's own workers see it.

use hallpass_aws::{AccountWorkers, CloudTrailConfig};
use hallpass_types::AwsAccountId;

use super::{Config, ConfigError};

impl Config {
    /// As workers of one account see it: what concerns others is left out.
    pub(crate) fn serving(mut self, account: Option<AwsAccountId>) -> Result<Self, ConfigError> {
        let Some(account) = account else {
            return Ok(self);
        };
        let workers = self.aws.accounts.get(&account).map(|access| access.workers);
        if workers != Some(AccountWorkers::Own) {
            return Err(ConfigError::Wrong {
                key: format!("aws.accounts.{account}.workers"),
                problem: "does not say that the account has workers of its own".to_owned(),
                cure: "write workers = \"own\" there, in every process's configuration".to_owned(),
            });
        }
        self.aws.only = Some(account);
        self.archive = None;
        self.cloudtrail = CloudTrailConfig::default();
        self.codec_endpoint = None;
        self.notify = None;
        Ok(self)
    }
}
