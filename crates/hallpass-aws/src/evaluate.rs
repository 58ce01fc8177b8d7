//! A small evaluator of the policy language: what the documents that we generate allow, and when.
//!
//! It is for tests and checks, not for deciding access. What it does not know it takes for the
//! worse case: an unknown condition never allows and always denies.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hallpass_types::AddressRange;
use jiff::Timestamp;

use crate::policy::{Effect, OneOrMany, PolicyDocument, Scalar, Statement};

/// One call, as a policy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// For instance `s3:GetObject`.
    pub action: String,
    /// The ARN that is acted on.
    pub resource: String,
    /// The instant, `aws:CurrentTime`.
    pub at: Timestamp,
    keys: BTreeMap<String, String>,
}

impl Call {
    /// A call without further condition keys.
    pub fn new(action: &str, resource: &str, at: Timestamp) -> Self {
        Self {
            action: action.to_owned(),
            resource: resource.to_owned(),
            at,
            keys: BTreeMap::new(),
        }
    }

    /// The same call with a condition key; key names are the same in any case.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.keys.insert(key.to_ascii_lowercase(), value.to_owned());
        self
    }

    fn key(&self, name: &str) -> Option<String> {
        let name = name.to_ascii_lowercase();
        if name == "aws:currenttime" {
            return Some(self.at.to_string());
        }
        self.keys.get(&name).cloned()
    }
}

/// What a set of policies says to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Something allows it and nothing denies it.
    Allowed,
    /// Nothing allows it.
    NotAllowed,
    /// Something denies it.
    DeniedExplicitly,
}

/// What `documents` together say to `call`: a deny wins, then an allow.
pub fn evaluate(documents: &[&PolicyDocument], call: &Call) -> Answer {
    let statements = || documents.iter().flat_map(|d| d.statements.as_slice());
    let says = |effect| statements().any(|s| s.effect == effect && applies(s, call));
    if says(Effect::Deny) {
        Answer::DeniedExplicitly
    } else if says(Effect::Allow) {
        Answer::Allowed
    } else {
        Answer::NotAllowed
    }
}

/// What `documents` say within `limits` (a session policy, a boundary): both must allow.
pub fn evaluate_within(
    documents: &[&PolicyDocument],
    limits: &[&PolicyDocument],
    call: &Call,
) -> Answer {
    match (evaluate(documents, call), evaluate(limits, call)) {
        (Answer::DeniedExplicitly, _) | (_, Answer::DeniedExplicitly) => Answer::DeniedExplicitly,
        (Answer::Allowed, Answer::Allowed) => Answer::Allowed,
        _ => Answer::NotAllowed,
    }
}

fn applies(statement: &Statement, call: &Call) -> bool {
    let action = call.action.to_ascii_lowercase();
    let matches_action = |patterns: &OneOrMany<String>| {
        let mut patterns = patterns.as_slice().iter();
        patterns.any(|p| wildcard(&p.to_ascii_lowercase(), &action))
    };
    let matches_resource = |patterns: &OneOrMany<String>| {
        let mut patterns = patterns.as_slice().iter();
        patterns.any(|p| wildcard(p, &call.resource))
    };
    let action_ok = match (&statement.action, &statement.not_action) {
        (Some(patterns), None) => matches_action(patterns),
        (None, Some(patterns)) => !matches_action(patterns),
        _ => statement.effect == Effect::Deny,
    };
    // A trust policy has no resource: it stands on the role itself.
    let resource_ok = match (&statement.resource, &statement.not_resource) {
        (Some(patterns), None) => matches_resource(patterns),
        (None, Some(patterns)) => !matches_resource(patterns),
        (None, None) => statement.principal.is_some() || statement.effect == Effect::Deny,
        _ => statement.effect == Effect::Deny,
    };
    action_ok
        && resource_ok
        && statement.condition.iter().all(|(operator, keys)| {
            keys.iter().all(|(key, values)| {
                condition(operator, call.key(key).as_deref(), values)
                    .unwrap_or(statement.effect == Effect::Deny)
            })
        })
}

/// Whether a condition holds; `None` when the operator or a value is not one that we know.
fn condition(operator: &str, actual: Option<&str>, values: &OneOrMany<Scalar>) -> Option<bool> {
    if let Some(operator) = operator.strip_suffix("IfExists") {
        return match actual {
            None => Some(true),
            some => condition(operator, some, values),
        };
    }
    let expected: Vec<String> = values.as_slice().iter().map(Scalar::to_text).collect();
    let any = |test: &dyn Fn(&str, &str) -> bool| {
        actual.is_some_and(|actual| expected.iter().any(|e| test(actual, e)))
    };
    let dates = |test: fn(&Timestamp, &Timestamp) -> bool| -> Option<bool> {
        let Some(actual) = actual else {
            return Some(false);
        };
        let actual: Timestamp = actual.parse().ok()?;
        let mut holds = false;
        for text in &expected {
            holds |= test(&actual, &text.parse().ok()?);
        }
        Some(holds)
    };
    let addresses = || -> Option<bool> {
        let Some(actual) = actual else {
            return Some(false);
        };
        let actual: IpAddr = actual.parse().ok()?;
        let mut holds = false;
        for text in &expected {
            holds |= AddressRange::parse(text).ok()?.contains(actual);
        }
        Some(holds)
    };
    match operator {
        "IpAddress" => addresses(),
        "NotIpAddress" => addresses().map(|holds| !holds),
        "StringEquals" => Some(any(&|a, e| a == e)),
        // Negated operators also hold when the key is absent.
        "StringNotEquals" => Some(!any(&|a, e| a == e)),
        "StringLike" | "ArnLike" | "ArnEquals" => Some(any(&|a, e| wildcard(e, a))),
        "StringNotLike" => Some(!any(&|a, e| wildcard(e, a))),
        "Bool" => Some(any(&|a, e| a.eq_ignore_ascii_case(e))),
        "DateLessThan" => dates(Timestamp::lt),
        "DateLessThanEquals" => dates(Timestamp::le),
        "DateGreaterThan" => dates(Timestamp::gt),
        "DateGreaterThanEquals" => dates(Timestamp::ge),
        _ => None,
    }
}

/// `*` stands for any text, `?` for one character.
fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || text.get(t) == Some(c) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn wildcards() {
        for (pattern, text, want) in [
            ("*", "", true),
            ("s3:Get*", "s3:GetObject", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "a", false),
        ] {
            assert_eq!(wildcard(pattern, text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_unknown_never_allows_and_always_denies() {
        let call = Call::new(
            "s3:GetObject",
            "arn:aws:s3:::a/x",
            at("2026-11-22T10:00:00Z"),
        );
        let odd = |s: Statement| PolicyDocument::new(vec![s.when("BinaryEquals", "aws:x", "QQ==")]);
        let (allow, deny) = (
            odd(Statement::allow_everything()),
            odd(Statement::deny_everything()),
        );
        assert_eq!(evaluate(&[&allow], &call), Answer::NotAllowed);
        assert_eq!(evaluate(&[&deny], &call), Answer::DeniedExplicitly);
        let date = Statement::deny_everything().when("DateLessThan", "aws:CurrentTime", "soon");
        assert_eq!(
            evaluate(&[&PolicyDocument::new(vec![date])], &call),
            Answer::DeniedExplicitly
        );
    }

    #[test]
    fn older_sessions_by_token_issue_time() {
        let revoke = PolicyDocument::new(vec![
            Statement::allow_everything(),
            Statement::deny_everything().when(
                "DateLessThan",
                "aws:TokenIssueTime",
                "2026-11-22T10:00:00Z",
            ),
        ]);
        let call = Call::new(
            "s3:GetObject",
            "arn:aws:s3:::a/x",
            at("2026-11-22T11:00:00Z"),
        );
        let old = call
            .clone()
            .with("aws:TokenIssueTime", "2026-11-22T09:59:59Z");
        let new = call
            .clone()
            .with("aws:tokenissuetime", "2026-11-22T10:00:00Z");
        assert_eq!(evaluate(&[&revoke], &old), Answer::DeniedExplicitly);
        assert_eq!(evaluate(&[&revoke], &new), Answer::Allowed);
        assert_eq!(
            evaluate(&[&revoke], &call),
            Answer::Allowed,
            "no token: a long-term key"
        );
    }

    proptest! {
        #[test]
        fn wildcards_never_panic(pattern in "[ab*?é]{0,12}", text in "[abé]{0,12}") {
            let whole = wildcard(&pattern, &text);
            let longer = wildcard(&format!("{pattern}*"), &text);
            prop_assert!(longer || !whole);
        }
    }
}
