//! Notices to people: one signed POST to a webhook, which brings it to where the groups read.
//!
//! The form is that of Standard Webhooks: headers `webhook-id`, `webhook-timestamp` and
//! `webhook-signature`, an HMAC-SHA256 over `id.timestamp.body`. Nothing in the document is secret.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hallpass_types::AccessRequestSpec;
use hallpass_workflows::wire::NotifyInput;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::private_file::{self, PrivateFileError};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Shorter keys can be guessed; longer ones are hashed to this by HMAC anyway.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// How Standard Webhooks writes a key in text.
const KEY_PREFIX: &str = "whsec_";

/// Where notices go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NotifyConfig {
    pub(crate) url: Url,
    /// File with the key in base 64, readable by its owner only.
    pub(crate) key_file: PathBuf,
}

impl NotifyConfig {
    /// Key, problem and cure, when something is wrong.
    pub(crate) fn wrong(&self) -> Option<(&'static str, String, &'static str)> {
        let loopback = match self.url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            _ => false,
        };
        let ok = self.url.scheme() == "https" || (self.url.scheme() == "http" && loopback);
        let problem = "is neither an https URL nor one on loopback".to_owned();
        (!ok).then_some(("notify.url", problem, "write https://HOST/PATH"))
    }
}

/// A notice that was not sent, or a key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotifyError {
    #[error("the notices' key {path} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: PrivateFileError,
    },
    #[error(
        "{path} does not hold 24 to 64 bytes in base 64; make it with \
         `openssl rand -base64 32`, mode 0600"
    )]
    Form { path: PathBuf },
    #[error("the notice cannot be written")]
    Write(#[source] serde_json::Error),
    #[error("the webhook cannot be reached")]
    Send(#[source] reqwest::Error),
    #[error("the webhook answered {0}")]
    Refused(reqwest::StatusCode),
}

impl NotifyError {
    /// Whether the same notice would fail again.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Refused(status) => {
                let passing = [408, 425, 429].contains(&status.as_u16());
                status.is_client_error() && !passing
            }
            Self::Send(_) => false,
            _ => true,
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    deployment: &'a str,
    access_request: String,
    entitlement: String,
    requester: String,
    requester_name: Option<&'a str>,
    groups: &'a BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    parameters: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<Timestamp>,
    duration_seconds: u32,
    reason: &'a str,
    ticket: Option<&'a str>,
    break_glass: bool,
}

/// Sends notices. The key is in here and is shown nowhere.
pub(crate) struct Notifier {
    url: Url,
    key: hmac::Key,
    http: reqwest::Client,
}

impl Notifier {
    pub(crate) fn new(config: &NotifyConfig, http: reqwest::Client) -> Result<Self, NotifyError> {
        Ok(Self {
            url: config.url.clone(),
            key: key(&config.key_file)?,
            http,
        })
    }

    /// Sends one notice of a verified request; sent again it has the same id.
    pub(crate) async fn send(
        &self,
        deployment: &str,
        spec: &AccessRequestSpec,
        input: &NotifyInput,
        now: Timestamp,
    ) -> Result<(), NotifyError> {
        let kind = input.notice.as_str();
        let id = format!("{}.{kind}.{}", spec.id, input.at.as_millisecond());
        let body = serde_json::to_string(&document(deployment, spec, input));
        let body = body.map_err(NotifyError::Write)?;
        let time = now.as_second().to_string();
        let answer = self
            .http
            .post(self.url.clone())
            .timeout(TIMEOUT)
            .header("content-type", "application/json")
            .header("webhook-signature", signature(&self.key, &id, &time, &body))
            .header("webhook-id", id)
            .header("webhook-timestamp", time)
            .body(body)
            .send()
            .await
            .map_err(|error| NotifyError::Send(error.without_url()))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(NotifyError::Refused(status)),
        }
    }
}

fn document<'a>(
    deployment: &'a str,
    spec: &'a AccessRequestSpec,
    input: &'a NotifyInput,
) -> Document<'a> {
    Document {
        r#type: format!("hallpass.{}", input.notice.as_str()),
        timestamp: input.at,
        data: Data {
            deployment,
            access_request: spec.id.name(),
            entitlement: spec.entitlement.name(),
            requester: spec.requester.id.to_string(),
            requester_name: spec.requester.display_name.as_deref(),
            groups: &input.groups,
            parameters: &spec.parameters,
            start_time: spec.start,
            duration_seconds: spec.duration.as_seconds(),
            reason: spec.reason.as_str(),
            ticket: spec.ticket.as_ref().map(|t| t.as_str()),
            break_glass: spec.break_glass,
        },
    }
}

fn signature(key: &hmac::Key, id: &str, time: &str, body: &str) -> String {
    let tag = hmac::sign(key, format!("{id}.{time}.{body}").as_bytes());
    format!("v1,{}", BASE64.encode(tag.as_ref()))
}

/// Reads a key.
pub(crate) fn key(path: &Path) -> Result<hmac::Key, NotifyError> {
    let text = private_file::read(path).map_err(|source| NotifyError::Read {
        path: path.to_owned(),
        source,
    })?;
    let text = text.trim();
    let bytes = BASE64.decode(text.strip_prefix(KEY_PREFIX).unwrap_or(text));
    let bytes = Zeroizing::new(bytes.unwrap_or_default());
    if !KEY_BYTES.contains(&bytes.len()) {
        let path = path.to_owned();
        return Err(NotifyError::Form { path });
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

#[cfg(test)]
mod tests {
    use hallpass_types::{
        AccessRequestId, AuthFacts, EntitlementId, GrantDuration, Principal, PrincipalId,
        PrincipalKind, Reason, RequestId,
    };
    use hallpass_workflows::wire::Notice;
    use serde_json::json;

    use super::*;

    /// The example of the Standard Webhooks specification.
    #[test]
    fn a_signature_is_that_of_the_standards_example() {
        let secret = BASE64.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let signed = signature(
            &key,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            "{\"test\": 2432232314}",
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    fn spec() -> AccessRequestSpec {
        let id = PrincipalId::parse("https://idp.example#alice").unwrap();
        let request_id = RequestId::parse("00000000-0000-4000-8000-000000000001").unwrap();
        AccessRequestSpec {
            id: AccessRequestId::derive(&id, &request_id),
            request_id,
            requester: Principal {
                id,
                kind: PrincipalKind::Human,
                display_name: None,
                groups: BTreeSet::new(),
                acting_for: None,
                auth: AuthFacts {
                    mfa: true,
                    authenticated_at: Timestamp::UNIX_EPOCH,
                    client: None,
                    evidence: Default::default(),
                },
            },
            entitlement: EntitlementId::parse("reports").unwrap(),
            duration: GrantDuration::from_seconds(1_800).unwrap(),
            break_glass: false,
            reason: Reason::parse("because").unwrap(),
            ticket: None,
            parameters: BTreeMap::new(),
            start: None,
        }
    }

    fn data(spec: &AccessRequestSpec) -> serde_json::Value {
        let nobody = json!({ "payloadType": "none", "payload": "", "signatures": [] });
        let input = NotifyInput {
            notice: Notice::Asked,
            groups: BTreeSet::from(["security".to_owned()]),
            start: serde_json::from_value(nobody).unwrap(),
            at: Timestamp::UNIX_EPOCH,
        };
        let document = serde_json::to_value(document("prod", spec, &input)).unwrap();
        document["data"].clone()
    }

    #[test]
    fn approvers_read_for_what_and_from_when_where_that_was_chosen() {
        let mut spec = spec();
        let plain = data(&spec);
        let plain = plain.as_object().unwrap();
        assert!(!plain.contains_key("parameters") && !plain.contains_key("startTime"));
        spec.parameters = BTreeMap::from([("prefix".to_owned(), "2026/q3".to_owned())]);
        spec.start = Some("2026-11-23T08:00:00Z".parse().unwrap());
        let mut chosen = data(&spec);
        let chosen = chosen.as_object_mut().unwrap();
        let parameters = chosen.remove("parameters");
        assert_eq!(parameters, Some(json!({ "prefix": "2026/q3" })));
        let start = chosen.remove("startTime");
        assert_eq!(start, Some(json!("2026-11-23T08:00:00Z")));
        assert_eq!(chosen, plain, "nothing else changes");
    }

    #[test]
    fn notices_leave_the_machine_over_https_only() {
        let wrong = |url: &str| {
            let config = NotifyConfig {
                url: url.parse().unwrap(),
                key_file: PathBuf::new(),
            };
            config.wrong().is_some()
        };
        assert!(!wrong("https://hooks.example.com/hallpass"));
        assert!(!wrong("http://127.0.0.1:9/x") && !wrong("http://[::1]:9/x"));
        assert!(wrong("http://hooks.example.com/x") && wrong("http://127.0.0.1.example.com/"));
        assert!(wrong("ftp://127.0.0.1/x"));
    }

    #[test]
    fn a_short_or_open_key_is_refused_and_both_forms_of_a_good_one_are_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify.key");
        let write = |text: &str, mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            key(&path)
        };
        let good = BASE64.encode([7; 32]);
        assert!(write(&good, 0o600).is_ok());
        assert!(write(&format!("whsec_{good}\n"), 0o600).is_ok());
        let short = BASE64.encode([7; 23]);
        assert!(matches!(
            write(&short, 0o600),
            Err(NotifyError::Form { .. })
        ));
        assert!(matches!(write("", 0o600), Err(NotifyError::Form { .. })));
        assert!(matches!(write(&good, 0o644), Err(NotifyError::Read { .. })));
    }

    #[test]
    fn what_the_webhook_refuses_for_good_is_not_sent_again() {
        let is_final = |code: u16| {
            let status = reqwest::StatusCode::from_u16(code).unwrap();
            NotifyError::Refused(status).is_final()
        };
        assert_eq!(
            [400, 401, 404, 410, 408, 429, 500, 503].map(is_final),
            [true, true, true, true, false, false, false, false]
        );
    }
}
