//! Where people look at a request in a browser.

use hallpass_types::AccessRequestId;
use serde::Deserialize;

const HOLE: &str = "{id}";

/// An address with a hole for the request's id.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct LinkTemplate(String);

impl TryFrom<String> for LinkTemplate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let expected = || {
            format!(
                "{text:?} is not an address as https://HOST/{HOLE}: https, and {HOLE} once, after the host"
            )
        };
        let url = url::Url::parse(&text.replace(HOLE, "ar-0")).map_err(|_| expected())?;
        let local = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        let host = url.host_str().unwrap_or_default();
        let fits = (url.scheme() == "https" || (url.scheme() == "http" && local))
            && !host.is_empty()
            && !host.contains("ar-0")
            && url.username().is_empty()
            && url.password().is_none()
            && text.matches(HOLE).count() == 1
            && !text.chars().any(|c| c.is_control() || c.is_whitespace())
            && text.len() <= 1024;
        if fits {
            Ok(Self(text))
        } else {
            Err(expected())
        }
    }
}

impl LinkTemplate {
    /// The address of one request.
    pub(crate) fn of(&self, id: &AccessRequestId) -> String {
        self.0.replace(HOLE, id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_browsers_address_with_one_hole_behind_the_host_is_a_template() {
        for good in [
            "https://temporal.example.com/namespaces/hallpass/workflows/access-request/{id}",
            "https://hallpass.example.com/?request={id}",
            "http://127.0.0.1:8233/r/{id}",
        ] {
            assert!(LinkTemplate::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "{id}",
            "https://example.com/",
            "https://example.com/{id}/{id}",
            "https://{id}.example.com/",
            "http://example.com/{id}",
            "javascript:alert('{id}')",
            "https://user:pass@example.com/{id}",
            "https://example.com/ {id}",
            "https://example.com/\n{id}",
        ] {
            assert!(LinkTemplate::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
