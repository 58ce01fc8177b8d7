//! Development seed: three accounts in an AWS emulator, as small as a real set-up can be.
//!
//! A hub account holds the service's own identity. Each target account has the provisioner role
//! that the service assumes, the boundary of every created role, a role worth asking for and a
//! bucket worth reading. Never for AWS itself: only an endpoint on the loopback interface is accepted.

use std::collections::BTreeMap;

use aws_credential_types::Credentials;
use aws_sdk_iam::types::AccessKey;
use hallpass_types::{AwsAccountId, ParseIdError, PolicyArn, RoleArn};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::accounts::{
    AccountAccess, AccountWorkers, AwsConfig, SecretAccessKey, ServiceCredentials,
};
use crate::connection::{Connection, base_config, default_http_client};
use crate::deployment::{AccountSetup, ServiceSetup};
use crate::errors::{AwsError, ErrorClass};
use crate::policy::{PolicyDocument, Statement};
use crate::signed::{SignedHttp, SignedRequest};

/// The account that the service itself lives in.
pub const HUB_ACCOUNT: &str = "999988887777";
/// Target accounts: number, name, bucket, external id of the reader role as the sample pack has it.
pub const ACCOUNTS: [(&str, &str, &str, &str); 2] = [
    (
        "111122223333",
        "payments-prod",
        "payments-reports",
        "hp-prod-reports-51d2e8",
    ),
    (
        "444455556666",
        "sandbox",
        "sandbox-reports",
        "hp-sandbox-reports-7f3a9c",
    ),
];
/// The object in each bucket.
pub const OBJECT_KEY: &str = "reports/2026-q3.csv";
/// What the object holds.
pub const OBJECT: &str = "quarter,revenue\n2026-q3,1200000\n";

const SERVICE_USER: &str = "hallpass-service";
const PROVISIONER: &str = "hallpass-provisioner";
const BOUNDARY: &str = "hallpass-boundary";
const READER: &str = "ReportsReader";
/// The emulator takes any account number as the key of that account's root.
const ROOT_SECRET: &str = "test";

/// What was seeded.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// The service's way in, with a fresh key.
    pub config: AwsConfig,
    /// The target accounts.
    pub accounts: Vec<SandboxAccount>,
}

/// One target account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxAccount {
    /// Its number.
    pub id: AwsAccountId,
    /// Its name.
    pub name: &'static str,
    /// Role for entitlements in assume mode: may read the bucket.
    pub reader: RoleArn,
    /// The external id that the reader's trust policy asks for.
    pub reader_external_id: String,
    /// Boundary for entitlements in create mode.
    pub boundary: PolicyArn,
    /// The bucket.
    pub bucket: &'static str,
}

/// Seeds the emulator at `endpoint`. Safe to run again; each run makes the service a new key.
///
/// # Errors
/// [`AwsError`]; of class Refused when `endpoint` is not on the loopback interface.
pub async fn seed(endpoint: &Url, region: &str) -> Result<Sandbox, AwsError> {
    if !is_loopback(endpoint) {
        let message = format!("{endpoint} is not on the loopback interface");
        return Err(AwsError::found("sandbox", ErrorClass::Refused, message));
    }
    let place = Place { endpoint, region };
    let service = place.root_of(HUB_ACCOUNT).await?;
    let mut config = AwsConfig {
        endpoint_url: Some(endpoint.to_string()),
        region: region.to_owned(),
        credentials: ServiceCredentials::DefaultChain,
        accounts: BTreeMap::new(),
        only: None,
    };
    for (number, ..) in ACCOUNTS {
        let access = AccountAccess {
            provisioner_role_arn: Some(parsed(RoleArn::parse(&role_arn(number, PROVISIONER)))?),
            external_id: Some(provisioner_external_id(number)),
            previous_external_id: None,
            workers: AccountWorkers::Shared,
        };
        config
            .accounts
            .insert(parsed(AwsAccountId::parse(number))?, access);
    }
    let user_arn = service_identity(&service, &mut config).await?;
    let mut accounts = Vec::new();
    for (number, name, bucket, reader_external_id) in ACCOUNTS {
        let account = seed_account(&place, number, name, bucket, reader_external_id, &user_arn);
        accounts.push(account.await?);
    }
    Ok(Sandbox { config, accounts })
}

fn is_loopback(endpoint: &Url) -> bool {
    match endpoint.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

struct Place<'a> {
    endpoint: &'a Url,
    region: &'a str,
}

impl Place<'_> {
    async fn root_of(&self, account: &str) -> Result<Connection, AwsError> {
        let config = AwsConfig {
            endpoint_url: Some(self.endpoint.to_string()),
            region: self.region.to_owned(),
            credentials: ServiceCredentials::Static {
                access_key_id: account.to_owned(),
                secret_access_key: SecretAccessKey::Inline(Zeroizing::new(ROOT_SECRET.to_owned())),
            },
            accounts: BTreeMap::new(),
            only: None,
        };
        let base = base_config(&config, default_http_client()).await?;
        Ok(Connection::new(&base, &AccountAccess::default()).await)
    }
}

async fn seed_account(
    place: &Place<'_>,
    number: &'static str,
    name: &'static str,
    bucket: &'static str,
    reader_external_id: &'static str,
    service_arn: &str,
) -> Result<SandboxAccount, AwsError> {
    let root = place.root_of(number).await?;
    let reader_external_id = reader_external_id.to_owned();
    put_boundary(&root).await?;
    let assume = ["sts:AssumeRole"];
    let trust = PolicyDocument::new(vec![Statement::trust(service_arn, &assume).when(
        "StringEquals",
        "sts:ExternalId",
        &provisioner_external_id(number),
    )]);
    put_role(
        &root,
        PROVISIONER,
        &trust,
        &provisioner_permissions(number)?,
    )
    .await?;
    let provisioner = role_arn(number, PROVISIONER);
    let trust = PolicyDocument::new(vec![
        Statement::trust(&provisioner, &assume).when(
            "StringEquals",
            "sts:ExternalId",
            &reader_external_id,
        ),
        Statement::trust(&provisioner, &["sts:TagSession", "sts:SetSourceIdentity"]),
    ]);
    put_role(&root, READER, &trust, &reader_permissions(bucket)).await?;
    put_bucket(place, number, bucket).await?;
    Ok(SandboxAccount {
        id: parsed(AwsAccountId::parse(number))?,
        name,
        reader: parsed(RoleArn::parse(&role_arn(number, READER)))?,
        reader_external_id,
        boundary: parsed(PolicyArn::parse(&boundary_arn(number)))?,
        bucket,
    })
}

/// The service's user with a fresh key, the secret of an older one cannot be read again; and with
/// what the deployment documents give it, and nothing else.
async fn service_identity(hub: &Connection, config: &mut AwsConfig) -> Result<String, AwsError> {
    let iam = hub.iam();
    let made = iam.create_user().user_name(SERVICE_USER).send().await;
    unless_there(made.map_err(|e| AwsError::sdk("CreateUser", e)))?;
    let policy = ServiceSetup::new(config, Vec::new()).permissions();
    iam.put_user_policy()
        .user_name(SERVICE_USER)
        .policy_name("hallpass")
        .policy_document(policy.to_json())
        .send()
        .await
        .map_err(|e| AwsError::sdk("PutUserPolicy", e))?;
    let key = match create_key(hub).await {
        Err(error) if error.class == ErrorClass::LimitReached => {
            delete_oldest_key(hub).await?;
            create_key(hub).await?
        }
        other => other?,
    };
    config.credentials = ServiceCredentials::Static {
        access_key_id: key.access_key_id,
        secret_access_key: SecretAccessKey::Inline(Zeroizing::new(key.secret_access_key)),
    };
    Ok(format!("arn:aws:iam::{HUB_ACCOUNT}:user/{SERVICE_USER}"))
}

async fn create_key(hub: &Connection) -> Result<AccessKey, AwsError> {
    let made = hub
        .iam()
        .create_access_key()
        .user_name(SERVICE_USER)
        .send()
        .await;
    made.map_err(|e| AwsError::sdk("CreateAccessKey", e))?
        .access_key
        .ok_or_else(|| odd("an answer without a key"))
}

async fn delete_oldest_key(hub: &Connection) -> Result<(), AwsError> {
    let iam = hub.iam();
    let keys = iam.list_access_keys().user_name(SERVICE_USER).send().await;
    let keys = keys.map_err(|e| AwsError::sdk("ListAccessKeys", e))?;
    let oldest = keys
        .access_key_metadata()
        .iter()
        .min_by_key(|k| k.create_date().map(|d| d.secs()));
    let delete = iam.delete_access_key().user_name(SERVICE_USER);
    delete
        .set_access_key_id(oldest.and_then(|k| k.access_key_id()).map(str::to_owned))
        .send()
        .await
        .map_err(|e| AwsError::sdk("DeleteAccessKey", e))?;
    Ok(())
}

async fn put_boundary(root: &Connection) -> Result<(), AwsError> {
    let limits = PolicyDocument::new(vec![Statement::allow_all_but(&[
        "iam:*",
        "organizations:*",
        "account:*",
        "sts:AssumeRole",
    ])]);
    let create = root.iam().create_policy().policy_name(BOUNDARY);
    let made = create.policy_document(limits.to_json()).send().await;
    unless_there(made.map_err(|e| AwsError::sdk("CreatePolicy", e)))
}

async fn put_role(
    root: &Connection,
    name: &str,
    trust: &PolicyDocument,
    permissions: &PolicyDocument,
) -> Result<(), AwsError> {
    let iam = root.iam();
    let create = iam.create_role().role_name(name);
    let made = create
        .assume_role_policy_document(trust.to_json())
        .send()
        .await;
    unless_there(made.map_err(|e| AwsError::sdk("CreateRole", e)))?;
    iam.update_assume_role_policy()
        .role_name(name)
        .policy_document(trust.to_json())
        .send()
        .await
        .map_err(|e| AwsError::sdk("UpdateAssumeRolePolicy", e))?;
    iam.put_role_policy()
        .role_name(name)
        .policy_name("permissions")
        .policy_document(permissions.to_json())
        .send()
        .await
        .map_err(|e| AwsError::sdk("PutRolePolicy", e))?;
    Ok(())
}

/// What the deployment documents give a provisioner, and nothing else.
fn provisioner_permissions(number: &str) -> Result<PolicyDocument, AwsError> {
    let account = parsed(AwsAccountId::parse(number))?;
    let mut setup = AccountSetup::new(account, PROVISIONER, "");
    setup.shared_roles.insert(role_arn(number, READER));
    setup.boundaries.insert(boundary_arn(number));
    Ok(setup.permissions_for_emulator())
}

fn boundary_arn(number: &str) -> String {
    format!("arn:aws:iam::{number}:policy/{BOUNDARY}")
}

fn reader_permissions(bucket: &str) -> PolicyDocument {
    let (bucket, objects) = (
        format!("arn:aws:s3:::{bucket}"),
        format!("arn:aws:s3:::{bucket}/*"),
    );
    PolicyDocument::new(vec![
        Statement::allow(&["s3:ListBucket"], &[&bucket]),
        Statement::allow(&["s3:GetObject"], &[&objects]),
    ])
}

async fn put_bucket(place: &Place<'_>, number: &str, bucket: &str) -> Result<(), AwsError> {
    let http = SignedHttp::new(Some(place.endpoint.clone()))?;
    let root = Credentials::new(number, ROOT_SECRET, None, None, "sandbox");
    let (path, object) = (format!("/{bucket}"), format!("/{bucket}/{OBJECT_KEY}"));
    // S3 wants every region but its first one named in the body too.
    let location = match place.region {
        "us-east-1" => String::new(),
        region => format!(
            "<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint>\
             </CreateBucketConfiguration>"
        ),
    };
    for (path, body) in [
        (path, location.into_bytes()),
        (object, OBJECT.as_bytes().to_vec()),
    ] {
        let put = SignedRequest::put("s3", place.region, &path, body);
        let answer = http.send_as(root.clone(), put).await?;
        let there = answer.code.as_deref() == Some("BucketAlreadyOwnedByYou");
        if !matches!(answer.status, 200..=299) && !there {
            let message = format!("PUT {path} answered HTTP {}", answer.status);
            return Err(odd(&message).marked(answer.code, answer.request_id));
        }
    }
    Ok(())
}

fn role_arn(account: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:role/{name}")
}

fn provisioner_external_id(number: &str) -> String {
    format!("hallpass-{number}")
}

fn unless_there<T>(made: Result<T, AwsError>) -> Result<(), AwsError> {
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.class == ErrorClass::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn parsed<T>(result: Result<T, ParseIdError>) -> Result<T, AwsError> {
    result.map_err(|e| odd(&e.to_string()))
}

fn odd(message: &str) -> AwsError {
    AwsError::found("sandbox", ErrorClass::Alarm, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_loopback_is_seeded() {
        for url in [
            "https://iam.amazonaws.com",
            "http://10.0.0.1:4566",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example",
        ] {
            let error = seed(&Url::parse(url).unwrap(), "eu-west-1")
                .await
                .unwrap_err();
            assert_eq!(error.class, ErrorClass::Refused, "{url}");
        }
        for url in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"] {
            assert!(is_loopback(&Url::parse(url).unwrap()), "{url}");
        }
    }
}
