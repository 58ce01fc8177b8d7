//! What AWS would refuse later is refused here first, before anybody is asked to approve it.
//!
//! Figures: IAM and STS quotas and API references. Emulators enforce few of them, AWS all.

use std::fmt;

use hallpass_types::{
    AccessMode, AccessRequestId, EndInstant, Entitlement, PrincipalId, RequestId, SessionDuration,
};
use jiff::Timestamp;

use crate::documents;
use crate::names::{is_name_char, is_tag_char};
use crate::policy::PolicyDocument;

/// Longest inline session policy, in characters.
pub const SESSION_POLICY_CHARS: usize = 2_048;
/// All inline policies of one role together, in characters without white space.
pub const INLINE_POLICY_CHARS: usize = 10_240;
/// Longest trust policy under the default quota, in characters.
pub const TRUST_POLICY_CHARS: usize = 2_048;
/// Longest role name, in characters.
pub const ROLE_NAME_CHARS: usize = 64;
/// Longest inline policy name, in characters.
pub const POLICY_NAME_CHARS: usize = 128;
/// Longest session name or source identity, in characters; the shortest is 2.
pub const SESSION_NAME_CHARS: usize = 64;
/// Longest external id, in characters; the shortest is 2.
pub const EXTERNAL_ID_CHARS: usize = 1_224;
/// Most tags on a role or a session.
pub const TAGS: usize = 50;
/// Longest tag key, in characters.
pub const TAG_KEY_CHARS: usize = 128;
/// Longest tag value, in characters.
pub const TAG_VALUE_CHARS: usize = 256;
/// Shortest session, in seconds.
pub const SESSION_SECONDS_MIN: u32 = 900;
/// Longest session that any role can give, in seconds.
pub const SESSION_SECONDS_MAX: u32 = 43_200;
/// Longest session under role chaining, in seconds, whatever the role allows.
pub const CHAINED_SESSION_SECONDS_MAX: u32 = 3_600;
/// `MaxSessionDuration` of a role that we create, in seconds, unless its entitlement has longer
/// sessions: IAM's smallest.
pub const CREATED_ROLE_SESSION_SECONDS: u32 = 3_600;

/// Room for the longest ARN of a role that assumes a created one.
const PRINCIPAL_CHARS: usize = 640;

/// Something that AWS would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitViolation {
    /// The field of the entitlement, for instance `tags`.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for LimitViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

/// Length of a session that starts at `now` and must not outlast `end` by more than AWS forces.
///
/// AWS gives no session under 900 s: then the fence ends access, not the session's own expiry.
pub fn session_seconds(end: EndInstant, now: Timestamp, longest: u32) -> u32 {
    u32::try_from(end.remaining(now).as_secs())
        .unwrap_or(longest)
        .min(longest)
        .clamp(SESSION_SECONDS_MIN, SESSION_SECONDS_MAX)
}

/// The longest single session of an entitlement, in seconds: what it says, but under role chaining no
/// more than that gives. Where it says nothing the ceiling is that of role chaining, because the
/// service itself mostly runs on role credentials.
pub fn longest_session(entitlement: &Entitlement, chained: bool) -> u32 {
    let said = entitlement.max_session.map(SessionDuration::as_seconds);
    let longest = said.unwrap_or(CHAINED_SESSION_SECONDS_MAX);
    match chained {
        true => longest.min(CHAINED_SESSION_SECONDS_MAX),
        false => longest,
    }
}

/// `MaxSessionDuration` of a role that is created for an entitlement, in seconds.
pub(crate) fn created_role_seconds(entitlement: &Entitlement) -> u32 {
    longest_session(entitlement, false).max(CREATED_ROLE_SESSION_SECONDS)
}

/// Checks that every grant of `entitlement` fits into what AWS takes, with the longest names.
///
/// # Errors
/// Everything that does not fit.
pub fn check_entitlement(entitlement: &Entitlement) -> Result<(), Vec<LimitViolation>> {
    let mut found = Vec::new();
    check_tags(entitlement, &mut found);
    check_external_id(entitlement, &mut found);
    check_probe(entitlement, &mut found);
    check_documents(entitlement, &mut found);
    check_accounts(entitlement, &mut found);
    if found.is_empty() { Ok(()) } else { Err(found) }
}

struct Report<'a>(&'a mut Vec<LimitViolation>);

impl Report<'_> {
    fn must(&mut self, holds: bool, field: &'static str, problem: impl FnOnce() -> String) {
        if !holds {
            let problem = problem();
            self.0.push(LimitViolation { field, problem });
        }
    }

    fn at_most(&mut self, field: &'static str, what: &str, given: usize, limit: usize) {
        self.must(given <= limit, field, || {
            format!("{what} needs {given} characters, AWS takes {limit}")
        });
    }
}

fn check_tags(entitlement: &Entitlement, found: &mut Vec<LimitViolation>) {
    let mut report = Report(found);
    let tags = &entitlement.tags;
    let ours = 3;
    report.must(tags.len() + ours <= TAGS, "tags", || {
        format!("{} tags and {ours} of ours, AWS takes {TAGS}", tags.len())
    });
    let mut seen = std::collections::BTreeSet::new();
    for (key, value) in tags {
        let lower = key.to_lowercase();
        report.must(
            !key.is_empty() && key.chars().count() <= TAG_KEY_CHARS,
            "tags",
            || format!("key `{key}` must have 1 to {TAG_KEY_CHARS} characters"),
        );
        report.must(value.chars().count() <= TAG_VALUE_CHARS, "tags", || {
            format!("value of `{key}` must have at most {TAG_VALUE_CHARS} characters")
        });
        report.must(
            key.chars().chain(value.chars()).all(is_tag_char),
            "tags",
            || format!("`{key}` or its value has a character that AWS does not take"),
        );
        report.must(!lower.starts_with("aws:"), "tags", || {
            format!("`{key}`: the prefix aws: is reserved by AWS")
        });
        report.must(!lower.starts_with("hallpass:"), "tags", || {
            format!("`{key}`: the prefix hallpass: is ours")
        });
        report.must(seen.insert(lower), "tags", || {
            format!("`{key}` is there twice: AWS ignores the case of keys")
        });
    }
}

fn check_external_id(entitlement: &Entitlement, found: &mut Vec<LimitViolation>) {
    for id in [&entitlement.external_id, &entitlement.previous_external_id]
        .into_iter()
        .flatten()
    {
        check_one_external_id(id, entitlement, found);
    }
}

fn check_one_external_id(id: &str, entitlement: &Entitlement, found: &mut Vec<LimitViolation>) {
    let ok = (2..=EXTERNAL_ID_CHARS).contains(&id.len())
        && id.chars().all(|c| is_name_char(c) || ":/".contains(c));
    Report(found).must(ok, "external_id", || {
        format!("must be 2 to {EXTERNAL_ID_CHARS} of letters, digits and _+=,.@:/-")
    });
    let created = matches!(entitlement.access, AccessMode::Create { .. });
    Report(found).must(!created, "external_id", || {
        "a created role takes the access request's id as its external id".to_owned()
    });
}

fn check_probe(entitlement: &Entitlement, found: &mut Vec<LimitViolation>) {
    let mut report = Report(found);
    let host_part = |s: &str| {
        !s.is_empty()
            && s.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    report.must(
        host_part(&entitlement.probe.service),
        "probe.service",
        || "must be a signing name such as s3".to_owned(),
    );
    report.must(host_part(&entitlement.region), "region", || {
        "must be a region such as eu-west-1".to_owned()
    });
    let path = &entitlement.probe.path;
    // `//host` would be read as an authority.
    let ok = path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|b| b.is_ascii_graphic());
    report.must(ok && !path.contains('#'), "probe.path", || {
        "must be a path and query that starts with one /".to_owned()
    });
}

fn check_documents(entitlement: &Entitlement, found: &mut Vec<LimitViolation>) {
    let mut report = Report(found);
    let end = EndInstant::from(Timestamp::UNIX_EPOCH);
    let Some((request, _)) = longest_request() else {
        return;
    };
    match documents::session_policy(entitlement, end) {
        Ok(policy) => {
            let json = policy.to_json();
            report.must(identity_policy(&policy), "session_policy", || {
                NO_PRINCIPAL.to_owned()
            });
            report.must(policy_text(&json), "session_policy", || BAD_TEXT.to_owned());
            let length = json.chars().count();
            let what = match entitlement.conditions.is_empty() {
                true => "with the fence it",
                false => "with fence and conditions it",
            };
            report.at_most("session_policy", what, length, SESSION_POLICY_CHARS);
        }
        Err(error) => report.must(false, "session_policy", || error.reason),
    }
    let AccessMode::Create { permissions, .. } = &entitlement.access else {
        return;
    };
    match documents::permissions(permissions, end, &entitlement.conditions) {
        Ok(policy) => {
            let json = policy.to_json();
            report.must(identity_policy(&policy), "permissions", || {
                NO_PRINCIPAL.to_owned()
            });
            report.must(policy_text(&json), "permissions", || BAD_TEXT.to_owned());
            let both = without_space(&json) + without_space(&documents::deny_all().to_json());
            report.at_most(
                "permissions",
                "with fence and deny it",
                both,
                INLINE_POLICY_CHARS,
            );
        }
        Err(error) => report.must(false, "permissions", || error.reason),
    }
    let trust = documents::trust(
        &"x".repeat(PRINCIPAL_CHARS),
        &request,
        end,
        &entitlement.conditions,
    );
    let length = trust.to_json().chars().count();
    report.at_most(
        "permissions",
        "the trust policy",
        length,
        TRUST_POLICY_CHARS,
    );
}

fn check_accounts(entitlement: &Entitlement, found: &mut Vec<LimitViolation>) {
    let mut report = Report(found);
    let account = entitlement.account.as_str();
    let other = || format!("is not in account {account}");
    match &entitlement.access {
        AccessMode::Assume { role_arn, .. } => {
            report.must(role_arn.account() == account, "role_arn", other);
        }
        AccessMode::Create {
            permissions_boundary,
            ..
        } => {
            let owner = permissions_boundary.as_str().split(':').nth(4);
            let ok = owner == Some(account) || owner == Some("aws");
            report.must(ok, "permissions_boundary", other);
        }
    }
}

/// A request (all ids are equally long) and a requester whose session name is as long as they get.
pub(crate) fn longest_request() -> Option<(AccessRequestId, PrincipalId)> {
    let requester = PrincipalId::new("i", &"s".repeat(SESSION_NAME_CHARS)).ok()?;
    let key = RequestId::parse("ffffffff-ffff-ffff-ffff-ffffffffffff").ok()?;
    Some((AccessRequestId::derive(&requester, &key), requester))
}

const BAD_TEXT: &str = "has a character that AWS does not take in a policy";
const NO_PRINCIPAL: &str = "names a principal, or a statement has no action or no resource";

/// Whether every statement is one that an identity policy can have.
fn identity_policy(policy: &PolicyDocument) -> bool {
    policy.statements.as_slice().iter().all(|s| {
        s.principal.is_none()
            && s.action.is_some() != s.not_action.is_some()
            && s.resource.is_some() != s.not_resource.is_some()
    })
}

/// Tab, line feed, carriage return and U+0020 to U+00FF.
fn policy_text(json: &str) -> bool {
    json.chars()
        .all(|c| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{ff}'))
}

pub(crate) fn without_space(json: &str) -> usize {
    json.chars().filter(|c| !c.is_whitespace()).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixtures, names};
    use proptest::prelude::*;

    fn fields(entitlement: &Entitlement) -> Vec<&'static str> {
        match check_entitlement(entitlement) {
            Ok(()) => vec![],
            Err(found) => found.iter().map(|v| v.field).collect(),
        }
    }

    /// An entitlement in create mode whose permissions fill `INLINE_POLICY_CHARS` but for `room`.
    fn filled(room: isize) -> Entitlement {
        let mut entitlement = fixtures::create();
        let build = |n: usize| {
            PolicyDocument::new(vec![crate::policy::Statement::allow(
                &["s3:GetObject"],
                &[&format!("arn:aws:s3:::{}", "b".repeat(n))],
            )])
            .to_json()
        };
        let size = |json: &str| {
            let end = EndInstant::from(Timestamp::UNIX_EPOCH);
            without_space(
                &documents::permissions(json, end, &Default::default())
                    .unwrap()
                    .to_json(),
            ) + without_space(&documents::deny_all().to_json())
        };
        let n = INLINE_POLICY_CHARS - size(&build(0));
        let n = usize::try_from(isize::try_from(n).unwrap() - room).unwrap();
        if let AccessMode::Create { permissions, .. } = &mut entitlement.access {
            *permissions = build(n);
        }
        entitlement
    }

    #[test]
    fn the_inline_limit_holds_to_the_character() {
        assert_eq!(fields(&filled(0)), Vec::<&str>::new());
        assert_eq!(fields(&filled(1)), Vec::<&str>::new());
        assert_eq!(fields(&filled(-1)), ["permissions"]);
    }

    #[test]
    fn the_session_policy_limit_holds_to_the_character() {
        let build = |n: usize| {
            let resource = format!("arn:aws:s3:::{}", "b".repeat(n));
            let json = PolicyDocument::new(vec![crate::policy::Statement::allow(
                &["s3:GetObject"],
                &[&resource],
            )])
            .to_json();
            let mut entitlement = fixtures::assume();
            if let AccessMode::Assume { session_policy, .. } = &mut entitlement.access {
                *session_policy = Some(json);
            }
            entitlement
        };
        let base = documents::session_policy(&build(0), fixtures::end())
            .unwrap()
            .to_json()
            .len();
        assert_eq!(
            fields(&build(SESSION_POLICY_CHARS - base)),
            Vec::<&str>::new()
        );
        assert_eq!(
            fields(&build(SESSION_POLICY_CHARS - base + 1)),
            ["session_policy"]
        );
    }

    #[test]
    fn what_aws_would_refuse_is_named() {
        type Spoil = fn(&mut Entitlement);
        let cases: [(Spoil, &str); 14] = [
            (
                |e| {
                    e.tags
                        .extend((0..48).map(|i| (format!("k{i}"), String::new())))
                },
                "tags",
            ),
            (|e| drop(e.tags.insert("k".repeat(129), "v".into())), "tags"),
            (|e| drop(e.tags.insert("k".into(), "v".repeat(257))), "tags"),
            (|e| drop(e.tags.insert("k".into(), "a#b".into())), "tags"),
            (|e| drop(e.tags.insert("AWS:x".into(), "v".into())), "tags"),
            (
                |e| drop(e.tags.insert("Hallpass:request".into(), "v".into())),
                "tags",
            ),
            (
                |e| {
                    e.tags
                        .extend([("a".into(), "1".into()), ("A".into(), "2".into())])
                },
                "tags",
            ),
            (|e| e.external_id = Some("x".into()), "external_id"),
            (|e| e.external_id = Some("x y".into()), "external_id"),
            (|e| e.external_id = Some("x".repeat(1225)), "external_id"),
            (|e| e.probe.path = "reports".into(), "probe.path"),
            (|e| e.probe.path = "//evil.example/".into(), "probe.path"),
            (
                |e| e.probe.service = "s3.evil.example/".into(),
                "probe.service",
            ),
            (
                |e| e.account = hallpass_types::AwsAccountId::parse("000000000001").unwrap(),
                "role_arn",
            ),
        ];
        assert_eq!(check_entitlement(&fixtures::assume()), Ok(()));
        assert_eq!(check_entitlement(&fixtures::create()), Ok(()));
        for (spoil, field) in cases {
            let mut entitlement = fixtures::assume();
            spoil(&mut entitlement);
            assert_eq!(fields(&entitlement), [field], "{entitlement:?}");
        }
    }

    #[test]
    fn documents_that_are_no_identity_policy_are_named() {
        for bad in [
            "nonsense",
            r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"*","Resource":"*"}}"#,
            r#"{"Statement":{"Effect":"Allow","Action":"*"}}"#,
            r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::Ā"}}"#,
        ] {
            let mut entitlement = fixtures::create();
            if let AccessMode::Create { permissions, .. } = &mut entitlement.access {
                *permissions = bad.to_owned();
            }
            assert_eq!(fields(&entitlement), ["permissions"], "{bad}");
        }
    }

    proptest! {
        #[test]
        fn sessions_are_as_long_as_aws_takes(
            seconds in -100i64..50_000, most in prop::option::of(900i64..43_200), chained: bool,
        ) {
            let end = fixtures::end();
            let now = end.timestamp() - jiff::SignedDuration::from_secs(seconds);
            let mut entitlement = fixtures::assume();
            entitlement.max_session = most.map(|s| SessionDuration::from_seconds(s).unwrap());
            let longest = longest_session(&entitlement, chained);
            let length = session_seconds(end, now, longest);
            prop_assert!((SESSION_SECONDS_MIN..=SESSION_SECONDS_MAX).contains(&length));
            prop_assert!(i64::from(length) <= most.unwrap_or(3_600));
            prop_assert!(!chained || length <= CHAINED_SESSION_SECONDS_MAX);
            prop_assert!(created_role_seconds(&entitlement) >= length.max(3_600));
            prop_assert!(i64::from(length) <= seconds.max(900));
        }

        #[test]
        fn whatever_passes_fits(tags in prop::collection::btree_map("[ -~]{0,10}", "[ -~]{0,10}", 0..6)) {
            let mut entitlement = fixtures::create();
            entitlement.tags = tags;
            if check_entitlement(&entitlement).is_ok() {
                let tags = names::role_tags(&fixtures::request(), &fixtures::requester(), &entitlement, fixtures::end());
                prop_assert_eq!(tags.len(), entitlement.tags.len() + 3);
            }
        }
    }
}
