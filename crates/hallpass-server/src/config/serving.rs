//! The configuration as an account's own workers see it.

use hallpass_aws::{AccountWorkers, CloudTrailConfig};
use hallpass_types::AwsAccountId;

use super::{Config, ConfigError};

impl Config {
    /// Leaves out what does not concern the workers of one account, so that they need none of it.
    pub(super) fn serve_only(&mut self, account: AwsAccountId) -> Result<(), ConfigError> {
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
        self.listen.tls = None;
        self.policy.archive = None;
        Ok(())
    }
}
