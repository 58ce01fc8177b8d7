//! The IAM policy language as types: what is read from people and what is sent to AWS.
//!
//! A document that people wrote is read into these types and written out again, so what is checked
//! here is what AWS gets, byte for byte: no duplicate keys, no element that we do not know.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The policy language version of every document we write.
const VERSION: &str = "2012-10-17";

/// An IAM policy document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PolicyDocument {
    /// The policy language version.
    #[serde(default = "old_version")]
    pub version: String,
    /// A name that AWS ignores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The statements.
    #[serde(rename = "Statement")]
    pub statements: OneOrMany<Statement>,
}

/// What AWS takes a document without `Version` for.
fn old_version() -> String {
    "2008-10-17".to_owned()
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Statement {
    /// A label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// Allow or Deny.
    pub effect: Effect,
    /// Who, in a trust policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
    /// Which actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<OneOrMany<String>>,
    /// All actions but these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_action: Option<OneOrMany<String>>,
    /// Which resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<OneOrMany<String>>,
    /// All resources but these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_resource: Option<OneOrMany<String>>,
    /// Conditions: operator, key, values. All must hold.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub condition: BTreeMap<String, BTreeMap<String, OneOrMany<Scalar>>>,
}

/// Allow or Deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// The statement allows.
    Allow,
    /// The statement forbids, whatever else allows.
    Deny,
}

/// The principal of a trust policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Principal {
    /// An account, user or role by its ARN.
    #[serde(rename = "AWS")]
    Aws(OneOrMany<String>),
}

/// One value, or a list: the policy language allows both in most places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// A list.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// The values.
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }

    /// The values, owned.
    pub fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

/// A condition value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// Text.
    Text(String),
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Number(i64),
}

impl Scalar {
    /// The value as AWS compares it.
    pub fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Bool(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
        }
    }
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl PolicyDocument {
    /// A document of these statements.
    pub fn new(statements: Vec<Statement>) -> Self {
        Self {
            version: VERSION.to_owned(),
            id: None,
            statements: OneOrMany::Many(statements),
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// The parser's words when it is not one.
    pub fn parse(json: &str) -> Result<Self, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    /// The same document with one statement more.
    #[must_use]
    pub fn and(self, statement: Statement) -> Self {
        let mut statements = self.statements.into_vec();
        statements.push(statement);
        Self {
            statements: OneOrMany::Many(statements),
            ..self
        }
    }

    /// The document as compact JSON. It has text keys only, so writing it cannot fail.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Statement {
    fn everything(effect: Effect) -> Self {
        let star = || Some(OneOrMany::One("*".to_owned()));
        Self {
            resource: star(),
            ..Self::bare(effect, star())
        }
    }

    fn bare(effect: Effect, action: Option<OneOrMany<String>>) -> Self {
        Self {
            sid: None,
            effect,
            principal: None,
            action,
            not_action: None,
            resource: None,
            not_resource: None,
            condition: BTreeMap::new(),
        }
    }

    /// Allows everything: a session policy's neutral element.
    pub fn allow_everything() -> Self {
        Self::everything(Effect::Allow)
    }

    /// Forbids everything.
    pub fn deny_everything() -> Self {
        Self::everything(Effect::Deny)
    }

    /// Allows `actions` on `resources`.
    pub fn allow(actions: &[&str], resources: &[&str]) -> Self {
        Self {
            resource: Some(many(resources)),
            ..Self::bare(Effect::Allow, Some(many(actions)))
        }
    }

    /// Allows everything but `actions`.
    pub fn allow_all_but(actions: &[&str]) -> Self {
        Self {
            action: None,
            not_action: Some(many(actions)),
            ..Self::everything(Effect::Allow)
        }
    }

    /// Lets `principal` take `actions` on the role that carries this trust policy.
    pub fn trust(principal: &str, actions: &[&str]) -> Self {
        Self {
            principal: Some(Principal::Aws(OneOrMany::One(principal.to_owned()))),
            ..Self::bare(Effect::Allow, Some(many(actions)))
        }
    }

    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, operator: &str, key: &str, value: &str) -> Self {
        self.condition
            .entry(operator.to_owned())
            .or_default()
            .insert(key.to_owned(), OneOrMany::One(value.into()));
        self
    }

    /// Adds a condition that one of `values` fulfils.
    #[must_use]
    pub fn when_any(mut self, operator: &str, key: &str, values: &BTreeSet<String>) -> Self {
        let values = values.iter().map(|v| Scalar::Text(v.clone())).collect();
        self.condition
            .entry(operator.to_owned())
            .or_default()
            .insert(key.to_owned(), OneOrMany::Many(values));
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn named(mut self, sid: &str) -> Self {
        self.sid = Some(sid.to_owned());
        self
    }
}

fn many(values: &[&str]) -> OneOrMany<String> {
    match values {
        [one] => OneOrMany::One((*one).to_owned()),
        _ => OneOrMany::Many(values.iter().map(|v| (*v).to_owned()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_we_do_not_know_is_refused() {
        for bad in [
            r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Effect":"Deny"}}"#,
            r#"{"Statement":{"Effect":"allow","Action":"*","Resource":"*"}}"#,
            r#"{"Statement":{"Effect":"Allow","Action":"*","Resources":"*"}}"#,
            r#"{"Statement":[],"Extra":1}"#,
            r#"{}"#,
        ] {
            assert!(PolicyDocument::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_round_trips(text in ".{0,200}") {
            if let Ok(document) = PolicyDocument::parse(&text) {
                prop_assert_eq!(PolicyDocument::parse(&document.to_json()), Ok(document));
            }
        }
    }
}
