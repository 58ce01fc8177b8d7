//! What every input must bear: no panic, and a bundle that is accepted answers.

use std::collections::BTreeMap;

use hallpass_policy::Bundle;
use hallpass_types::{AuthFacts, GrantDuration, Principal, PrincipalId, PrincipalKind};
use jiff::Timestamp;

/// A policy file and `entitlements.toml`, with a NUL between them.
pub(crate) fn bundle(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let mut next = || parts.next().unwrap_or_default().to_vec();
    let files = BTreeMap::from([
        ("policies/a.cedar".to_owned(), next()),
        ("entitlements.toml".to_owned(), next()),
    ]);
    let bundle = match Bundle::parse(&files) {
        Ok(bundle) => bundle,
        Err(refused) => {
            assert!(!refused.to_string().is_empty());
            return;
        }
    };
    bundle.lint();
    let now = Timestamp::UNIX_EPOCH;
    let (Ok(id), Ok(duration)) = (
        PrincipalId::new("https://idp.example", "somebody"),
        GrantDuration::from_seconds(900),
    ) else {
        return;
    };
    let somebody = Principal {
        id,
        kind: PrincipalKind::Human,
        display_name: None,
        groups: Default::default(),
        acting_for: None,
        auth: AuthFacts {
            mfa: true,
            authenticated_at: now,
            client: None,
            evidence: Default::default(),
        },
    };
    for entitlement in bundle.entitlements() {
        let answer = bundle.request(&somebody, entitlement, duration, None, now);
        assert!(!answer.explain().is_empty());
        assert_eq!(bundle.decide_again(&answer).ok().as_ref(), Some(&answer));
        assert_eq!(
            bundle.fill(&entitlement.id, &BTreeMap::new()).ok().as_ref(),
            Some(entitlement)
        );
    }
}
