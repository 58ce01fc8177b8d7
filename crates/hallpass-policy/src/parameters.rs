//! Parameters of an entitlement: what a request may put into its permission document.
//!
//! A value fills a whole segment of an ARN or of a condition's text, and its characters are no
//! syntax there: no wildcard, no policy variable, no colon, no quote. So it can narrow a document
//! and name things in it, and nothing else.

mod placing;

use std::collections::{BTreeMap, BTreeSet};

use hallpass_types::{AccessMode, Entitlement, EntitlementId};
use serde_json::Value;

use crate::Bundle;
use crate::entitlements::words;
use crate::fields::Fields;
use crate::iam_document;

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// What a value may look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// One name: 1 to 128 of letters, digits, `_`, `.` and `-`, with a letter or digit first.
    Name,
    /// Names with `/` between them, at most 512 characters.
    Path,
    /// One of these.
    Choice(Vec<String>),
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in requests and, in double braces, in the document.
    pub name: String,
    /// What it is, for people.
    pub title: String,
    /// What a value may look like.
    pub kind: ParameterKind,
    /// What a request that says nothing gets; it has to say something where there is none.
    pub default: Option<String>,
}

/// An entitlement's parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    all: Vec<Parameter>,
    /// The entitlement with its placeholders; `None` without parameters.
    template: Option<Box<Entitlement>>,
}

/// Values that do not fit an entitlement's parameters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FillError {
    /// There is no such entitlement.
    #[error("there is no entitlement {0}")]
    UnknownEntitlement(EntitlementId),
    /// It has no such parameter.
    #[error("there is no parameter `{0}`")]
    UnknownParameter(String),
    /// A value must be given.
    #[error("parameter `{0}` must be given")]
    Missing(String),
    /// A value has another form.
    #[error("parameter `{name}` must be {expected}")]
    Value {
        /// Which parameter.
        name: String,
        /// What was expected.
        expected: String,
    },
    /// The filled document is not one that AWS takes.
    #[error("with these values the permission document {0}")]
    Document(String),
}

impl ParameterKind {
    /// Checks a value.
    ///
    /// # Errors
    /// What was expected, for people.
    pub fn check(&self, value: &str) -> Result<(), String> {
        match self {
            Self::Name if is_name(value) => Ok(()),
            Self::Name => {
                Err("1 to 128 letters, digits, _ . -, a letter or digit first".to_owned())
            }
            Self::Path if value.len() <= 512 && value.split('/').all(is_name) => Ok(()),
            Self::Path => Err("names (letters, digits, _ . -) with / between them".to_owned()),
            Self::Choice(choices) if choices.iter().any(|c| c == value) => Ok(()),
            Self::Choice(choices) => Err(format!("one of {}", choices.join(", "))),
        }
    }
}

impl Parameter {
    fn default_or_sample(&self) -> String {
        let sample = || match &self.kind {
            ParameterKind::Choice(choices) => choices.first().cloned().unwrap_or_default(),
            ParameterKind::Name | ParameterKind::Path => "sample".to_owned(),
        };
        self.default.clone().unwrap_or_else(sample)
    }
}

/// What comes first is no dot: `..` climbs, and dotted names hide.
fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    (1..=128).contains(&text.len())
        && text.bytes().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

impl Parameters {
    /// All of them, as the file lists them.
    pub fn all(&self) -> &[Parameter] {
        &self.all
    }

    /// Puts values into the entitlement's document and probe; `otherwise` gives those that are not
    /// there.
    fn fill(
        &self,
        values: &BTreeMap<String, String>,
        otherwise: impl Fn(&Parameter) -> Option<String>,
    ) -> Result<Option<Entitlement>, FillError> {
        let known = |name: &String| self.all.iter().any(|p| p.name == *name);
        if let Some(unknown) = values.keys().find(|name| !known(name)) {
            return Err(FillError::UnknownParameter(unknown.clone()));
        }
        let Some(template) = &self.template else {
            return Ok(None);
        };
        let mut filling = BTreeMap::new();
        for parameter in &self.all {
            let value = values.get(&parameter.name).cloned();
            let value = value.or_else(|| otherwise(parameter));
            let value = value.ok_or_else(|| FillError::Missing(parameter.name.clone()))?;
            parameter
                .kind
                .check(&value)
                .map_err(|expected| FillError::Value {
                    name: parameter.name.clone(),
                    expected,
                })?;
            filling.insert(parameter.name.clone(), value);
        }
        let mut filled = (**template).clone();
        filled.probe.path = replaced(&filled.probe.path, &filling);
        if let Some(document) = document_of(&mut filled) {
            *document = substituted(document, &filling).map_err(FillError::Document)?;
        }
        filled.parameters = filling;
        Ok(Some(filled))
    }
}

impl Bundle {
    /// The entitlement with these values for its parameters, and defaults for the others: what a
    /// request opens.
    ///
    /// # Errors
    /// [`FillError`] when a value does not fit.
    pub fn fill(
        &self,
        id: &EntitlementId,
        values: &BTreeMap<String, String>,
    ) -> Result<Entitlement, FillError> {
        let entry = self.catalogue.entries.get(id);
        let entry = entry.ok_or_else(|| FillError::UnknownEntitlement(id.clone()))?;
        let filled = entry.parameters.fill(values, |p| p.default.clone())?;
        Ok(filled.unwrap_or_else(|| entry.filled.clone()))
    }
}

fn document_of(entitlement: &mut Entitlement) -> Option<&mut String> {
    match &mut entitlement.access {
        AccessMode::Assume { session_policy, .. } => session_policy.as_mut(),
        AccessMode::Create { permissions, .. } => Some(permissions),
    }
}

/// The placeholders of a text, each with whether it fills a whole segment.
fn placeholders(text: &str) -> Result<Vec<(&str, bool)>, &'static str> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(open) = text[from..].find(OPEN).map(|at| at + from) {
        let start = open + OPEN.len();
        let Some(close) = text[start..].find(CLOSE).map(|at| at + start) else {
            return Err("has {{ without }}");
        };
        let before = text[..open].chars().next_back();
        let after = text[close + CLOSE.len()..].chars().next();
        let edge = |c: Option<char>| c.is_none_or(|c| c == '/' || c == ':');
        found.push((&text[start..close], edge(before) && edge(after)));
        from = close + CLOSE.len();
    }
    Ok(found)
}

fn replaced(text: &str, values: &BTreeMap<String, String>) -> String {
    let put = |text: String, (name, value): (&String, &String)| {
        text.replace(&format!("{OPEN}{name}{CLOSE}"), value)
    };
    values.iter().fold(text.to_owned(), put)
}

/// Values go into texts of the parsed document, so none can change its structure.
fn substituted(document: &str, values: &BTreeMap<String, String>) -> Result<String, String> {
    let mut value: Value =
        serde_json::from_str(document).map_err(|e| format!("is not JSON: {e}"))?;
    put(&mut value, values);
    iam_document::check(&value.to_string())
}

fn put(value: &mut Value, values: &BTreeMap<String, String>) {
    match value {
        Value::String(text) => *text = replaced(text, values),
        Value::Array(items) => items.iter_mut().for_each(|item| put(item, values)),
        Value::Object(map) => map.values_mut().for_each(|item| put(item, values)),
        _ => {}
    }
}

fn each_text<'v>(value: &'v Value, path: &mut Vec<&'v str>, seen: &mut dyn FnMut(&[&str], &str)) {
    match value {
        Value::String(text) => seen(path, text),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, path, seen)),
        Value::Object(map) => {
            for (key, item) in map {
                seen(&[], key);
                path.push(key);
                each_text(item, path, seen);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Reads the `[[entitlement.parameter]]` tables.
pub(crate) fn read(fields: &mut Fields<'_, '_>) -> Option<Parameters> {
    let mut seen = BTreeSet::new();
    let all = fields.tables("parameter", |_, mut table| {
        let name = table.required("name", slug);
        let title = table.required("title", |t| words(t, 120));
        let kind = read_kind(&mut table);
        let default = table.optional("default", |t| Ok(t.to_owned()));
        if let (Some(kind), Some(Some(default))) = (&kind, &default)
            && let Err(expected) = kind.check(default)
        {
            table.report(Some("default"), format!("default must be {expected}"));
        }
        if name.as_ref().is_some_and(|n| !seen.insert(n.clone())) {
            table.report(Some("name"), "this name is already used".to_owned());
        }
        table.finish();
        Some(Parameter {
            name: name?,
            title: title?,
            kind: kind?,
            default: default?,
        })
    })?;
    Some(Parameters {
        all,
        template: None,
    })
}

fn read_kind(table: &mut Fields<'_, '_>) -> Option<ParameterKind> {
    let kind = table.required("kind", |t| match t {
        "name" | "path" | "choice" => Ok(t.to_owned()),
        _ => Err("must be \"name\", \"path\" or \"choice\"".to_owned()),
    })?;
    match kind.as_str() {
        "name" => Some(ParameterKind::Name),
        "path" => Some(ParameterKind::Path),
        _ => {
            let choices = table.texts("choices")?;
            if choices.is_empty() || !choices.iter().all(|c| ParameterKind::Path.check(c).is_ok()) {
                let why = "choices must be names or paths".to_owned();
                table.report(Some("choices"), why);
                return None;
            }
            Some(ParameterKind::Choice(choices))
        }
    }
}

fn slug(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if (1..=32).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 32 of a-z, 0-9 and _".to_owned())
    }
}
