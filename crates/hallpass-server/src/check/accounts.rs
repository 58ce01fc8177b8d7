//! AWS: who the service is, how it gets into each account, and what entitlements lean on there.

mod shared;

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use hallpass_aws::{AccountAccess, AwsError, Opens, Preflight};
use hallpass_policy::Bundle;
use hallpass_types::{AccessMode, AwsAccountId, RoleArn};

use super::{Finding, words};
use crate::config::Config;

/// The present external id, and the previous one while it is changed.
type ExternalIds<'a> = (&'a Option<String>, &'a Option<String>);

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
    let accounts = config.aws.served();
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
        let ids = (&access.external_id, &access.previous_external_id);
        let opens = aws.provisioner_opens(account).await;
        findings.push(external_id(account, ids, opens));
    }
    let (boundaries, roles) = leaned_on(bundle, account);
    for arn in boundaries {
        let found = aws.has_policy(account, &arn).await;
        let cure = "make that policy, or correct permissions_boundary in entitlements.toml";
        findings.push(presence(format!("boundary {arn}"), found, cure, account));
    }
    for (arn, ids) in roles {
        findings.extend(shared::look(aws, account, &arn, &ids).await);
    }
    findings
}

/// What to say of a provisioner role that lets in like this.
fn external_id(
    account: &AwsAccountId,
    ids: ExternalIds<'_>,
    opens: Result<Opens, AwsError>,
) -> Finding {
    let what = format!("external id of {account}");
    let setup = format!("`hallpassd print-account-setup {account}` writes it");
    let opens = match opens {
        Ok(opens) => opens,
        Err(error) => return Finding::wrong(what, words(&error), "try again"),
    };
    match (opens, ids) {
        (_, (None, _)) => {
            let cure = format!("set aws.accounts.{account}.external_id, and ask for it there");
            Finding::note(what, "none is configured", cure)
        }
        (Opens { without: true, .. }, _) => {
            let cure = format!("ask for sts:ExternalId in the role's trust policy: {setup}");
            Finding::wrong(what, "the role does not ask for it", cure)
        }
        (
            Opens {
                with_present: true, ..
            },
            (_, None),
        ) => Finding::right(what, "the role refuses whoever does not say it"),
        (
            Opens {
                with_present: true, ..
            },
            (_, Some(_)),
        ) => {
            let cure = format!("take aws.accounts.{account}.previous_external_id out");
            Finding::note(what, "the role takes the new one", cure)
        }
        (
            Opens {
                with_previous: true,
                ..
            },
            _,
        ) => {
            let cure = format!("ask for the new one in the role's trust policy: {setup}");
            Finding::note(what, "the role takes the previous one only", cure)
        }
        _ => {
            let cure = format!("write the one that the role's trust policy asks for: {setup}");
            Finding::wrong(what, "the role takes none that is configured", cure)
        }
    }
}

/// What entitlements want of one shared role.
#[derive(Debug, Default)]
struct Wanted {
    /// Present and previous external ids.
    ids: BTreeSet<(Option<String>, Option<String>)>,
    /// The longest session that one of them names, in seconds.
    session: Option<u32>,
}

/// The boundaries of created roles, and what is wanted of shared roles, by ARN.
fn leaned_on(
    bundle: &Bundle,
    account: &AwsAccountId,
) -> (BTreeSet<String>, BTreeMap<RoleArn, Wanted>) {
    let (mut boundaries, mut roles) = (BTreeSet::new(), BTreeMap::<_, Wanted>::new());
    for entitlement in bundle.entitlements().filter(|e| e.account == *account) {
        match &entitlement.access {
            AccessMode::Assume { role_arn, .. } => {
                let wanted = roles.entry(role_arn.clone()).or_default();
                let ids = (&entitlement.external_id, &entitlement.previous_external_id);
                wanted.ids.insert((ids.0.clone(), ids.1.clone()));
                let session = entitlement.max_session.map(|s| s.as_seconds());
                wanted.session = wanted.session.max(session);
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
