//! An account of an emulator to try things in, by signed calls without any SDK.

use anyhow::{Context as _, bail, ensure};
use hallpass_aws::{SignedAnswer, SignedHttp, SignedRequest};
use hallpass_seal::SecretCredentials;
use jiff::Timestamp;
use url::Url;
use zeroize::Zeroizing;

use super::Observation;

/// The account; its number is the access key of its root in every emulator that is asked.
pub(super) const ACCOUNT: &str = "222233334444";
const REGION: &str = "us-east-1";
const IAM: &str = "2010-05-08";
const STS: &str = "2011-06-15";

/// A policy document in which everything is allowed.
pub(super) const ALLOW_ALL: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;

/// Where one check is made: names and buckets of its own.
#[derive(Debug)]
pub struct Place {
    http: SignedHttp,
    /// Distinguishes the names of this check.
    pub(super) id: String,
    pub(super) bucket: String,
    /// A user who may call STS, and nothing else.
    pub(super) caller: SecretCredentials,
    root: SecretCredentials,
}

impl Place {
    /// Prepares a caller and a bucket with one object.
    ///
    /// # Errors
    /// When the emulator does not answer, or refuses.
    pub async fn new(endpoint: &Url, check: &str) -> anyhow::Result<Self> {
        let id = check.to_lowercase();
        let root = credentials(ACCOUNT, "test", "");
        let mut place = Self {
            http: SignedHttp::new(Some(endpoint.clone()))?,
            bucket: format!("gate-{id}"),
            caller: credentials(ACCOUNT, "test", ""),
            root,
            id,
        };
        let user = place.name("caller");
        place.root("CreateUser", &[("UserName", &user)]).await?;
        let may = document(&[says("Allow", "sts:*", "*", "")]);
        let policy = [
            ("UserName", user.as_str()),
            ("PolicyName", "sts"),
            ("PolicyDocument", may.as_str()),
        ];
        place.root("PutUserPolicy", &policy).await?;
        let key = place
            .root("CreateAccessKey", &[("UserName", &user)])
            .await?;
        place.caller = credentials(
            &tag(&key, "AccessKeyId")?,
            &tag(&key, "SecretAccessKey")?,
            "",
        );
        for path in [format!("/{}", place.bucket), place.object()] {
            let put = SignedRequest::put("s3", REGION, &path, b"x".to_vec());
            // A bucket is made by an empty body, an object by any.
            let put = SignedRequest {
                body: if path == place.object() {
                    put.body
                } else {
                    Vec::new()
                },
                ..put
            };
            let answer = place.http.send(&place.root, put).await?;
            ensure!(answer.status < 300, "PUT {path}: {}", said(&answer));
        }
        Ok(place)
    }

    pub(super) fn name(&self, what: &str) -> String {
        format!("gate-{}-{what}", self.id)
    }

    pub(super) fn object(&self) -> String {
        format!("/{}/object", self.bucket)
    }

    pub(super) fn role_arn(&self, name: &str) -> String {
        format!("arn:aws:iam::{ACCOUNT}:role/{}", self.name(name))
    }

    /// Calls IAM as the account's root, which must work.
    pub(super) async fn root(&self, action: &str, with: &[(&str, &str)]) -> anyhow::Result<String> {
        let answer = self.query(&self.root, "iam", action, with).await?;
        ensure!(answer.status < 300, "{action}: {}", said(&answer));
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// Calls IAM or STS.
    pub(super) async fn query(
        &self,
        who: &SecretCredentials,
        service: &str,
        action: &str,
        with: &[(&str, &str)],
    ) -> anyhow::Result<SignedAnswer> {
        let version = if service == "sts" { STS } else { IAM };
        let query = {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.append_pair("Action", action)
                .append_pair("Version", version);
            form.extend_pairs(with);
            form.finish()
        };
        // SigV4 wants RFC 3986: a space, a star and a tilde are written otherwise in forms.
        let query = query
            .replace('+', "%20")
            .replace('*', "%2A")
            .replace("%7E", "~");
        let path = format!("/?{query}");
        let answer = self
            .http
            .send(who, SignedRequest::get(service, REGION, &path))
            .await?;
        Ok(answer)
    }

    /// A role that the caller may assume under `condition`, allowed what `policy` says.
    pub(super) async fn role(
        &self,
        what: &str,
        condition: &str,
        policy: &str,
    ) -> anyhow::Result<()> {
        let name = self.name(what);
        let caller = self.name("caller");
        let trust = trusting(&format!("arn:aws:iam::{ACCOUNT}:user/{caller}"), condition);
        let new = [
            ("RoleName", name.as_str()),
            ("AssumeRolePolicyDocument", trust.as_str()),
        ];
        self.root("CreateRole", &new).await?;
        self.allow(what, "allow", policy).await
    }

    /// Puts an inline policy on a role.
    pub(super) async fn allow(
        &self,
        what: &str,
        policy: &str,
        document: &str,
    ) -> anyhow::Result<()> {
        let name = self.name(what);
        let put = [
            ("RoleName", name.as_str()),
            ("PolicyName", policy),
            ("PolicyDocument", document),
        ];
        self.root("PutRolePolicy", &put).await.map(drop)
    }

    /// Assumes a role as the caller; the error code when it is refused.
    pub(super) async fn assume(
        &self,
        what: &str,
        with: &[(&str, &str)],
    ) -> anyhow::Result<Result<SecretCredentials, String>> {
        let arn = self.role_arn(what);
        let mut all = vec![("RoleArn", arn.as_str())];
        if !with.iter().any(|(name, _)| *name == "RoleSessionName") {
            all.push(("RoleSessionName", "one"));
        }
        all.extend(with);
        let answer = self.query(&self.caller, "sts", "AssumeRole", &all).await?;
        if answer.status >= 300 {
            return Ok(Err(answer.code.unwrap_or_default()));
        }
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        Ok(Ok(credentials(
            &tag(&body, "AccessKeyId")?,
            &tag(&body, "SecretAccessKey")?,
            &tag(&body, "SessionToken")?,
        )))
    }

    /// As [`Place::assume`], which must work.
    pub(super) async fn session(
        &self,
        what: &str,
        with: &[(&str, &str)],
    ) -> anyhow::Result<SecretCredentials> {
        match self.assume(what, with).await? {
            Ok(session) => Ok(session),
            Err(code) => bail!("AssumeRole of {what} is refused with {code}"),
        }
    }

    /// Reads the object; wants it allowed or refused.
    pub(super) async fn reads(
        &self,
        session: &SecretCredentials,
        what: &'static str,
        allowed: bool,
    ) -> anyhow::Result<Observation> {
        let object = self.object();
        let answer = self
            .http
            .send(session, SignedRequest::get("s3", REGION, &object))
            .await?;
        Ok(Observation::of(what, allowed, &answer))
    }

    /// Any call to a path of S3.
    pub(super) async fn s3(
        &self,
        session: &SecretCredentials,
        method: &str,
        path: &str,
    ) -> anyhow::Result<SignedAnswer> {
        let request = match method {
            "PUT" => SignedRequest::put("s3", REGION, path, b"y".to_vec()),
            _ => SignedRequest::get("s3", REGION, path),
        };
        Ok(self.http.send(session, request).await?)
    }

    /// Puts a policy on the bucket.
    pub(super) async fn put_bucket_policy(&self, policy: &str) -> anyhow::Result<()> {
        let path = format!("/{}?policy=", self.bucket);
        let put = SignedRequest::put("s3", REGION, &path, policy.as_bytes().to_vec());
        let answer = self.http.send(&self.root, put).await?;
        ensure!(answer.status < 300, "PUT {path}: {}", said(&answer));
        Ok(())
    }

    pub(super) fn as_root(&self) -> &SecretCredentials {
        &self.root
    }
}

pub(super) fn document(statements: &[String]) -> String {
    let statements = statements.join(",");
    format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#)
}

/// One statement; `more` is put behind its other parts.
pub(super) fn says(effect: &str, action: &str, resource: &str, more: &str) -> String {
    format!(r#"{{"Effect":"{effect}","Action":"{action}","Resource":"{resource}"{more}}}"#)
}

/// A trust policy for `principal`, under `condition`.
pub(super) fn trusting(principal: &str, condition: &str) -> String {
    let who = format!(r#""Principal":{{"AWS":"{principal}"}}"#);
    let trust = |action| format!(r#"{{"Effect":"Allow",{who},"Action":"{action}"{condition}}}"#);
    let actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"];
    document(&actions.map(trust))
}

pub(super) fn credentials(key: &str, secret: &str, token: &str) -> SecretCredentials {
    SecretCredentials::new(
        key.to_owned(),
        Zeroizing::new(secret.to_owned()),
        Zeroizing::new(token.to_owned()),
        Timestamp::MAX,
    )
}

/// Status and code.
pub(super) fn said(answer: &SignedAnswer) -> String {
    let code = answer.code.as_deref().unwrap_or("no code");
    format!("HTTP {} ({code})", answer.status)
}

/// The first element of that name in an answer.
pub(super) fn tag(xml: &str, name: &str) -> anyhow::Result<String> {
    let inner = xml
        .split_once(&format!("<{name}>"))
        .and_then(|(_, rest)| rest.split_once(&format!("</{name}>")));
    let (text, _) = inner.with_context(|| format!("an answer without {name}"))?;
    Ok(text.trim().to_owned())
}
