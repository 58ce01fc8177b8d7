//! Answers in AWS's own words.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use crate::call::Call;

pub(crate) type Answer = Response<Full<Bytes>>;

const IAM: &str = "https://iam.amazonaws.com/doc/2010-05-08/";
const STS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// An error as the call's protocol words it.
pub(crate) fn error(call: &Call, number: u64, status: u16, code: &str) -> Answer {
    let id = request_id(number);
    let kind = if status < 500 { "Sender" } else { "Receiver" };
    let message = message(code);
    let body = if call.is_query() {
        let space = if call.service == "sts" { STS } else { IAM };
        format!(
            "<ErrorResponse xmlns=\"{space}\"><Error><Type>{kind}</Type><Code>{code}</Code>\
             <Message>{message}</Message></Error><RequestId>{id}</RequestId></ErrorResponse>"
        )
    } else {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code>\
             <Message>{message}</Message><RequestId>{id}</RequestId></Error>"
        )
    };
    xml(status, body)
}

/// The answer to an IAM write that returns nothing but its request id.
pub(crate) fn done(call: &Call, number: u64) -> Answer {
    let (action, id) = (&call.action, request_id(number));
    let body = format!(
        "<{action}Response xmlns=\"{IAM}\"><ResponseMetadata><RequestId>{id}</RequestId>\
         </ResponseMetadata></{action}Response>"
    );
    xml(200, body)
}

/// The answer to GetRolePolicy about a document that the emulator has not got yet.
pub(crate) fn role_policy(written: &Call, number: u64) -> Answer {
    let id = request_id(number);
    let (role, policy) = (
        written.parameter("RoleName"),
        written.parameter("PolicyName"),
    );
    let document: String =
        url::form_urlencoded::byte_serialize(written.parameter("PolicyDocument").as_bytes())
            .collect();
    // A form has + where a URL's path has %20, and IAM answers with the latter.
    let document = document.replace('+', "%20");
    let body = format!(
        "<GetRolePolicyResponse xmlns=\"{IAM}\"><GetRolePolicyResult><RoleName>{role}</RoleName>\
         <PolicyName>{policy}</PolicyName><PolicyDocument>{document}</PolicyDocument>\
         </GetRolePolicyResult><ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata>\
         </GetRolePolicyResponse>"
    );
    xml(200, body)
}

fn xml(status: u16, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let kind = HeaderValue::from_static("text/xml");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn message(code: &str) -> &'static str {
    match code {
        "Throttling" => "Rate exceeded",
        "SlowDown" => "Please reduce your request rate.",
        _ => "Injected by the fault proxy.",
    }
}

/// Of the form of AWS's own, and told apart from them at a glance.
fn request_id(number: u64) -> String {
    format!("00000000-fa17-0000-0000-{number:012}")
}
