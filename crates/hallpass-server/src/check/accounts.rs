//! AWS: who the service is, how it gets into each account, and what entitlements lean on there.

use std::collections::BTreeSet;

use futures::future::join_all;
use hallpass_aws::{AccountAccess, AwsError, Preflight};
use hallpass_policy::Bundle;
use hallpass_types::{AccessMode, AwsAccountId};

use super::{Finding, words};
use crate::config::Config;

pub(super) async fn look(config: &Config, bundle: &Bundle) -> Vec<Finding> {
    let what = "aws identity";
    let aws = match Preflight::new(&config.aws).await {
        Ok(aws) => aws,
        Err(error) => {
            return vec![Finding::wrong(
                what,
                words(&error),
                "correct aws.credentials",
            )];
        }
    };
    let mut findings = vec![match aws.identity().await {
        Ok(arn) => Finding::right(what, arn),
        Err(error) => {
            let cure = "give hallpassd credentials: aws.credentials, or what the AWS SDK finds";
            // Without an identity of its own every other answer would say the same.
            return vec![Finding::wrong(what, words(&error), cure)];
        }
    }];
    let accounts = config.aws.accounts.iter();
    let looks = accounts.map(|(account, access)| one(&aws, account, access, bundle));
    findings.extend(join_all(looks).await.into_iter().flatten());
    findings
}

async fn one(
    aws: &Preflight,
    account: &AwsAccountId,
    access: &AccountAccess,
    bundle: &Bundle,
) -> Vec<Finding> {
    let mut findings = vec![match aws.enter(account).await {
        Ok(arn) if arn.contains(&format!(":{account}:")) => {
            Finding::right(format!("account {account}"), arn)
        }
        Ok(arn) => {
            let cure = format!("set aws.accounts.{account}.provisioner_role_arn");
            return vec![Finding::wrong(
                format!("account {account}"),
                format!("the service is {arn} there"),
                cure,
            )];
        }
        Err(error) => {
            let cure = format!(
                "let that role trust the service, with the external id: `hallpassd \
                 print-account-setup {account}` writes it"
            );
            return vec![Finding::wrong(
                format!("account {account}"),
                words(&error),
                cure,
            )];
        }
    }];
    if access.provisioner_role_arn.is_some() {
        findings.push(external_id(aws, account, access).await);
    }
    let (boundaries, roles) = leaned_on(bundle, account);
    for arn in boundaries {
        let found = aws.has_policy(account, &arn).await;
        let cure = "make that policy, or correct permissions_boundary in entitlements.toml";
        findings.push(presence(format!("boundary {arn}"), found, cure, account));
    }
    for (arn, name) in roles {
        let found = aws.has_role(account, &name).await;
        let cure = "make that role, or correct assume.role_arn in entitlements.toml";
        findings.push(presence(format!("shared role {arn}"), found, cure, account));
    }
    findings
}

async fn external_id(aws: &Preflight, account: &AwsAccountId, access: &AccountAccess) -> Finding {
    let what = format!("external id of {account}");
    let enters = aws.enters_without_external_id(account).await;
    match (enters, &access.external_id) {
        (Ok(false), Some(_)) => Finding::right(what, "the role refuses whoever does not say it"),
        (Ok(true), Some(_)) => {
            let cure = format!(
                "ask for sts:ExternalId in the role's trust policy: `hallpassd \
                 print-account-setup {account}` writes it"
            );
            Finding::wrong(what, "the role does not ask for it", cure)
        }
        (Ok(_), None) => {
            let cure = format!("set aws.accounts.{account}.external_id, and ask for it there");
            Finding::note(what, "none is configured", cure)
        }
        (Err(error), _) => Finding::wrong(what, words(&error), "try again"),
    }
}

/// The boundaries of created roles by ARN, and the shared roles by ARN and name.
fn leaned_on(
    bundle: &Bundle,
    account: &AwsAccountId,
) -> (BTreeSet<String>, BTreeSet<(String, String)>) {
    let (mut boundaries, mut roles) = (BTreeSet::new(), BTreeSet::new());
    for entitlement in bundle.entitlements().filter(|e| e.account == *account) {
        match &entitlement.access {
            AccessMode::Assume { role_arn, .. } => {
                roles.insert((role_arn.to_string(), role_arn.role_name().to_owned()));
            }
            AccessMode::Create {
                permissions_boundary,
                ..
            } => {
                boundaries.insert(permissions_boundary.to_string());
            }
        }
    }
    (boundaries, roles)
}

fn presence(
    what: String,
    found: Result<bool, AwsError>,
    cure: &str,
    account: &AwsAccountId,
) -> Finding {
    match found {
        Ok(true) => Finding::right(what, "is there"),
        Ok(false) => Finding::wrong(what, "is not there", cure),
        // What may not be looked at may be there all the same.
        Err(error) => {
            let cure = format!(
                "let the provisioner look: `hallpassd print-account-setup {account}` has its rights"
            );
            Finding::note(what, words(&error), cure)
        }
    }
}
