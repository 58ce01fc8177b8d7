//! What the emulator says: may this session read, is that role still there?

use hallpass_aws::{SignedHttp, SignedRequest};
use hallpass_seal::SecretCredentials;
use jiff::Timestamp;
use serde_json::Value;
use zeroize::Zeroizing;

/// The emulator, as an onlooker sees it.
#[derive(Clone, Debug)]
pub struct Aws {
    http: SignedHttp,
    region: String,
}

/// What came of reading a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It answered.
    Allowed,
    /// It refused, with this code.
    Refused(String),
}

impl Aws {
    /// The emulator at `endpoint`.
    ///
    /// # Panics
    /// When that is no URL.
    pub fn at(endpoint: &str, region: &str) -> Self {
        crate::init();
        let endpoint = endpoint.parse().expect("an emulator's address");
        let http = SignedHttp::new(Some(endpoint)).expect("an HTTP client");
        Self {
            http,
            region: region.to_owned(),
        }
    }

    /// Lists a bucket: a real call that the sample entitlements allow.
    ///
    /// # Panics
    /// When the emulator does not answer.
    pub async fn read(&self, session: &SecretCredentials, bucket: &str) -> Reading {
        self.get(session, &format!("/{bucket}?list-type=2&max-keys=1"))
            .await
    }

    /// Gets a path of S3.
    ///
    /// # Panics
    /// When the emulator does not answer.
    pub async fn get(&self, session: &SecretCredentials, path: &str) -> Reading {
        let request = SignedRequest::get("s3", &self.region, path);
        let answer = self
            .http
            .send(session, request)
            .await
            .expect("the emulator answers");
        match answer.code {
            None => Reading::Allowed,
            Some(code) => Reading::Refused(code),
        }
    }

    /// Whether a role exists, asked as the account's root.
    ///
    /// # Panics
    /// When the emulator does not answer.
    pub async fn role_exists(&self, account: &str, role_name: &str) -> bool {
        let answer = self
            .iam(account, &format!("Action=GetRole&RoleName={role_name}"))
            .await;
        answer.contains("<RoleId>")
    }

    /// Names of the inline policies of a role, as IAM's XML lists them.
    ///
    /// # Panics
    /// When the emulator does not answer.
    pub async fn role_policies(&self, account: &str, role_name: &str) -> Vec<String> {
        let query = format!("Action=ListRolePolicies&RoleName={role_name}");
        let answer = self.iam(account, &query).await;
        members(&answer, "member")
    }

    /// The document of one inline policy of a role; `None` when there is none.
    ///
    /// # Panics
    /// When the emulator does not answer.
    pub async fn role_policy(&self, account: &str, role: &str, policy: &str) -> Option<String> {
        let query = format!("Action=GetRolePolicy&PolicyName={policy}&RoleName={role}");
        let answer = self.iam(account, &query).await;
        let document = members(&answer, "PolicyDocument").pop()?;
        let query = format!("document={document}");
        let mut decoded = url::form_urlencoded::parse(query.as_bytes());
        Some(decoded.next()?.1.into_owned())
    }

    /// The trust policy of a role.
    ///
    /// # Panics
    /// When there is no such role.
    pub async fn trust(&self, account: &str, role: &str) -> String {
        let answer = self
            .iam(account, &format!("Action=GetRole&RoleName={role}"))
            .await;
        let document = members(&answer, "AssumeRolePolicyDocument").pop();
        let query = format!("document={}", document.expect("a trust policy"));
        let mut decoded = url::form_urlencoded::parse(query.as_bytes());
        decoded.next().expect("a document").1.into_owned()
    }

    /// Names of the roles whose name begins with `prefix`.
    ///
    /// # Panics
    /// When the emulator does not answer.
    pub async fn roles(&self, account: &str, prefix: &str) -> Vec<String> {
        let answer = self.iam(account, "Action=ListRoles").await;
        members(&answer, "RoleName")
            .into_iter()
            .filter(|r| r.starts_with(prefix))
            .collect()
    }

    /// Calls IAM as the account's root with these parameters, `Action` among them.
    ///
    /// # Panics
    /// When the emulator refuses.
    pub async fn as_root(&self, account: &str, parameters: &[(&str, &str)]) -> String {
        let query = parameters
            .iter()
            .fold(url::form_urlencoded::Serializer::new(String::new()), |mut q, (k, v)| {
                q.append_pair(k, v);
                q
            })
            .finish()
            // SigV4 wants %20 where forms have +.
            .replace('+', "%20");
        let answer = self.iam(account, &query).await;
        assert!(!answer.contains("<Error>"), "{answer}");
        answer
    }

    /// Calls KMS as the account's root.
    ///
    /// # Panics
    /// When the emulator refuses.
    pub async fn kms(&self, account: &str, operation: &str, body: &Value) -> Value {
        let request = SignedRequest {
            method: reqwest::Method::POST,
            headers: vec![
                ("content-type", "application/x-amz-json-1.1".to_owned()),
                ("x-amz-target", format!("TrentService.{operation}")),
            ],
            body: body.to_string().into_bytes(),
            ..SignedRequest::get("kms", &self.region, "/")
        };
        let answer = self.http.send(&root(account), request).await;
        let answer = answer.expect("the emulator answers");
        assert_eq!(answer.status, 200, "{operation}: {:?}", answer.code);
        match answer.body.as_slice() {
            [] => Value::Null,
            body => serde_json::from_slice(body).expect("JSON"),
        }
    }

    async fn iam(&self, account: &str, query: &str) -> String {
        let path = format!("/?{query}&Version=2010-05-08");
        let request = SignedRequest::get("iam", &self.region, &path);
        let answer = self
            .http
            .send(&root(account), request)
            .await
            .expect("the emulator answers");
        String::from_utf8_lossy(&answer.body).into_owned()
    }
}

/// The emulator takes an account number as the key of that account's root.
fn root(account: &str) -> SecretCredentials {
    SecretCredentials::new(
        account.to_owned(),
        Zeroizing::new(hallpass_standins::ROOT_SECRET_ACCESS_KEY.to_owned()),
        Zeroizing::new(String::new()),
        Timestamp::MAX,
    )
}

fn members(xml: &str, tag: &str) -> Vec<String> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    xml.split(&open)
        .skip(1)
        .filter_map(|rest| rest.split_once(&close).map(|(name, _)| name.to_owned()))
        .collect()
}
