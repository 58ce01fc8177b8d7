//! Cedar files: parsed, named by `@id`, and checked against the schema.

use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;

use cedar_policy::{
    Effect, Policy, PolicyId, PolicySet, PolicySetError, Schema, Template, ValidationMode,
    Validator,
};
use miette::Diagnostic;

use crate::bundle::{Place, Problem, problem};
use crate::{links, nesting};

/// Where a policy was written.
struct Written<'f> {
    file: &'f str,
    text: &'f str,
    place: Option<Place>,
}

/// Policies by id: in which file, and where in it.
pub(crate) type Places = BTreeMap<String, (String, Place)>;

/// Reads every policy file, with the built-in policies; what is wrong goes to `problems`.
pub(crate) fn parse(
    schema: &Schema,
    floor: &str,
    texts: &BTreeMap<&str, &str>,
    rows: Vec<links::Row>,
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
        add_templates(&mut set, &mut places, (file, text), &parsed, problems);
        let mut cursor = 0;
        for policy in in_order(&parsed) {
            let range = range_of(&policy.to_string(), text, &mut cursor);
            let place = range.map(|range| Place::of(text, range));
            match name(policy.annotation("id"), file == floor.0) {
                Ok(id) => {
                    let written = Written { file, text, place };
                    add(&mut set, &mut places, policy, id, written, problems);
                }
                Err(what) => problems.push(problem(file, place, what)),
            }
            let annotations = unknown_annotations(policy.annotations(), policy.effect());
            problems.extend(annotations.map(|what| problem(file, place, what)));
        }
    }
    let mut linked = Places::new();
    links::link(&mut set, rows, &mut linked, problems);
    validate(schema, &set, &places, &linked, problems);
    let known = places
        .into_iter()
        .filter_map(|(id, written)| Some((id, (written.file.to_owned(), written.place?))));
    (set, known.chain(linked).collect())
}

/// Templates share their names with policies; a template alone decides nothing.
fn add_templates<'f>(
    set: &mut PolicySet,
    places: &mut BTreeMap<String, Written<'f>>,
    (file, text): (&'f str, &'f str),
    parsed: &PolicySet,
    problems: &mut Vec<Problem>,
) {
    for template in parsed.templates() {
        let mut cursor = 0;
        let range = range_of(&template.to_string(), text, &mut cursor);
        let place = range.map(|range| Place::of(text, range));
        let unknown = unknown_annotations(template.annotations(), template.effect());
        problems.extend(unknown.map(|what| problem(file, place, what)));
        match name(template.annotation("id"), false) {
            Ok(id) => {
                let written = Written { file, text, place };
                let add = |set: &mut PolicySet, id: PolicyId| {
                    set.add_template(Template::new_id(template, id))
                        .map_err(Box::new)
                };
                add_named(set, places, id, written, add, problems);
            }
            Err(what) => problems.push(problem(file, place, what)),
        }
    }
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
fn range_of(written: &str, text: &str, cursor: &mut usize) -> Option<Range<usize>> {
    let found = text.get(*cursor..)?.find(written)? + *cursor;
    *cursor = found + written.len();
    Some(found..*cursor)
}

/// The policy's `@id`. Only the built-in policies' ids have a dot.
fn name(id: Option<&str>, built_in: bool) -> Result<String, String> {
    let id = id.unwrap_or_default();
    if id.is_empty() {
        return Err("policy without @id(\"…\")".to_owned());
    }
    if !built_in && !is_policy_name(id) {
        return Err(format!(
            "@id({id:?}) is not 1 to 64 of a-z, 0-9 and - (ids with a dot are built in)"
        ));
    }
    Ok(id.to_owned())
}

/// Whether a policy, or a row of `links.toml`, may be called so.
pub(crate) fn is_policy_name(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=64).contains(&id.len()) && id.bytes().all(plain)
}

fn unknown_annotations<'p>(
    annotations: impl Iterator<Item = (&'p str, &'p str)>,
    effect: Effect,
) -> impl Iterator<Item = String> {
    annotations.filter_map(move |(key, _)| match (key, effect) {
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
    let add = |set: &mut PolicySet, id| set.add(policy.new_id(id)).map_err(Box::new);
    add_named(set, places, id, written, add, problems);
}

fn add_named<'f>(
    set: &mut PolicySet,
    places: &mut BTreeMap<String, Written<'f>>,
    id: String,
    written: Written<'f>,
    add: impl FnOnce(&mut PolicySet, PolicyId) -> Result<(), Box<PolicySetError>>,
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
    match add(set, PolicyId::new(&id)) {
        Ok(()) => {
            places.insert(id, written);
        }
        Err(e) => problems.push(problem(written.file, written.place, chain(&*e))),
    }
}

/// Warnings refuse too: a policy that can never apply, or that hides text direction, is a mistake.
fn validate(
    schema: &Schema,
    set: &PolicySet,
    places: &BTreeMap<String, Written<'_>>,
    linked: &Places,
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
            None => match linked.get(&id) {
                Some((file, place)) => {
                    let what = format!("{id}: {diagnostic}");
                    problem(file, Some(*place), what)
                }
                None => problem("policies", None, diagnostic.to_string()),
            },
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
        let range = range_of(&policy.to_string(), text, &mut cursor).unwrap_or_default();
        let place = Place::of(text, range);
        let unknown = policy.annotations().filter(|(key, _)| !known.contains(key));
        problems.extend(
            unknown
                .map(|(key, _)| problem(file, Some(place), format!("unknown annotation @{key}"))),
        );
        match name(policy.annotation("id"), true) {
            Ok(id) => {
                all.push((policy.new_id(PolicyId::new(&id)), place));
                let place = Some(place);
                let written = Written { file, text, place };
                add(&mut set, &mut places, policy, id, written, &mut problems);
            }
            Err(what) => problems.push(problem(file, Some(place), what)),
        }
    }
    validate(schema, &set, &places, &Places::new(), &mut problems);
    if problems.is_empty() {
        Ok(all)
    } else {
        Err(problems)
    }
}
