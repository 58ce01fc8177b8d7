//! Cedar files: parsed, named by `@id`, and checked against the schema.

use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use miette::Diagnostic;

use crate::bundle::{Place, Problem, problem};
use crate::nesting;

/// Where a policy was written.
struct Written<'f> {
    file: &'f str,
    text: &'f str,
    place: Option<Place>,
}

/// Policies by id: in which file, and where in it.
type Places = BTreeMap<String, (String, Place)>;

/// Reads every policy file, with the built-in policies; what is wrong goes to `problems`.
pub(crate) fn parse(
    schema: &Schema,
    floor: &str,
    texts: &BTreeMap<&str, &str>,
    problems: &mut Vec<Problem>,
) -> (PolicySet, Places) {
    let mut set = PolicySet::new();
    let mut places = BTreeMap::new();
    let files = texts.iter().filter(|(name, _)| name.ends_with(".cedar"));
    let floor = ("floor.cedar", floor);
    for (file, text) in std::iter::once(floor).chain(files.map(|(n, t)| (*n, *t))) {
        if let Some(beyond) = nesting::check(file, text) {
            problems.push(beyond);
            continue;
        }
        let parsed = match nesting::with_room(|| PolicySet::from_str(text).map_err(Box::new)) {
            Ok(parsed) => parsed,
            Err(errors) => {
                problems.extend(errors.iter().map(|e| diagnosed(file, text, e)));
                continue;
            }
        };
        for template in parsed.templates() {
            let what = format!("{}: a bundle cannot link templates", template.id());
            problems.push(problem(file, None, what));
        }
        let mut cursor = 0;
        for policy in in_order(&parsed) {
            let range = range_of(policy, text, &mut cursor);
            let place = range.map(|range| Place::of(text, range));
            match name(policy, file == floor.0) {
                Ok(id) => {
                    let written = Written { file, text, place };
                    add(&mut set, &mut places, policy, id, written, problems);
                }
                Err(what) => problems.push(problem(file, place, what)),
            }
            let annotations = unknown_annotations(policy);
            problems.extend(annotations.map(|what| problem(file, place, what)));
        }
    }
    validate(schema, &set, &places, problems);
    let known = places
        .into_iter()
        .filter_map(|(id, written)| Some((id, (written.file.to_owned(), written.place?))));
    (set, known.collect())
}

/// Cedar numbers a file's policies `policy0`, `policy1`, … and keeps them in a hash map.
fn in_order(set: &PolicySet) -> Vec<&Policy> {
    let mut policies: Vec<&Policy> = set.policies().collect();
    policies.sort_by_key(|p| {
        let id = p.id().to_string();
        let number = id.trim_start_matches(|c: char| !c.is_ascii_digit());
        number.parse::<u64>().unwrap_or(u64::MAX)
    });
    policies
}

/// A parsed policy prints as it was written, so its text can be found again.
fn range_of(policy: &Policy, text: &str, cursor: &mut usize) -> Option<Range<usize>> {
    let written = policy.to_string();
    let found = text.get(*cursor..)?.find(&written)? + *cursor;
    *cursor = found + written.len();
    Some(found..*cursor)
}

/// The policy's `@id`. Only the built-in policies' ids have a dot.
fn name(policy: &Policy, built_in: bool) -> Result<String, String> {
    let id = policy.annotation("id").unwrap_or_default();
    if id.is_empty() {
        return Err("policy without @id(\"…\")".to_owned());
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !built_in && (id.len() > 64 || !id.bytes().all(plain)) {
        return Err(format!(
            "@id({id:?}) is not 1 to 64 of a-z, 0-9 and - (ids with a dot are built in)"
        ));
    }
    Ok(id.to_owned())
}

fn unknown_annotations(policy: &Policy) -> impl Iterator<Item = String> + '_ {
    policy
        .annotations()
        .filter_map(|(key, _)| match (key, policy.effect()) {
            ("id" | "message", _) | ("deny", Effect::Forbid) => None,
            ("page" | "review", Effect::Permit) => None,
            ("deny", Effect::Permit) => Some("@deny on a permit is never shown".to_owned()),
            ("page" | "review", Effect::Forbid) => {
                Some(format!("@{key} on a forbid: a refusal has no duties"))
            }
            _ => Some(format!("unknown annotation @{key}: use @deny or @message")),
        })
}

fn add<'f>(
    set: &mut PolicySet,
    places: &mut BTreeMap<String, Written<'f>>,
    policy: &Policy,
    id: String,
    written: Written<'f>,
    problems: &mut Vec<Problem>,
) {
    if let Some(first) = places.get(&id) {
        let at = first.place.map(|p| format!(":{}", p.line));
        let what = format!(
            "@id({id:?}) is already used at {}{}",
            first.file,
            at.unwrap_or_default()
        );
        problems.push(problem(written.file, written.place, what));
        return;
    }
    match set.add(policy.new_id(PolicyId::new(&id))) {
        Ok(()) => {
            places.insert(id, written);
        }
        Err(e) => problems.push(problem(written.file, written.place, chain(&e))),
    }
}

/// Warnings refuse too: a policy that can never apply, or that hides text direction, is a mistake.
fn validate(
    schema: &Schema,
    set: &PolicySet,
    places: &BTreeMap<String, Written<'_>>,
    problems: &mut Vec<Problem>,
) {
    let validator = Validator::new(schema.clone());
    let result = nesting::with_room(|| validator.validate(set, ValidationMode::Strict));
    let errors: Vec<_> = result
        .validation_errors()
        .map(|e| (e.policy_id().to_string(), e as &dyn Diagnostic))
        .collect();
    // What an error makes impossible needs no second report.
    let warnings: Vec<_> = result
        .validation_warnings()
        .map(|w| (w.policy_id().to_string(), w as &dyn Diagnostic))
        .filter(|(id, _)| errors.iter().all(|(with_error, _)| with_error != id))
        .collect();
    for (id, diagnostic) in errors.into_iter().chain(warnings) {
        problems.push(match places.get(&id) {
            Some(written) => {
                let mut found = diagnosed(written.file, written.text, diagnostic);
                found.place = found.place.or(written.place);
                found
            }
            None => problem("policies", None, diagnostic.to_string()),
        });
    }
}

fn diagnosed<D: Diagnostic + ?Sized>(file: &str, text: &str, diagnostic: &D) -> Problem {
    let first = diagnostic.labels().and_then(|mut labels| labels.next());
    let place = first.map(|label| {
        let start = label.offset();
        Place::of(text, start..start.saturating_add(label.len()))
    });
    let mut what = diagnostic.to_string();
    if let Some(help) = diagnostic.help() {
        what.push_str(&format!(" ({help})"));
    }
    problem(file, place, what)
}

/// An error with its sources on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

/// Reads the policies of one file that is no part of a bundle, with their places, against the same
/// schema and by the same rules: each has an `@id`, and annotations other than `known` are refused.
///
/// # Errors
/// Everything that is wrong.
pub fn annotated(
    file: &str,
    text: &str,
    known: &[&str],
    schema: &Schema,
) -> Result<Vec<(Policy, Place)>, Vec<Problem>> {
    if let Some(beyond) = nesting::check(file, text) {
        return Err(vec![beyond]);
    }
    let parsed = nesting::with_room(|| PolicySet::from_str(text).map_err(Box::new));
    let parsed = parsed.map_err(|errors| {
        let found = errors.iter().map(|e| diagnosed(file, text, e));
        found.collect::<Vec<_>>()
    })?;
    let (mut set, mut places) = (PolicySet::new(), BTreeMap::new());
    let (mut problems, mut cursor, mut all) = (Vec::new(), 0, Vec::new());
    for policy in in_order(&parsed) {
        let range = range_of(policy, text, &mut cursor).unwrap_or_default();
        let place = Place::of(text, range);
        let unknown = policy.annotations().filter(|(key, _)| !known.contains(key));
        problems.extend(
            unknown
                .map(|(key, _)| problem(file, Some(place), format!("unknown annotation @{key}"))),
        );
        match name(policy, true) {
            Ok(id) => {
                all.push((policy.new_id(PolicyId::new(&id)), place));
                let place = Some(place);
                let written = Written { file, text, place };
                add(&mut set, &mut places, policy, id, written, &mut problems);
            }
            Err(what) => problems.push(problem(file, Some(place), what)),
        }
    }
    validate(schema, &set, &places, &mut problems);
    if problems.is_empty() {
        Ok(all)
    } else {
        Err(problems)
    }
}
