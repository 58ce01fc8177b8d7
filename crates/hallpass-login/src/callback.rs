//! What the browser brings back (RFC 6749, section 4.1.2; RFC 9207), judged without any I/O.

use url::Url;

/// The path of the redirect URI.
pub(crate) const PATH: &str = "/callback";

/// What must come back.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) state: String,
    pub(crate) issuer: String,
    /// Whether the provider said that it names itself in its answers.
    pub(crate) issuer_is_named: bool,
}

/// A request to the loopback port.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Callback {
    /// Not the answer to our question: another page, or another login. It changes nothing.
    NotOurs,
    /// The provider refused.
    Refused {
        code: String,
        description: Option<String>,
    },
    /// The authorization code.
    Code(String),
}

/// Judges the first line of an HTTP request.
pub(crate) fn judge(request_line: &str, expected: &Expected) -> Callback {
    let mut words = request_line.split(' ');
    let (Some("GET"), Some(target)) = (words.next(), words.next()) else {
        return Callback::NotOurs;
    };
    let url = match target.strip_prefix('/') {
        Some(_) => Url::parse(&format!("http://127.0.0.1{target}")),
        None => return Callback::NotOurs,
    };
    let Some(url) = url.ok().filter(|url| url.path() == PATH) else {
        return Callback::NotOurs;
    };
    // A parameter that occurs twice is as good as none (RFC 6749, section 3.1).
    let one = |name: &str| {
        let mut values = url.query_pairs().filter(|(n, _)| n == name).map(|(_, v)| v);
        match (values.next(), values.next()) {
            (Some(value), None) => Some(value.into_owned()),
            _ => None,
        }
    };
    if one("state").as_ref() != Some(&expected.state) {
        return Callback::NotOurs;
    }
    let issuer_fits = match one("iss") {
        Some(issuer) => issuer == expected.issuer,
        None => !expected.issuer_is_named && !url.query_pairs().any(|(n, _)| n == "iss"),
    };
    if !issuer_fits {
        return Callback::NotOurs;
    }
    match (one("error"), one("code")) {
        (Some(code), _) => Callback::Refused {
            code,
            description: one("error_description"),
        },
        (None, Some(code)) => Callback::Code(code),
        (None, None) => Callback::NotOurs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expected(issuer_is_named: bool) -> Expected {
        Expected {
            state: "s".to_owned(),
            issuer: "https://idp".to_owned(),
            issuer_is_named,
        }
    }

    #[test]
    fn only_the_answer_to_our_question_counts() {
        let code = Callback::Code("c".to_owned());
        let refused = Callback::Refused {
            code: "access_denied".to_owned(),
            description: Some("no way".to_owned()),
        };
        let with_iss = "iss=https%3A%2F%2Fidp";
        let not_ours = Callback::NotOurs;
        for (request, named, answer) in [
            (
                &*format!("GET /callback?code=c&state=s&{with_iss}"),
                true,
                &code,
            ),
            (
                &*format!("GET /callback?code=c&state=s&{with_iss}"),
                false,
                &code,
            ),
            ("GET /callback?code=c&state=s", false, &code),
            ("GET /callback?code=c&state=s", true, &not_ours),
            ("GET /callback?code=c&state=t", false, &not_ours),
            ("GET /callback?code=c", false, &not_ours),
            ("GET /callback?code=c&state=s&state=s", false, &not_ours),
            ("GET /callback?code=c&code=d&state=s", false, &not_ours),
            (
                "GET /callback?code=c&state=s&iss=https://evil",
                false,
                &not_ours,
            ),
            ("POST /callback?code=c&state=s", false, &not_ours),
            ("GET /favicon.ico?code=c&state=s", false, &not_ours),
            ("GET http://x/callback?code=c&state=s", false, &not_ours),
            (
                "GET /callback?error=access_denied&error_description=no+way&state=s",
                false,
                &refused,
            ),
        ] {
            let line = format!("{request} HTTP/1.1");
            assert_eq!(judge(&line, &expected(named)), *answer, "{line} {named}");
        }
    }

    proptest! {
        #[test]
        fn without_the_state_nothing_counts(line in "GET /callback[ -~]{0,60}") {
            let judged = judge(&line, &Expected { state: "\u{1}".to_owned(), ..expected(false) });
            prop_assert_eq!(judged, Callback::NotOurs);
        }

        #[test]
        fn any_code_comes_through(code in "[ -~]{1,40}") {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("state", "s")
                .append_pair("code", &code)
                .finish();
            let line = format!("GET /callback?{query} HTTP/1.1");
            prop_assert_eq!(judge(&line, &expected(false)), Callback::Code(code));
        }
    }
}
