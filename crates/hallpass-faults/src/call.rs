//! What a request on the wire asks of AWS.

use std::collections::BTreeMap;

use url::form_urlencoded;

/// One call, as far as it can be read without knowing the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The signing name of the service, for instance `iam`; empty when the call is not signed.
    pub service: String,
    /// The action of the Query protocol, for instance `CreateRole`, or else the HTTP method.
    pub action: String,
    /// The parameters of the Query protocol, or else the path as `path`.
    pub parameters: BTreeMap<String, String>,
    /// The access key that signed it; empty when the call is not signed.
    pub access_key_id: String,
    /// The name of the session that signed it, when the proxy has seen that session begin.
    pub session: Option<String>,
}

impl Call {
    pub(crate) fn read(
        method: &str,
        path_and_query: &str,
        authorization: Option<&str>,
        body: &[u8],
    ) -> Self {
        let (access_key_id, service) = authorization.and_then(credential).unwrap_or_default();
        let (path, query) = path_and_query
            .split_once('?')
            .unwrap_or((path_and_query, ""));
        let form = |text: &[u8]| -> BTreeMap<String, String> {
            form_urlencoded::parse(text).into_owned().collect()
        };
        let by_action = [body, query.as_bytes()]
            .into_iter()
            .map(form)
            .find_map(|mut form| Some((form.remove("Action")?, form)));
        let (action, parameters) = by_action.unwrap_or_else(|| {
            let path = BTreeMap::from([("path".to_owned(), path.to_owned())]);
            (method.to_owned(), path)
        });
        Self {
            service,
            action,
            parameters,
            access_key_id,
            session: None,
        }
    }

    /// Service and action, for instance `iam:CreateRole`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:{}", self.service, self.action)
    }

    /// A parameter, or nothing.
    #[must_use]
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// Whether a parameter, or the name of the session that signed it, contains `text`.
    #[must_use]
    pub fn is_about(&self, text: &str) -> bool {
        let mut texts = self.parameters.values().chain(&self.session);
        texts.any(|t| t.contains(text))
    }

    pub(crate) fn is_query(&self) -> bool {
        matches!(self.service.as_str(), "iam" | "sts")
    }

    /// Whether it changes something in IAM.
    #[must_use]
    pub fn is_iam_write(&self) -> bool {
        let reads = ["Get", "List", "Simulate"];
        self.service == "iam" && !reads.iter().any(|r| self.action.starts_with(r))
    }
}

/// Access key and service of `AWS4-HMAC-SHA256 Credential=key/day/region/service/aws4_request, …`.
fn credential(authorization: &str) -> Option<(String, String)> {
    let scope = authorization.split_once("Credential=")?.1;
    let mut parts = scope.split([',', ' ']).next()?.split('/');
    let key = parts.next()?;
    Some((key.to_owned(), parts.nth(2)?.to_owned()))
}

/// The access key of a session that has just begun, in the XML of an answer.
pub(crate) fn begun_session(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let key = text
        .split_once("<AccessKeyId>")?
        .1
        .split_once("</AccessKeyId>")?
        .0;
    Some(key.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=AKIA1/20261122/us-east-1/iam/aws4_request, \
                          SignedHeaders=host;x-amz-date, Signature=00";

    #[test]
    fn the_query_protocol_is_read_from_body_or_query() {
        let body = b"Action=PutRolePolicy&RoleName=hallpass-x&PolicyDocument=%7B%7D";
        let post = Call::read("POST", "/", Some(SIGNED), body);
        assert_eq!(post.name(), "iam:PutRolePolicy");
        assert_eq!(post.parameter("PolicyDocument"), "{}");
        assert_eq!(post.access_key_id, "AKIA1");
        assert!(post.is_iam_write() && post.is_about("pass-x") && !post.is_about("PutRole"));
        let get = Call::read("GET", "/?Action=GetRole&RoleName=r", Some(SIGNED), b"");
        assert_eq!(
            (get.name().as_str(), get.is_iam_write()),
            ("iam:GetRole", false)
        );
    }

    #[test]
    fn other_protocols_have_method_and_path() {
        let signed = SIGNED.replace("iam", "s3");
        let call = Call::read("GET", "/bucket?list-type=2", Some(&signed), b"");
        assert_eq!(
            (call.name().as_str(), call.parameter("path")),
            ("s3:GET", "/bucket")
        );
        let call = Call::read("PUT", "/x", None, b"");
        assert_eq!((call.service.as_str(), call.action.as_str()), ("", "PUT"));
    }

    #[test]
    fn a_session_is_known_by_its_key() {
        let xml = b"<Credentials><AccessKeyId>ASIA7</AccessKeyId></Credentials>";
        assert_eq!(begun_session(xml).as_deref(), Some("ASIA7"));
        assert_eq!(begun_session(b"<Error/>"), None);
    }

    proptest! {
        #[test]
        fn nothing_on_the_wire_makes_it_panic(
            path in ".{0,60}", auth in prop::option::of(".{0,80}"),
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let call = Call::read("POST", &path, auth.as_deref(), &body);
            prop_assert!(!call.action.is_empty() || body.starts_with(b"Action=") || path.contains("Action="));
        }
    }
}
