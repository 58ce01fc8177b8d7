//! Where placeholders may stand, so that a value can only narrow what is opened.

use std::collections::{BTreeMap, BTreeSet};

use hallpass_types::Entitlement;
use serde_json::Value;

use super::{OPEN, ParameterKind, Parameters, document_of, each_text, placeholders};

impl Parameters {
    /// Takes the entitlement as the file has it and fills it with the defaults, or samples where
    /// there are none: checks look at it, and no request gets it.
    ///
    /// # Errors
    /// Everything that is wrong with placeholders and parameters.
    pub(crate) fn place_into(
        &mut self,
        entitlement: Entitlement,
    ) -> Result<Entitlement, Vec<String>> {
        let mut checked = entitlement.clone();
        let mut used = BTreeSet::new();
        let mut wrong = Vec::new();
        let document = document_of(&mut checked).cloned().unwrap_or_default();
        if let Ok(document) = serde_json::from_str::<Value>(&document) {
            each_text(&document, &mut Vec::new(), &mut |path, text| {
                self.look(text, narrows(path), &mut used, &mut wrong);
            });
            wrong.extend(denies_with_placeholder(&document).then(|| {
                "a placeholder in a Deny lets the requester choose what is not denied".to_owned()
            }));
        }
        wrong.extend(self.wrong_in_probe(&entitlement.probe.path));
        let unused = self.all.iter().filter(|p| !used.contains(&p.name));
        wrong.extend(
            unused.map(|p| format!("parameter {} is nowhere in the permission document", p.name)),
        );
        if !wrong.is_empty() {
            return Err(wrong);
        }
        if self.all.is_empty() {
            return Ok(entitlement);
        }
        self.template = Some(Box::new(entitlement.clone()));
        let filled = self
            .fill(&BTreeMap::new(), |p| Some(p.default_or_sample()))
            .map_err(|e| vec![e.to_string()])?;
        Ok(filled.unwrap_or(entitlement))
    }

    /// A path to what does not exist answers neither yes nor no, and the end would never be proved;
    /// a query only filters.
    fn wrong_in_probe(&self, probe: &str) -> Vec<String> {
        let path = probe.split('?').next().unwrap_or_default();
        let in_path = placeholders(path).unwrap_or_default();
        let all = placeholders(probe).unwrap_or_default();
        let mut wrong = Vec::new();
        for (name, _) in all {
            let kind = self.all.iter().find(|p| p.name == name).map(|p| &p.kind);
            let is_in_path = in_path.iter().any(|(other, _)| *other == name);
            match kind {
                None => wrong.push(undeclared(name)),
                Some(ParameterKind::Choice(_)) => {}
                Some(_) if is_in_path => wrong.push(format!(
                    "placeholder {name} in the path of the probe must be of kind \"choice\""
                )),
                Some(_) => {}
            }
        }
        wrong
    }

    fn knows(&self, name: &str) -> bool {
        self.all.iter().any(|p| p.name == name)
    }

    fn look(&self, text: &str, fits: bool, used: &mut BTreeSet<String>, wrong: &mut Vec<String>) {
        let found = match placeholders(text) {
            Ok(found) => found,
            Err(why) => return wrong.push(format!("{text:?} {why}")),
        };
        for (name, whole) in found {
            if !self.knows(name) {
                wrong.push(undeclared(name));
            } else if !fits {
                wrong.push(format!(
                    "placeholder {name} is outside of Resource and of Condition values that narrow"
                ));
            } else if text.contains("${") {
                wrong.push(format!(
                    "placeholder {name} in {text:?} stands beside a policy variable"
                ));
            } else if !whole {
                wrong.push(format!(
                    "placeholder {name} in {text:?} must fill a whole segment between : and /"
                ));
            }
            used.insert(name.to_owned());
        }
    }
}

/// Operators by which more text in a value matches less.
const NARROWING: [&str; 5] = [
    "StringEquals",
    "StringEqualsIgnoreCase",
    "StringLike",
    "ArnEquals",
    "ArnLike",
];

/// Whether a value at this place of a statement can only narrow what it allows.
fn narrows(path: &[&str]) -> bool {
    match path.iter().position(|key| *key == "Condition") {
        Some(at) => path.get(at + 1).is_some_and(|key| NARROWING.contains(key)),
        None => path.contains(&"Resource"),
    }
}

fn denies_with_placeholder(document: &Value) -> bool {
    let statements = match &document["Statement"] {
        Value::Array(all) => all.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut denies = statements.iter().filter(|s| s["Effect"] == "Deny");
    denies.any(|statement| statement.to_string().contains(OPEN))
}

fn undeclared(name: &str) -> String {
    format!("placeholder {name} is no [[entitlement.parameter]]")
}
