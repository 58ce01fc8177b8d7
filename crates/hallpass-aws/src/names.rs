//! Names and tags of what a grant makes in AWS: pure functions of the request, never used twice.

use std::collections::BTreeMap;

use hallpass_types::{AccessRequestId, EndInstant, Entitlement, PrincipalId};

/// IAM path of every role that we create.
pub const ROLE_PATH: &str = "/hallpass/";
/// Inline policy of a created role that holds what was approved, with the fence.
pub const GRANT_POLICY: &str = "hallpass-grant";
/// Inline policy of a created role that denies everything while the role is being deleted.
pub const DENY_ALL_POLICY: &str = "hallpass-deny-all";
/// Inline policy of a shared role that holds every cut on it.
pub const CUTS_POLICY: &str = "hallpass-cuts";
/// Role and session tag: the access request's id.
pub const TAG_REQUEST: &str = "hallpass:request";
/// Role tag: the end that was fixed when the role was made.
pub const TAG_END: &str = "hallpass:end";
/// Role and session tag: who asked.
pub const TAG_REQUESTER: &str = "hallpass:requester";

/// Prefix of every role and policy name.
pub(crate) const PREFIX: &str = "hallpass-";
const SESSION_NAME_MAX: usize = 64;
const TAG_VALUE_MAX: usize = 256;

/// Name of the role that is created for this request alone.
pub fn role_name(request: &AccessRequestId) -> String {
    format!("{PREFIX}{request}")
}

/// The grant that a role of this name was made for, for the sweep.
pub fn role_request(role_name: &str) -> Option<AccessRequestId> {
    AccessRequestId::parse(role_name.strip_prefix(PREFIX)?).ok()
}

/// The one session name of a grant, `{person}.{access request id}`.
///
/// It carries the whole id: a deny on this name must reach this grant and no other.
pub fn session_name(request: &AccessRequestId, requester: &PrincipalId) -> String {
    let room = SESSION_NAME_MAX - 1 - request.as_str().len();
    let person: String = requester
        .subject()
        .chars()
        .map(|c| if is_name_char(c) { c } else { '-' })
        .take(room)
        .collect();
    format!("{person}.{request}")
}

/// Tags of the sessions of this grant.
pub fn session_tags(
    request: &AccessRequestId,
    requester: &PrincipalId,
    entitlement: &Entitlement,
) -> BTreeMap<String, String> {
    let mut tags = entitlement.tags.clone();
    tags.insert(TAG_REQUEST.to_owned(), request.to_string());
    tags.insert(TAG_REQUESTER.to_owned(), tag_value(&requester.to_string()));
    tags
}

/// Tags of the role that is made for this grant.
pub fn role_tags(
    request: &AccessRequestId,
    requester: &PrincipalId,
    entitlement: &Entitlement,
    end: EndInstant,
) -> BTreeMap<String, String> {
    let mut tags = session_tags(request, requester, entitlement);
    tags.insert(TAG_END.to_owned(), end.timestamp().to_string());
    tags
}

/// `[\w+=,.@-]`, the characters of IAM names and session names.
pub(crate) fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_+=,.@-".contains(c)
}

/// Characters that every AWS service takes in a tag (`#` is not among them).
pub(crate) fn is_tag_char(c: char) -> bool {
    c.is_alphanumeric() || " _.:/=+-@".contains(c)
}

fn tag_value(text: &str) -> String {
    text.chars()
        .map(|c| if is_tag_char(c) { c } else { '_' })
        .take(TAG_VALUE_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use proptest::prelude::*;

    #[test]
    fn names_lead_back_to_their_request() {
        let id = fixtures::request();
        assert_eq!(role_request(&role_name(&id)), Some(id));
        assert_eq!(role_request("hallpass-provisioner"), None);
    }

    proptest! {
        #[test]
        fn session_names_are_legal_and_name_one_grant(subject in "[^\\s\\p{C}]{1,80}") {
            let Ok(who) = PrincipalId::new("https://idp.example", &subject) else { return Ok(()) };
            let (id, other) = (fixtures::request(), fixtures::other_request());
            let name = session_name(&id, &who);
            prop_assert!((2..=64).contains(&name.len()) && name.chars().all(is_name_char), "{}", name);
            prop_assert!(name.ends_with(id.as_str()));
            prop_assert_ne!(name, session_name(&other, &who));
        }

        #[test]
        fn tags_are_legal(issuer in "https://[^\\s\\p{C}#]{1,200}", subject in "[^\\s\\p{C}]{1,200}") {
            let Ok(who) = PrincipalId::new(&issuer, &subject) else { return Ok(()) };
            let tags = role_tags(&fixtures::request(), &who, &fixtures::assume(), fixtures::end());
            for (key, value) in tags {
                prop_assert!(key.chars().count() <= 128 && value.chars().count() <= 256);
                prop_assert!(key.chars().chain(value.chars()).all(is_tag_char));
            }
        }
    }
}
