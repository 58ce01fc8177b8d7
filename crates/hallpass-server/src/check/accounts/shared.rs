//! Roles that entitlements share: whether they are there, whom they let in, and for how long.

use hallpass_aws::{AwsError, Opens, Preflight};
use hallpass_types::{AwsAccountId, RoleArn};

use super::super::{Finding, words};
use super::{ExternalIds, Wanted, presence};

pub(super) async fn look(
    aws: &Preflight,
    account: &AwsAccountId,
    arn: &RoleArn,
    wanted: &Wanted,
) -> Vec<Finding> {
    let cure = "make that role, or correct assume.role_arn in entitlements.toml";
    let found = aws.session_of_role(account, arn.role_name()).await;
    let longest = found.as_ref().ok().copied().flatten();
    let there = found.map(|seconds| seconds.is_some());
    let is_there = matches!(there, Ok(true));
    let mut findings = vec![presence(format!("shared role {arn}"), there, cure, account)];
    if !is_there {
        return findings;
    }
    findings.extend(too_long(arn, wanted, longest));
    for (present, previous) in &wanted.ids {
        let ids = (present, previous);
        let opens = aws.shared_role_opens(account, arn, ids).await;
        findings.extend(external_id(arn, ids, opens));
    }
    findings
}

/// A session that is longer than the role gives is refused, not shortened.
fn too_long(arn: &RoleArn, wanted: &Wanted, longest: Option<u32>) -> Option<Finding> {
    let (wanted, longest) = (wanted.session?, longest?);
    (wanted > longest).then(|| {
        Finding::wrong(
            format!("sessions of {arn}"),
            format!("max_session is {wanted} s, the role's MaxSessionDuration {longest} s"),
            "make the role's longer, or max_session shorter",
        )
    })
}

/// What to say of a shared role that lets in like this; nothing where no external id is wanted.
fn external_id(
    arn: &RoleArn,
    (present, previous): ExternalIds<'_>,
    opens: Result<Opens, AwsError>,
) -> Option<Finding> {
    present.as_ref()?;
    let what = format!("external id of {arn}");
    Some(match opens {
        Err(error) => Finding::note(what, words(&error), "let the provisioner assume the role"),
        Ok(Opens { without: true, .. }) => Finding::wrong(
            what,
            "the role does not ask for it",
            "ask for sts:ExternalId in the role's trust policy",
        ),
        Ok(Opens {
            with_present: true, ..
        }) => match previous {
            None => Finding::right(what, "the role refuses whoever does not say it"),
            Some(_) => Finding::note(
                what,
                "the role takes the new one",
                "take previous_external_id out of entitlements.toml",
            ),
        },
        Ok(Opens {
            with_previous: true,
            ..
        }) => Finding::note(
            what,
            "the role takes the previous one only",
            "ask for the new one in the role's trust policy",
        ),
        Ok(_) => Finding::wrong(
            what,
            "the role does not let the provisioner in with any that is configured",
            "correct external_id in entitlements.toml, or the role's trust policy",
        ),
    })
}
