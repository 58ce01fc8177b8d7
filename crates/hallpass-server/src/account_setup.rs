//! `hallpassd print-account-setup`: what an account must have, as its operators deploy it.

use std::path::Path;

use anyhow::Context as _;
use hallpass_aws::deployment::AccountSetup;
use hallpass_types::AwsAccountId;

use crate::bundle::Bundles;
use crate::cli::SetupFormat;
use crate::config::Config;

pub(crate) fn print(
    config: &Path,
    account: &AwsAccountId,
    service_arn: &str,
    format: SetupFormat,
) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let bundle = Bundles::load(&config.policy.directory, config.fit(), None)?.current();
    let access = config.aws.accounts.get(account).with_context(|| {
        format!("there is no table [aws.accounts.{account}] in the configuration; add it first")
    })?;
    let role = access.provisioner_role_arn.as_ref().with_context(|| {
        format!(
            "aws.accounts.{account} names no provisioner_role_arn: the service works there with its \
             own identity; name the role that it shall assume"
        )
    })?;
    let mut setup = AccountSetup::new(account.clone(), role.role_name(), service_arn)
        .with(bundle.entitlements());
    setup.partition = role.partition().to_owned();
    setup.external_id = access.external_id.as_ref().map(ToString::to_string);
    let written = match format {
        SetupFormat::Cloudformation => setup.cloudformation(),
        SetupFormat::Terraform => setup.terraform(),
    };
    println!("{}", serde_json::to_string_pretty(&written)?);
    Ok(())
}
