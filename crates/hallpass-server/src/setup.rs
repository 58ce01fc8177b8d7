//! `hallpassd print-account-setup` and `print-service-policy`: what operators deploy in AWS.

use anyhow::Context as _;
use hallpass_aws::deployment::{AccountSetup, ServiceSetup};
use hallpass_types::AwsAccountId;

use crate::archive::config::StoreConfig;
use crate::bundle::Bundles;
use crate::cli::SetupFormat;
use crate::config::{Config, KeyOrigin};
use crate::directory::DirectoryConfig;
use crate::key_service;

/// What the service's own identity needs for everything that the configuration names.
pub(crate) fn print_service_policy(
    config: &Config,
    service_arn: Option<&str>,
) -> anyhow::Result<()> {
    let bundle = Bundles::load(&config.policy.directory, config.fit(), None)?.current();
    let aws = &config.aws;
    let mut own = Vec::new();
    for (account, access) in aws.served() {
        if access.provisioner_role_arn.is_none() {
            let itself = service_arn.with_context(|| {
                format!(
                    "aws.accounts.{account} names no provisioner_role_arn, so the service works there \
                     as itself; say with --service-arn who that is"
                )
            })?;
            let setup = AccountSetup::new(account.clone(), "", itself);
            own.push(setup.with(bundle.entitlements()));
        }
    }
    let encryption = config.temporal.encryption.as_ref();
    let keys = encryption.into_iter().flat_map(|e| e.keys.values());
    let keys = keys.filter_map(|origin| match origin {
        KeyOrigin::Kms(arn) => Some(arn.as_str()),
        KeyOrigin::Env(_) | KeyOrigin::File(_) => None,
    });
    let context = (key_service::CONTEXT, config.temporal.namespace.as_str());
    let mut setup = ServiceSetup::new(aws, own)
        .encrypting(context, &keys.collect::<Vec<_>>())
        .reading(&config.cloudtrail, aws);
    if let Some(StoreConfig::S3(bucket)) = config.archive.as_ref().map(|a| &a.store) {
        setup = setup.archiving(bucket);
    }
    if let DirectoryConfig::IdentityCenter { store, .. } = &config.directory {
        setup = setup.looking_up(store);
    }
    println!("{}", serde_json::to_string_pretty(&setup.permissions())?);
    Ok(())
}

/// What one account must have.
pub(crate) fn print_account(
    config: &Config,
    account: &AwsAccountId,
    service_arn: &str,
    format: SetupFormat,
) -> anyhow::Result<()> {
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
    setup.role_path = role.role_path().to_owned();
    setup.external_id = access.external_id.as_ref().map(ToString::to_string);
    let written = match format {
        SetupFormat::Cloudformation => setup.cloudformation(),
        SetupFormat::Terraform => setup.terraform(),
    };
    println!("{}", serde_json::to_string_pretty(&written)?);
    Ok(())
}
