//! CloudTrail's LookupEvents: management events of the last 90 days, by one attribute at a time.

use std::collections::BTreeSet;

use aws_config::{Region, SdkConfig};
use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::config::SharedHttpClient;
use aws_sdk_cloudtrail::primitives::DateTime;
use aws_sdk_cloudtrail::types::{LookupAttribute, LookupAttributeKey};
use hallpass_types::{AwsAccountId, RoleArn};
use serde::Deserialize;

use super::{GLOBAL, TrailSpan};
use crate::accounts::{AccountAccess, AccountWorkers, AwsConfig};
use crate::connection::{Connection, base_config, default_http_client};
use crate::errors::{AwsError, ErrorClass};

/// AWS answers two calls a second in an account and region.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(550);
/// Pages of one question; the answer says when there were more.
const MOST_PAGES: usize = 40;

/// Who looks up.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupConfig {
    /// Name of the role, with its path, that the service assumes in each account for that; it needs
    /// `cloudtrail:LookupEvents` and nothing else.
    pub role: String,
    /// Regions to look into, beside the entitlement's and `us-east-1`.
    #[serde(default)]
    pub regions: BTreeSet<String>,
}

impl LookupConfig {
    /// The role in one account.
    pub(crate) fn role_arn(&self, partition: &str, account: &AwsAccountId) -> String {
        let role = self.role.trim_start_matches('/');
        format!("arn:{partition}:iam::{account}:role/{role}")
    }
}

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sought {
    /// Calls that were signed with this access key.
    AccessKey(String),
    /// Calls about this role, by its ARN.
    Role(String),
}

/// A client of LookupEvents.
pub struct Lookup {
    config: LookupConfig,
    aws: AwsConfig,
    base: SdkConfig,
}

impl Lookup {
    /// Prepares the clients. Nothing is sent.
    ///
    /// # Errors
    /// [`AwsError`] of class Alarm when the configuration cannot be used.
    pub async fn new(aws: &AwsConfig, config: LookupConfig) -> Result<Self, AwsError> {
        Self::over(aws, config, default_http_client()).await
    }

    async fn over(
        aws: &AwsConfig,
        config: LookupConfig,
        http: SharedHttpClient,
    ) -> Result<Self, AwsError> {
        let base = base_config(aws, http).await?;
        let aws = aws.clone();
        Ok(Self { config, aws, base })
    }

    /// Records as CloudTrail has them, as JSON, region by region.
    ///
    /// # Errors
    /// [`AwsError`]; of class Alarm also when there are more than one question may bring.
    pub async fn events(&self, span: &TrailSpan, sought: &Sought) -> Result<Vec<String>, AwsError> {
        let account = &span.account;
        let role = RoleArn::parse(&self.config.role_arn(self.aws.partition(), account));
        let role = role.map_err(|e| {
            AwsError::found(
                "configuration",
                ErrorClass::Alarm,
                format!("cloudtrail.lookup.role: {e}"),
            )
        })?;
        let known = self.aws.accounts.get(account);
        let access = AccountAccess {
            provisioner_role_arn: Some(role),
            external_id: known.and_then(|a| a.external_id.clone()),
            previous_external_id: known.and_then(|a| a.previous_external_id.clone()),
            workers: AccountWorkers::Shared,
        };
        let connection = Connection::new(&self.base, &access).await;
        let mut regions = self.config.regions.clone();
        regions.extend([span.region.clone(), GLOBAL.to_owned()]);
        let mut records = Vec::new();
        for region in regions {
            let sdk = aws_sdk_cloudtrail::config::Builder::from(connection.sdk());
            let client = Client::from_conf(sdk.region(Region::new(region)).build());
            records.extend(pages(&client, span, sought).await?);
        }
        Ok(records)
    }
}

async fn pages(
    client: &Client,
    span: &TrailSpan,
    sought: &Sought,
) -> Result<Vec<String>, AwsError> {
    let (key, value) = match sought {
        Sought::AccessKey(id) => (LookupAttributeKey::AccessKeyId, id),
        Sought::Role(arn) => (LookupAttributeKey::ResourceName, arn),
    };
    let attribute = LookupAttribute::builder()
        .attribute_key(key)
        .attribute_value(value);
    let attribute = attribute
        .build()
        .map_err(|e| AwsError::found("LookupEvents", ErrorClass::Alarm, e.to_string()))?;
    let mut records = Vec::new();
    let mut token = None;
    for _ in 0..MOST_PAGES {
        let page = client
            .lookup_events()
            .lookup_attributes(attribute.clone())
            .start_time(DateTime::from_secs(span.from.as_second()))
            .end_time(DateTime::from_secs(span.until.as_second()))
            .set_next_token(token)
            .send()
            .await
            .map_err(|e| AwsError::sdk("LookupEvents", e))?;
        let found = page.events().iter();
        records.extend(found.filter_map(|e| e.cloud_trail_event().map(str::to_owned)));
        token = page.next_token().map(str::to_owned);
        if token.is_none() {
            return Ok(records);
        }
        tokio::time::sleep(PAUSE).await;
    }
    let why = "there are too many events; read the trail's bucket instead";
    Err(AwsError::found("LookupEvents", ErrorClass::Alarm, why))
}

#[cfg(test)]
mod tests {
    use aws_smithy_http_client::test_util::{ReplayEvent, StaticReplayClient};
    use aws_smithy_types::body::SdkBody;
    use hallpass_types::AwsAccountId;

    use super::*;

    fn answer(body: &str) -> ReplayEvent {
        let request = http::Request::builder()
            .uri("https://aws.example/")
            .body(SdkBody::empty());
        let response = http::Response::builder()
            .status(200)
            .body(SdkBody::from(body));
        ReplayEvent::new(request.unwrap(), response.unwrap())
    }

    #[tokio::test]
    async fn every_page_of_every_region_is_asked_for_as_the_role_of_the_account() {
        let session = "<AssumeRoleResponse><AssumeRoleResult><Credentials>\
            <AccessKeyId>ASIALOOKUP</AccessKeyId><SecretAccessKey>x</SecretAccessKey>\
            <SessionToken>y</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
            </Credentials></AssumeRoleResult></AssumeRoleResponse>";
        let page = |event: &str, more: &str| {
            format!(r#"{{"Events":[{{"EventId":"e","CloudTrailEvent":"{event}"}}]{more}}}"#)
        };
        let http = StaticReplayClient::new(vec![
            answer(session),
            answer(&page("one", r#","NextToken":"t""#)),
            answer(&page("two", "")),
            answer(&page("three", "")),
        ]);
        let aws: AwsConfig = serde_json::from_str(
            r#"{"region":"eu-west-1","accounts":{"111122223333":{"external_id":"x1"}},"credentials":
            {"source":"static","access_key_id":"AKIA","secret_access_key":"s"}}"#,
        )
        .unwrap();
        let config = serde_json::from_str(r#"{"role":"audit/lookup"}"#).unwrap();
        let shared = SharedHttpClient::new(http.clone());
        let lookup = Lookup::over(&aws, config, shared).await.unwrap();
        let span = TrailSpan {
            account: AwsAccountId::parse("111122223333").unwrap(),
            region: "eu-west-1".to_owned(),
            from: "2026-11-21T10:00:00Z".parse().unwrap(),
            until: "2026-11-21T11:00:00Z".parse().unwrap(),
        };
        let sought = Sought::AccessKey("ASIAEXAMPLE".to_owned());
        let found = lookup.events(&span, &sought).await.unwrap();
        assert_eq!(found, ["one", "two", "three"]);

        let sent: Vec<_> = http.actual_requests().collect();
        let body = |n: usize| String::from_utf8_lossy(sent[n].body().bytes().unwrap()).into_owned();
        assert!(body(0).contains("role%2Faudit%2Flookup") && body(0).contains("ExternalId=x1"));
        assert!(
            body(1).contains("ASIAEXAMPLE") && body(1).contains("1795255200"),
            "{}",
            body(1)
        );
        assert!(body(2).contains(r#""NextToken":"t""#) && !body(1).contains("NextToken"));
        let regions: Vec<_> = sent[1..].iter().map(|r| r.uri().to_owned()).collect();
        assert!(
            regions[0].contains("eu-west-1") && regions[2].contains("us-east-1"),
            "{regions:?}"
        );
    }
}
