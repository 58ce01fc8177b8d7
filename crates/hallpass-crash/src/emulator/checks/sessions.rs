//! Sessions: who gets one, what it is, and what ends it.

use jiff::{SignedDuration, Timestamp};

use super::super::Place;
use super::super::place::{ACCOUNT, ALLOW_ALL, credentials, tag};
use super::{Observation, Seen, condition, deny, until};

pub(super) async fn shape(place: &Place) -> Seen {
    place.role("r", "", ALLOW_ALL).await?;
    let arn = place.role_arn("r");
    let with = [
        ("RoleArn", arn.as_str()),
        ("RoleSessionName", "one"),
        ("DurationSeconds", "900"),
    ];
    let answer = place
        .query(&place.caller, "sts", "AssumeRole", &with)
        .await?;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    let role = place
        .root("GetRole", &[("RoleName", &place.name("r"))])
        .await?;
    let (key, user) = (tag(&body, "AccessKeyId")?, tag(&body, "AssumedRoleId")?);
    let arn = tag(&body, "Arn")?;
    let expires: Timestamp = tag(&body, "Expiration")?.parse()?;
    let left = expires.duration_since(Timestamp::now());
    let near = (left - SignedDuration::from_secs(900)).abs() < SignedDuration::from_secs(20);
    let id = format!("{}:one", tag(&role, "RoleId")?);
    let want = format!(
        "arn:aws:sts::{ACCOUNT}:assumed-role/{}/one",
        place.name("r")
    );
    Ok(vec![
        Observation::that("the key is temporary", key.starts_with("ASIA"), key),
        Observation::that("the user id is role id and session", user == id, user),
        Observation::that("the ARN is of the session", arn == want, arn),
        Observation::that("it expires when asked to", near, expires.to_string()),
    ])
}

pub(super) async fn trust(place: &Place) -> Seen {
    place.role("r", "", ALLOW_ALL).await?;
    let nobody = format!("arn:aws:iam::{ACCOUNT}:user/nobody");
    let other = condition("StringEquals", "aws:PrincipalArn", &nobody);
    place.role("strange", &other, ALLOW_ALL).await?;
    assumes(
        place,
        &[
            ("r", &[], true, "trusted"),
            ("strange", &[], false, "not trusted"),
        ],
    )
    .await
}

/// A role, the parameters of the call, whether it is to be allowed, and what is tried.
type Try<'a> = (&'a str, &'a [(&'a str, &'a str)], bool, &'static str);

/// Tries to assume roles with parameters, and wants it allowed or refused.
async fn assumes(place: &Place, tries: &[Try<'_>]) -> Seen {
    let mut seen = Vec::new();
    for (role, with, allowed, what) in tries {
        let assumed = place.assume(role, with).await?;
        let got = assumed
            .as_ref()
            .err()
            .cloned()
            .unwrap_or_else(|| "a session".to_owned());
        seen.push(Observation::that(what, assumed.is_ok() == *allowed, got));
    }
    Ok(seen)
}

pub(super) async fn external_id(place: &Place) -> Seen {
    let condition = r#","Condition":{"StringEquals":{"sts:ExternalId":"right"}}"#;
    place.role("r", condition, ALLOW_ALL).await?;
    assumes(
        place,
        &[
            ("r", &[("ExternalId", "right")], true, "the right one"),
            ("r", &[("ExternalId", "wrong")], false, "a wrong one"),
            ("r", &[], false, "none"),
        ],
    )
    .await
}

pub(super) async fn trust_conditions(place: &Place) -> Seen {
    let at = |seconds| {
        let at = Timestamp::now() + SignedDuration::from_secs(seconds);
        let at = at.strftime("%Y-%m-%dT%H:%M:%SZ");
        format!(r#","Condition":{{"DateLessThan":{{"aws:CurrentTime":"{at}"}}}}"#)
    };
    place.role("open", &at(600), ALLOW_ALL).await?;
    place.role("shut", &at(-1), ALLOW_ALL).await?;
    let named = r#","Condition":{"StringEquals":{"sts:RoleSessionName":"mine"}}"#;
    place.role("named", named, ALLOW_ALL).await?;
    assumes(
        place,
        &[
            ("open", &[], true, "before the date"),
            ("shut", &[], false, "after the date"),
            (
                "named",
                &[("RoleSessionName", "mine")],
                true,
                "the session's name",
            ),
            (
                "named",
                &[("RoleSessionName", "other")],
                false,
                "another name",
            ),
        ],
    )
    .await
}

pub(super) async fn verified(place: &Place) -> Seen {
    place.role("r", "", ALLOW_ALL).await?;
    let session = place.session("r", &[]).await?;
    let (key, secret) = (session.access_key_id(), session.secret_access_key());
    let token = session.session_token();
    let wrong_secret = credentials(key, "wrong", token);
    let wrong_token = credentials(key, secret, "wrong");
    let unknown = credentials("ASIAUNKNOWN000000000", secret, token);
    Ok(vec![
        place.reads(&session, "the session as it is", true).await?,
        place.reads(&wrong_secret, "a wrong secret", false).await?,
        place.reads(&wrong_token, "a wrong token", false).await?,
        place.reads(&unknown, "an unknown key", false).await?,
    ])
}

pub(super) async fn live(place: &Place) -> Seen {
    place.role("r", "", ALLOW_ALL).await?;
    let session = place.session("r", &[]).await?;
    let mut seen = vec![place.reads(&session, "before", true).await?];
    place.allow("r", "deny", &deny("")).await?;
    seen.push(place.reads(&session, "a deny is added", false).await?);
    let role = place.name("r");
    let drop = |policy: &'static str| {
        let role = role.clone();
        async move {
            let which = [("RoleName", role.as_str()), ("PolicyName", policy)];
            place.root("DeleteRolePolicy", &which).await
        }
    };
    drop("deny").await?;
    seen.push(place.reads(&session, "the deny is gone", true).await?);
    drop("allow").await?;
    seen.push(place.reads(&session, "the allow is gone", false).await?);
    place.allow("r", "allow", ALLOW_ALL).await?;
    drop("allow").await?;
    place.root("DeleteRole", &[("RoleName", &role)]).await?;
    seen.push(place.reads(&session, "the role is gone", false).await?);
    Ok(seen)
}

pub(super) async fn issue_time(place: &Place) -> Seen {
    place.role("r", "", ALLOW_ALL).await?;
    let old = place.session("r", &[]).await?;
    let mut seen = vec![place.reads(&old, "before", true).await?];
    // Whole seconds: the later session must be of a later one.
    let cut = Timestamp::now() + SignedDuration::from_secs(1);
    let at = cut.strftime("%Y-%m-%dT%H:%M:%SZ");
    let condition = format!(r#","Condition":{{"DateLessThan":{{"aws:TokenIssueTime":"{at}"}}}}"#);
    place.allow("r", "deny", &deny(&condition)).await?;
    until(cut + SignedDuration::from_secs(1)).await;
    let new = place.session("r", &[("RoleSessionName", "two")]).await?;
    seen.push(place.reads(&old, "a session of before", false).await?);
    seen.push(place.reads(&new, "a session of after", true).await?);
    Ok(seen)
}
