//! What stands for a sign-in for one decision.

use jsonwebtoken::Header;
use serde_json::{Value, json};

use super::{DECISION_CLIENT, DEFAULT_LIFETIME_SECONDS, DevIssuer, DevIssuerError, Shared};

impl DevIssuer {
    /// An ID token with which the person called `name`, or with that subject, signs a decision: as
    /// after a sign-in of just now with this nonce. `change` has its way with it before.
    ///
    /// # Errors
    /// As [`DevIssuer::mint`].
    pub fn sign_decision(
        &self,
        name: &str,
        nonce: &str,
        change: impl FnOnce(&mut Header, &mut Value),
    ) -> Result<String, DevIssuerError> {
        self.shared.sign_decision(name, nonce, change)
    }
}

impl Shared {
    pub(super) fn sign_decision(
        &self,
        name: &str,
        nonce: &str,
        change: impl FnOnce(&mut Header, &mut Value),
    ) -> Result<String, DevIssuerError> {
        let by_subject = self.people.values().find(|p| p.subject == name);
        let name = match self.people.get(name).or(by_subject) {
            Some(person) => person.name.as_str(),
            None => name,
        };
        self.mint(name, DEFAULT_LIFETIME_SECONDS, |header, claims| {
            header.typ = Some("JWT".to_owned());
            if let Some(map) = claims.as_object_mut() {
                map.insert("aud".to_owned(), json!(DECISION_CLIENT));
                map.insert("azp".to_owned(), json!(DECISION_CLIENT));
                map.insert("nonce".to_owned(), json!(nonce));
                map.remove("client_id");
            }
            change(header, claims);
        })
    }
}
