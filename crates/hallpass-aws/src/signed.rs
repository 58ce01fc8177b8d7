//! One signed request to any AWS service: the proof's probe, objects, data keys.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use hallpass_seal::SecretCredentials;
use url::Url;

use crate::errors::{AwsError, ErrorClass};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an answer is kept by default: enough for an error document and a small object.
const BODY_BYTES: usize = 64 * 1024;

/// Signs requests (Signature Version 4) and sends them.
#[derive(Clone, Debug)]
pub struct SignedHttp {
    client: reqwest::Client,
    endpoint: Option<Url>,
}

/// What to send.
#[derive(Clone, Debug)]
pub struct SignedRequest<'a> {
    /// GET, PUT or POST.
    pub method: http::Method,
    /// Signing name of the service, for instance `s3`.
    pub service: &'a str,
    /// Region.
    pub region: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// Further headers, all of them signed.
    pub headers: Vec<(&'a str, String)>,
    /// Body, empty for a GET.
    pub body: Vec<u8>,
    /// How much of the answer's body is kept.
    pub most_bytes: usize,
}

impl<'a> SignedRequest<'a> {
    /// A GET.
    pub fn get(service: &'a str, region: &'a str, path: &'a str) -> Self {
        Self {
            method: http::Method::GET,
            service,
            region,
            path,
            headers: Vec::new(),
            body: Vec::new(),
            most_bytes: BODY_BYTES,
        }
    }

    /// A PUT.
    pub fn put(service: &'a str, region: &'a str, path: &'a str, body: Vec<u8>) -> Self {
        Self {
            method: http::Method::PUT,
            body,
            ..Self::get(service, region, path)
        }
    }
}

/// What came back, whatever the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedAnswer {
    /// HTTP status.
    pub status: u16,
    /// AWS error code, when the status is not a success.
    pub code: Option<String>,
    /// AWS request id.
    pub request_id: Option<String>,
    /// Entity tag, as S3 gives it.
    pub etag: Option<String>,
    /// The body, cut to what the request said.
    pub body: Vec<u8>,
}

impl SignedHttp {
    /// A sender to `endpoint`, or to AWS.
    ///
    /// # Errors
    /// [`AwsError`] of class Alarm when TLS cannot be set up.
    pub fn new(endpoint: Option<Url>) -> Result<Self, AwsError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Somebody else may have been quicker with the same provider.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        // A redirect would carry the call to another place than the one that was to refuse it.
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| {
                AwsError::http("configuration", "no HTTP client", e)
                    .when(ErrorClass::Retry, ErrorClass::Alarm)
            })?;
        Ok(Self { client, endpoint })
    }

    /// Sends `request` with a session's credentials.
    ///
    /// # Errors
    /// [`AwsError`] when nothing came back; an answer of any status is `Ok`.
    pub async fn send(
        &self,
        credentials: &SecretCredentials,
        request: SignedRequest<'_>,
    ) -> Result<SignedAnswer, AwsError> {
        let credentials = Credentials::new(
            credentials.access_key_id(),
            credentials.secret_access_key(),
            Some(credentials.session_token().to_owned()),
            None,
            "session",
        );
        self.send_as(credentials, request).await
    }

    pub(crate) async fn send_as(
        &self,
        credentials: Credentials,
        request: SignedRequest<'_>,
    ) -> Result<SignedAnswer, AwsError> {
        let operation = "signed request";
        let url = url(self.endpoint.as_ref(), &request)?;
        let headers = signature(&credentials.into(), &request, &url)?;
        let mut outgoing = self.client.request(request.method, url).body(request.body);
        let own = request.headers.into_iter().map(|(n, v)| (n.to_owned(), v));
        for (name, value) in own.chain(headers) {
            outgoing = outgoing.header(name, value);
        }
        let no_answer = |e| AwsError::http(operation, "no answer", e);
        let mut answer = outgoing.send().await.map_err(no_answer)?;
        let status = answer.status();
        let header = |name| {
            let value = answer.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let request_id = header("x-amzn-requestid").or_else(|| header("x-amz-request-id"));
        let error_type = header("x-amzn-errortype");
        let etag = header("etag");
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(no_answer)? {
            let room = request.most_bytes - body.len();
            body.extend(chunk.iter().take(room));
            if chunk.len() >= room {
                break;
            }
        }
        Ok(SignedAnswer {
            status: status.as_u16(),
            code: if status.is_success() {
                None
            } else {
                error_type
                    .as_deref()
                    .and_then(bare_code)
                    .or_else(|| error_code(&body))
            },
            request_id,
            etag,
            body,
        })
    }
}

fn url(endpoint: Option<&Url>, request: &SignedRequest<'_>) -> Result<Url, AwsError> {
    let base = match endpoint {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None => format!(
            "https://{}.{}.{}",
            request.service,
            request.region,
            suffix(request.region)
        ),
    };
    Url::parse(&format!("{base}{}", request.path)).map_err(|e| not_built(&e.to_string()))
}

/// DNS suffix of the partition that a region is in.
fn suffix(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    }
}

fn signature(
    identity: &Identity,
    request: &SignedRequest<'_>,
    url: &Url,
) -> Result<Vec<(String, String)>, AwsError> {
    let mut settings = SigningSettings::default();
    if request.service == "s3" {
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    let params = v4::SigningParams::builder()
        .identity(identity)
        .region(request.region)
        .name(request.service)
        .time(SystemTime::now())
        .settings(settings)
        .build()
        .map_err(|e| not_built(&e.to_string()))?
        .into();
    let signable = SignableRequest::new(
        request.method.as_str(),
        url.as_str(),
        request.headers.iter().map(|(n, v)| (*n, v.as_str())),
        SignableBody::Bytes(&request.body),
    )
    .and_then(|signable| sign(signable, &params))
    .map_err(|e| not_built(&e.to_string()))?;
    let (instructions, _) = signable.into_parts();
    let headers = instructions.headers();
    Ok(headers.map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
}

fn not_built(reason: &str) -> AwsError {
    AwsError::found(
        "signed request",
        ErrorClass::Alarm,
        format!("not built: {reason}"),
    )
}

/// The error code of an XML or JSON error document.
fn error_code(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    if let Ok(serde_json::Value::Object(json)) = serde_json::from_str(text) {
        return ["__type", "code", "Code"]
            .iter()
            .find_map(|key| bare_code(json.get(*key)?.as_str()?));
    }
    bare_code(text.split_once("<Code>")?.1.split_once("</Code>")?.0)
}

/// `AccessDenied` of `com.amazonaws.sqs#AccessDenied:http://…`.
fn bare_code(text: &str) -> Option<String> {
    let code = text.split(':').next()?.rsplit('#').next()?;
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let ok = (1..=100).contains(&code.len()) && code.chars().all(legal);
    ok.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn error_codes_of_every_protocol() {
        for (body, want) in [
            (
                r#"<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>x</Message></Error>"#,
                Some("AccessDenied"),
            ),
            (
                r#"<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code></Error></ErrorResponse>"#,
                Some("Throttling"),
            ),
            (
                r#"{"__type":"com.amazonaws.sqs#AccessDeniedException","message":"x"}"#,
                Some("AccessDeniedException"),
            ),
            (r#"{"message":"x"}"#, None),
            ("<html>", None),
            ("", None),
        ] {
            assert_eq!(error_code(body.as_bytes()).as_deref(), want, "{body}");
        }
        assert_eq!(
            bare_code("AccessDenied:http://x").as_deref(),
            Some("AccessDenied")
        );
    }

    #[test]
    fn requests_go_to_the_endpoint_or_to_the_region() {
        let request = SignedRequest::get("s3", "eu-west-1", "/reports?list-type=2");
        let emulator = Url::parse("http://127.0.0.1:4566/").unwrap();
        let at = |endpoint| url(endpoint, &request).unwrap().to_string();
        assert_eq!(
            at(Some(&emulator)),
            "http://127.0.0.1:4566/reports?list-type=2"
        );
        assert_eq!(
            at(None),
            "https://s3.eu-west-1.amazonaws.com/reports?list-type=2"
        );
    }

    proptest! {
        #[test]
        fn error_codes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(code) = error_code(&body) { prop_assert!(code.len() <= 100); }
        }
    }
}
