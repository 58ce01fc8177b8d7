//! `links.toml`: rows of data that Cedar templates are linked with.
//!
//! ```toml
//! [team-asks]                     # a template's @id
//! payments = { principal = 'Hallpass::Group::"payments"', resource = 'Hallpass::Entitlement::"x"' }
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::str::FromStr as _;

use cedar_policy::{EntityUid, PolicyId, PolicySet, SlotId, Template};
use hallpass_types::EntitlementId;
use toml::de::{DeTable, DeValue};

use crate::bundle::{LINKS, Place, Problem, problem};
use crate::entitlements::Catalogue;
use crate::policies::{Places, chain, is_policy_name};

/// One link, as it is written.
pub(crate) struct Row {
    template: String,
    name: String,
    place: Place,
    values: HashMap<SlotId, EntityUid>,
}

/// The starts of a file's lines, so that ten thousand places cost no ten thousand readings.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(breaks).collect();
        Self { text, starts }
    }

    fn place(&self, range: Range<usize>) -> Place {
        let line = self.starts.partition_point(|start| *start <= range.start);
        let start = self.starts.get(line.saturating_sub(1)).copied();
        let start = start.unwrap_or_default();
        let in_line = range.start.saturating_sub(start)..range.end.saturating_sub(start);
        let place = Place::of(&self.text[start..], in_line);
        Place {
            line,
            start: place.start + start,
            end: place.end + start,
            ..place
        }
    }
}

/// Reads the file; what is wrong goes to `problems`.
pub(crate) fn parse(text: &str, problems: &mut Vec<Problem>) -> Vec<Row> {
    let lines = Lines::of(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let place = error.span().map(|span| lines.place(span));
        problems.push(problem(LINKS, place, error.message()));
    }
    let mut rows = Vec::new();
    for (template, value) in root.get_ref() {
        let Some(table) = value.get_ref().as_table() else {
            let place = lines.place(template.span());
            let what = "write a table for each template, with its rows";
            problems.push(problem(LINKS, Some(place), what));
            continue;
        };
        for (name, value) in table {
            let place = lines.place(name.span());
            let id = format!("{}/{}", template.get_ref(), name.get_ref());
            match read(name.get_ref(), value.get_ref()) {
                Ok(values) => rows.push(Row {
                    template: template.get_ref().to_string(),
                    name: name.get_ref().to_string(),
                    place,
                    values,
                }),
                Err(what) => {
                    problems.push(problem(LINKS, Some(place), format!("{id}: {what}")));
                }
            }
        }
    }
    rows
}

fn read(name: &str, value: &DeValue<'_>) -> Result<HashMap<SlotId, EntityUid>, String> {
    if !is_policy_name(name) {
        return Err("the row's name is not 1 to 64 of a-z, 0-9 and -".to_owned());
    }
    let Some(row) = value.as_table() else {
        return Err("write { principal = \"…\", resource = \"…\" }".to_owned());
    };
    let mut values = HashMap::new();
    for (key, value) in row {
        let slot = match key.get_ref().as_ref() {
            "principal" => SlotId::principal(),
            "resource" => SlotId::resource(),
            other => return Err(format!("unknown key {other}")),
        };
        let entity = value.get_ref().as_str();
        let entity = entity.and_then(|text| EntityUid::from_str(text).ok());
        let expected = || {
            let key = key.get_ref();
            format!("{key} must be an entity such as 'Hallpass::Group::\"payments\"'")
        };
        values.insert(slot, entity.ok_or_else(expected)?);
    }
    Ok(values)
}

/// Links the rows; each link's id is `template/row`.
pub(crate) fn link(
    set: &mut PolicySet,
    rows: Vec<Row>,
    places: &mut BTreeMap<String, (String, Place)>,
    problems: &mut Vec<Problem>,
) {
    for row in rows {
        let id = format!("{}/{}", row.template, row.name);
        let template = PolicyId::new(&row.template);
        let Some(known) = set.template(&template) else {
            let what = format!("{id}: there is no template with @id({:?})", row.template);
            problems.push(problem(LINKS, Some(row.place), what));
            continue;
        };
        if let Some(what) = misfit(known, &row.values) {
            problems.push(problem(LINKS, Some(row.place), format!("{id}: {what}")));
            continue;
        }
        match set.link(template, PolicyId::new(&id), row.values) {
            Ok(()) => {
                places.insert(id, (LINKS.to_owned(), row.place));
            }
            Err(e) => problems.push(problem(LINKS, Some(row.place), chain(&e))),
        }
    }
}

fn misfit(template: &Template, values: &HashMap<SlotId, EntityUid>) -> Option<String> {
    let slots: HashSet<_> = template.slots().cloned().collect();
    let missing = slots.iter().find(|slot| !values.contains_key(slot));
    let more = values.keys().find(|slot| !slots.contains(slot));
    let named = |slot: &SlotId| slot.to_string().trim_start_matches('?').to_owned();
    missing
        .map(|slot| format!("{} is missing", named(slot)))
        .or_else(|| more.map(|slot| format!("the template has no ?{}", named(slot))))
}

/// Rows about entitlements that do not exist: they would never decide anything.
pub(crate) fn check(set: &PolicySet, places: &Places, catalogue: &Catalogue) -> Vec<Problem> {
    let mut problems = Vec::new();
    for policy in set.policies() {
        let Some(values) = policy.template_links() else {
            continue;
        };
        for uid in values.values() {
            let is_entitlement = uid.type_name().to_string() == "Hallpass::Entitlement";
            let name: &str = uid.id().as_ref();
            let known = EntitlementId::parse(name);
            let known = known.is_ok_and(|id| catalogue.entries.contains_key(&id));
            if is_entitlement && !known {
                let id = policy.id().to_string();
                let place = places.get(&id).map(|(_, place)| *place);
                let what = format!("{id}: there is no entitlement {name}");
                problems.push(problem(LINKS, place, what));
            }
        }
    }
    problems
}
