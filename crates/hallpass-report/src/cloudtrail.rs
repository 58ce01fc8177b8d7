//! CloudTrail's records: the fields that say who did what, and whether it was allowed.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use serde::Deserialize;

/// What one file of a trail may unpack to.
const FILE_BYTES: u64 = 512 * 1024 * 1024;

/// Something that is no CloudTrail record, or no file of them.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is gzip that does not unpack, or unpacks to more than 512 MiB.
    #[error("it does not unpack")]
    Unpack(#[source] std::io::Error),
    /// It is no JSON of CloudTrail's form.
    #[error("it is not in CloudTrail's form")]
    Json(#[from] serde_json::Error),
}

/// One recorded call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// CloudTrail's id of the record.
    pub id: String,
    /// When the call was made.
    pub time: Timestamp,
    /// The service, for instance `s3.amazonaws.com`.
    pub service: String,
    /// The call, for instance `ListObjects`.
    pub name: String,
    /// AWS region.
    pub region: String,
    /// The account that it happened in.
    pub account: Option<String>,
    /// From where.
    pub source_address: Option<String>,
    /// AWS request id.
    pub request_id: Option<String>,
    /// AWS error code; `None` when the call succeeded.
    pub error_code: Option<String>,
    /// Who called.
    pub caller: Caller,
    /// The session that was made, when the call was one to AssumeRole that succeeded.
    pub assumed: Option<Assumed>,
}

/// Who called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The session's or user's access key.
    pub access_key_id: Option<String>,
    /// Role id and session name, `AROA…:name`: the value of `aws:userid`.
    pub principal_id: Option<String>,
    /// The session's or user's ARN.
    pub arn: Option<String>,
    /// The role behind the session.
    pub role_arn: Option<String>,
    /// Who the session is for; survives role chaining.
    pub source_identity: Option<String>,
}

/// A session that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assumed {
    /// The role.
    pub role_arn: Option<String>,
    /// Its access key.
    pub access_key_id: Option<String>,
    /// Role id and session name.
    pub principal_id: Option<String>,
    /// As the caller set it.
    pub source_identity: Option<String>,
}

/// Reads a file of a trail: JSON with `Records`, gzip or plain.
///
/// # Errors
/// [`RecordError`].
pub fn parse_file(bytes: &[u8]) -> Result<Vec<Event>, RecordError> {
    #[derive(Deserialize)]
    struct File {
        #[serde(rename = "Records")]
        records: Vec<Wire>,
    }
    let mut plain = Vec::new();
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut limited = MultiGzDecoder::new(bytes).take(FILE_BYTES);
        limited
            .read_to_end(&mut plain)
            .map_err(RecordError::Unpack)?;
        plain.as_slice()
    } else {
        bytes
    };
    let file: File = serde_json::from_slice(bytes)?;
    Ok(file.records.into_iter().map(Event::from).collect())
}

/// Reads one record, as LookupEvents gives it in `CloudTrailEvent`.
///
/// # Errors
/// [`RecordError::Json`].
pub fn parse_record(text: &str) -> Result<Event, RecordError> {
    let wire: Wire = serde_json::from_str(text)?;
    Ok(wire.into())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(rename = "eventID")]
    event_id: String,
    event_time: Timestamp,
    event_source: String,
    event_name: String,
    aws_region: String,
    recipient_account_id: Option<String>,
    #[serde(rename = "sourceIPAddress")]
    source_ip_address: Option<String>,
    #[serde(rename = "requestID")]
    request_id: Option<String>,
    error_code: Option<String>,
    user_identity: Option<UserIdentity>,
    request_parameters: Option<serde_json::Value>,
    response_elements: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UserIdentity {
    principal_id: Option<String>,
    arn: Option<String>,
    access_key_id: Option<String>,
    session_context: Option<SessionContext>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SessionContext {
    source_identity: Option<String>,
    session_issuer: Option<SessionIssuer>,
}

#[derive(Deserialize)]
struct SessionIssuer {
    arn: Option<String>,
}

impl From<Wire> for Event {
    fn from(wire: Wire) -> Self {
        let user = wire.user_identity.unwrap_or_default();
        let context = user.session_context.unwrap_or_default();
        let is_assume = wire.event_source == "sts.amazonaws.com"
            && wire.event_name == "AssumeRole"
            && wire.error_code.is_none();
        Self {
            id: wire.event_id,
            time: wire.event_time,
            service: wire.event_source,
            name: wire.event_name,
            region: wire.aws_region,
            account: wire.recipient_account_id,
            source_address: wire.source_ip_address,
            request_id: wire.request_id,
            error_code: wire.error_code,
            caller: Caller {
                access_key_id: user.access_key_id,
                principal_id: user.principal_id,
                arn: user.arn,
                role_arn: context.session_issuer.and_then(|i| i.arn),
                source_identity: context.source_identity,
            },
            assumed: is_assume.then(|| {
                let asked = wire.request_parameters.unwrap_or_default();
                let made = wire.response_elements.unwrap_or_default();
                assumed(&asked, &made)
            }),
        }
    }
}

fn assumed(asked: &serde_json::Value, made: &serde_json::Value) -> Assumed {
    let text = |value: &serde_json::Value, path| {
        let found = value.pointer(path)?.as_str()?;
        Some(found.to_owned())
    };
    Assumed {
        role_arn: text(asked, "/roleArn"),
        access_key_id: text(made, "/credentials/accessKeyId"),
        principal_id: text(made, "/assumedRoleUser/assumedRoleId"),
        source_identity: text(made, "/sourceIdentity").or_else(|| text(asked, "/sourceIdentity")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    pub(crate) const TRAIL: &str = include_str!("../fixtures/trail.json");

    #[test]
    fn a_trails_file_is_read_plain_and_packed() {
        let events = parse_file(TRAIL.as_bytes()).unwrap();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(TRAIL.as_bytes()).unwrap();
        assert_eq!(parse_file(&packed.finish().unwrap()).unwrap(), events);
        let assume = &events[0];
        let assumed = assume.assumed.as_ref().unwrap();
        assert_eq!(
            assumed.access_key_id.as_deref(),
            Some("ASIAEXAMPLESESSION01")
        );
        assert_eq!(
            assumed.source_identity.as_deref(),
            Some("ar-0123456789abcdefghjkmnpqrs")
        );
        let denied = &events[2];
        assert_eq!(
            (denied.name.as_str(), denied.error_code.as_deref()),
            ("DeleteBucket", Some("AccessDenied"))
        );
        assert_eq!(
            denied.caller.source_identity.as_deref(),
            Some("ar-0123456789abcdefghjkmnpqrs")
        );
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,200}") {
            let mut packed = vec![0x1f, 0x8b];
            packed.extend(&bytes);
            prop_assert!(parse_file(&bytes).is_err() && parse_file(&packed).is_err());
            prop_assert!(parse_record(&text).is_err());
        }

        #[test]
        fn any_field_may_be_null_or_missing_but_those_that_make_an_event(drop in 0usize..20, null in any::<bool>()) {
            let mut file: serde_json::Value = serde_json::from_str(TRAIL).unwrap();
            let record = file["Records"][1].as_object_mut().unwrap();
            let key = record.keys().nth(drop % record.len()).unwrap().clone();
            let needed = ["eventID", "eventTime", "eventSource", "eventName", "awsRegion"];
            match null {
                true => { record.insert(key.clone(), serde_json::Value::Null); }
                false => { record.remove(&key); }
            }
            let read = parse_record(&file["Records"][1].to_string());
            prop_assert_eq!(read.is_err(), needed.contains(&key.as_str()));
        }
    }
}
