//! Rights: how policies of every kind together decide a call.

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};

use super::super::Place;
use super::super::place::{ACCOUNT, ALLOW_ALL, document, said, says, tag, trusting};
use super::{Observation, Seen, aws_time, condition, deny, statement, until};

pub(super) async fn nothing(place: &Place) -> Seen {
    let other = statement("Allow", "sqs:ListQueues", "*", "");
    place.role("r", "", &other).await?;
    let session = place.session("r", &[]).await?;
    let users = place.query(&session, "iam", "ListUsers", &[]).await?;
    Ok(vec![
        place.reads(&session, "s3:GetObject", false).await?,
        Observation::of("iam:ListUsers", false, &users),
    ])
}

pub(super) async fn resources(place: &Place) -> Seen {
    let mine = format!("arn:aws:s3:::{}/object", place.bucket);
    place
        .role("r", "", &statement("Allow", "s3:GetObject", &mine, ""))
        .await?;
    let session = place.session("r", &[]).await?;
    let other = format!("/{}/other", place.bucket);
    place.s3(place.as_root(), "PUT", &other).await?;
    let answer = place.s3(&session, "GET", &other).await?;
    Ok(vec![
        place
            .reads(&session, "the object that is named", true)
            .await?,
        Observation::of("another object", false, &answer),
    ])
}

pub(super) async fn deny_wins(place: &Place) -> Seen {
    let both = document(&[
        says("Allow", "*", "*", ""),
        says("Deny", "s3:GetObject", "*", ""),
    ]);
    place.role("r", "", &both).await?;
    let session = place.session("r", &[]).await?;
    let list = place
        .s3(&session, "GET", &format!("/{}", place.bucket))
        .await?;
    Ok(vec![
        place
            .reads(&session, "what is denied in the same policy", false)
            .await?,
        Observation::of("what is not denied", true, &list),
    ])
}

pub(super) async fn session_policy(place: &Place) -> Seen {
    let get = statement("Allow", "s3:GetObject", "*", "");
    place.role("r", "", &get).await?;
    let list = statement("Allow", "s3:ListBucket", "*", "");
    let narrowed = place.session("r", &[("Policy", &list)]).await?;
    let widened = place.session("r", &[("Policy", ALLOW_ALL)]).await?;
    let fence = condition("DateGreaterThanEquals", "aws:CurrentTime", &aws_time(2));
    let fenced = document(&[says("Allow", "*", "*", ""), says("Deny", "*", "*", &fence)]);
    let fenced = place.session("r", &[("Policy", &fenced)]).await?;
    let path = format!("/{}", place.bucket);
    let (listed, beyond) = (
        place.s3(&narrowed, "GET", &path).await?,
        place.s3(&widened, "GET", &path).await?,
    );
    let mut seen = vec![
        place
            .reads(&narrowed, "what the session policy lacks", false)
            .await?,
        Observation::of("what the role lacks", false, &listed),
        place.reads(&widened, "what both allow", true).await?,
        Observation::of("what the role lacks, asked for", false, &beyond),
    ];
    until(Timestamp::now() + SignedDuration::from_secs(3)).await;
    seen.push(
        place
            .reads(&fenced, "a session policy's fence has passed", false)
            .await?,
    );
    Ok(seen)
}

pub(super) async fn boundary(place: &Place) -> Seen {
    place.role("r", "", ALLOW_ALL).await?;
    let session = place.session("r", &[]).await?;
    let mut seen = vec![place.reads(&session, "without a boundary", true).await?];
    let list = statement("Allow", "s3:ListBucket", "*", "");
    let name = place.name("boundary");
    let new = [
        ("PolicyName", name.as_str()),
        ("PolicyDocument", list.as_str()),
    ];
    let arn = tag(&place.root("CreatePolicy", &new).await?, "Arn")?;
    let role = place.name("r");
    let put = [
        ("RoleName", role.as_str()),
        ("PermissionsBoundary", arn.as_str()),
    ];
    place.root("PutRolePermissionsBoundary", &put).await?;
    seen.push(
        place
            .reads(&session, "what the boundary lacks", false)
            .await?,
    );
    Ok(seen)
}

pub(super) async fn date(place: &Place) -> Seen {
    let end = Timestamp::now() + SignedDuration::from_secs(3);
    let at = end.strftime("%Y-%m-%dT%H:%M:%SZ");
    let condition = format!(r#","Condition":{{"DateLessThan":{{"aws:CurrentTime":"{at}"}}}}"#);
    place
        .role("allow", "", &statement("Allow", "*", "*", &condition))
        .await?;
    place.role("fence", "", ALLOW_ALL).await?;
    let condition =
        format!(r#","Condition":{{"DateGreaterThanEquals":{{"aws:CurrentTime":"{at}"}}}}"#);
    place.allow("fence", "fence", &deny(&condition)).await?;
    let (allowed, fenced) = (
        place.session("allow", &[]).await?,
        place.session("fence", &[]).await?,
    );
    let mut seen = vec![
        place
            .reads(&allowed, "an allow before its date", true)
            .await?,
        place.reads(&fenced, "a deny before its date", true).await?,
    ];
    until(end).await;
    seen.push(
        place
            .reads(&allowed, "an allow after its date", false)
            .await?,
    );
    seen.push(place.reads(&fenced, "a deny after its date", false).await?);
    Ok(seen)
}

pub(super) async fn userid(place: &Place) -> Seen {
    place.role("r", "", ALLOW_ALL).await?;
    let one = place.session("r", &[]).await?;
    let other = place.session("r", &[("RoleSessionName", "two")]).await?;
    let role = place
        .root("GetRole", &[("RoleName", &place.name("r"))])
        .await?;
    let id = tag(&role, "RoleId")?;
    let mut seen = vec![place.reads(&one, "before", true).await?];
    let condition = format!(r#","Condition":{{"StringEquals":{{"aws:userid":["x","{id}:one"]}}}}"#);
    place.allow("r", "deny", &deny(&condition)).await?;
    seen.push(
        place
            .reads(&one, "the session that is named", false)
            .await?,
    );
    seen.push(
        place
            .reads(&other, "another session of the role", true)
            .await?,
    );
    Ok(seen)
}

pub(super) async fn session_tags(place: &Place) -> Seen {
    let condition = r#","Condition":{"StringEquals":{"aws:PrincipalTag/team":"a"}}"#;
    place
        .role("r", "", &statement("Allow", "*", "*", condition))
        .await?;
    let tagged = |value: &'static str| async move {
        let with = [
            ("Tags.member.1.Key", "team"),
            ("Tags.member.1.Value", value),
        ];
        place.session("r", &with).await
    };
    let (right, wrong) = (tagged("a").await?, tagged("b").await?);
    let none = place.session("r", &[]).await?;
    Ok(vec![
        place.reads(&right, "the right tag", true).await?,
        place.reads(&wrong, "a wrong tag", false).await?,
        place.reads(&none, "no tag", false).await?,
    ])
}

pub(super) async fn operators(place: &Place) -> Seen {
    let not = says("Allow", "s3:GetObject", "*", "").replace("Action", "NotAction");
    place.role("not", "", &document(&[not])).await?;
    let null = r#","Condition":{"Null":{"aws:TokenIssueTime":"true"}}"#;
    place
        .role("null", "", &statement("Allow", "*", "*", null))
        .await?;
    let exists = r#","Condition":{"StringEqualsIfExists":{"aws:PrincipalTag/none":"x"}}"#;
    place
        .role("exists", "", &statement("Allow", "*", "*", exists))
        .await?;
    let (not, null, exists) = (
        place.session("not", &[]).await?,
        place.session("null", &[]).await?,
        place.session("exists", &[]).await?,
    );
    let list = place.s3(&not, "GET", &format!("/{}", place.bucket)).await?;
    Ok(vec![
        place
            .reads(&not, "what NotAction leaves out", false)
            .await?,
        Observation::of("what NotAction covers", true, &list),
        place
            .reads(&null, "a key that is there, wanted absent", false)
            .await?,
        place
            .reads(&exists, "a key that is absent, with IfExists", true)
            .await?,
    ])
}

pub(super) async fn bucket_policy(place: &Place) -> Seen {
    place.role("r", "", ALLOW_ALL).await?;
    let session = place.session("r", &[]).await?;
    let mut seen = vec![place.reads(&session, "before", true).await?];
    let (bucket, role) = (&place.bucket, place.role_arn("r"));
    let objects = format!("arn:aws:s3:::{bucket}/*");
    let principal = format!(r#","Principal":{{"AWS":"{role}"}}"#);
    let policy = statement("Deny", "s3:GetObject", &objects, &principal);
    place
        .put_bucket_policy(&policy)
        .await
        .context("no bucket policy")?;
    seen.push(
        place
            .reads(&session, "what the bucket denies", false)
            .await?,
    );
    Ok(seen)
}

pub(super) async fn refusal(place: &Place) -> Seen {
    place
        .role("r", "", &statement("Allow", "s3:ListBucket", "*", ""))
        .await?;
    let session = place.session("r", &[]).await?;
    let answer = place.s3(&session, "GET", &place.object()).await?;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    let denied = answer.code.as_deref() == Some("AccessDenied");
    Ok(vec![
        Observation::that("the code", denied && answer.status == 403, said(&answer)),
        Observation::that("the action is named", body.contains("s3:GetObject"), body),
    ])
}

pub(super) async fn request_tags(place: &Place) -> Seen {
    let condition = r#","Condition":{"StringEquals":{"aws:RequestTag/team":"a"}}"#;
    place
        .role("r", "", &statement("Allow", "iam:*", "*", condition))
        .await?;
    let session = place.session("r", &[]).await?;
    let mut seen = Vec::new();
    for (what, value, allowed) in [("the right tag", "a", true), ("a wrong tag", "b", false)] {
        let name = place.name(&format!("made-{value}"));
        let trust = trusting(&format!("arn:aws:iam::{ACCOUNT}:root"), "");
        let with = [
            ("RoleName", name.as_str()),
            ("AssumeRolePolicyDocument", trust.as_str()),
            ("Tags.member.1.Key", "team"),
            ("Tags.member.1.Value", value),
        ];
        let answer = place.query(&session, "iam", "CreateRole", &with).await?;
        seen.push(Observation::of(what, allowed, &answer));
    }
    Ok(seen)
}

pub(super) async fn action_names(place: &Place) -> Seen {
    place
        .role("list", "", &statement("Allow", "s3:ListBucket", "*", ""))
        .await?;
    place
        .role("none", "", &statement("Allow", "sqs:ListQueues", "*", ""))
        .await?;
    let (list, none) = (
        place.session("list", &[]).await?,
        place.session("none", &[]).await?,
    );
    let path = format!("/{}", place.bucket);
    let (listed, unlisted) = (
        place.s3(&list, "GET", &path).await?,
        place.s3(&none, "GET", &path).await?,
    );
    let who = place.query(&none, "sts", "GetCallerIdentity", &[]).await?;
    Ok(vec![
        Observation::of("listing is s3:ListBucket", true, &listed),
        Observation::of("and nothing else", false, &unlisted),
        Observation::of("GetCallerIdentity needs no permission", true, &who),
    ])
}
