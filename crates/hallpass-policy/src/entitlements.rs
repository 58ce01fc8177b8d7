//! `entitlements.toml`: what can be asked for, and the settings.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use hallpass_types::{
    AccessMode, AwsAccountId, Entitlement, EntitlementId, GrantDuration, PolicyArn, Probe, Risk,
    RoleArn, Stages,
};
use jiff::SignedDuration;
use toml::de::{DeTable, DeValue};

use crate::bundle::{ENTITLEMENTS, Place, Problem, Settings, problem};
use crate::fields::Fields;
use crate::parameters::{self, Parameters};
use crate::{conditions, iam_document, lints, stages};

/// What `entitlements.toml` says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalogue {
    pub(crate) entries: BTreeMap<EntitlementId, Entry>,
    pub(crate) settings: Settings,
}

/// One entitlement with what the gates need not know of it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Its parameters have their defaults.
    pub(crate) filled: Entitlement,
    pub(crate) parameters: Parameters,
    pub(crate) stages: Stages,
    /// Lints that do not apply here.
    pub(crate) accepted: BTreeSet<String>,
    pub(crate) place: Place,
    /// The permission document's, or else the entitlement's.
    pub(crate) document: Place,
}

/// Reads the file; what is wrong goes to `problems`.
pub(crate) fn parse(text: &str, problems: &mut Vec<Problem>) -> Catalogue {
    let mut catalogue = Catalogue::default();
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let place = error.span().map(|span| Place::of(text, span));
        problems.push(problem(ENTITLEMENTS, place, error.message()));
    }
    if !errors.is_empty() {
        return catalogue;
    }
    let mut seen = BTreeSet::new();
    for (key, value) in root.get_ref() {
        let range = value.span();
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("settings", DeValue::Table(table)) => {
                let what = "settings".to_owned();
                let fields = Fields::new(text, table, range, what, problems);
                catalogue.settings = read_settings(fields);
            }
            ("entitlement", DeValue::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    let range = item.span();
                    let what = format!("entitlement {}", index + 1);
                    let Some(table) = item.get_ref().as_table() else {
                        let place = Some(Place::of(text, range));
                        problems.push(problem(ENTITLEMENTS, place, what + ": must be a table"));
                        continue;
                    };
                    let fields = Fields::new(text, table, range, what, problems);
                    if let Some(read) = read_entry(fields, &mut seen) {
                        catalogue.entries.insert(read.filled.id.clone(), read);
                    }
                }
            }
            (key, _) => {
                let place = Some(Place::of(text, range));
                let what = format!("{key}: write [settings] and [[entitlement]] tables only");
                problems.push(problem(ENTITLEMENTS, place, what));
            }
        }
    }
    catalogue
}

fn read_settings(mut fields: Fields<'_, '_>) -> Settings {
    let defaults = Settings::default();
    let settings = Settings {
        approval_window_seconds: fields
            .integer("approval_window_seconds", 5..=1_209_600)
            .unwrap_or(defaults.approval_window_seconds),
        max_credential_issues: fields
            .integer("max_credential_issues", 1..=1000)
            .unwrap_or(defaults.max_credential_issues),
    };
    fields.finish();
    settings
}

fn read_entry(mut fields: Fields<'_, '_>, seen: &mut BTreeSet<EntitlementId>) -> Option<Entry> {
    let entitlement = read_entitlement(&mut fields, seen);
    let parameters = parameters::read(&mut fields);
    let stages = stages::read(&mut fields);
    let accepted = read_accepted(&mut fields);
    let (place, document) = (fields.place("id"), document_place(&mut fields));
    let filled = match (entitlement, parameters) {
        (Some(entitlement), Some(mut parameters)) => match parameters.place_into(entitlement) {
            Ok(filled) => Some((filled, parameters)),
            Err(wrong) => {
                wrong.into_iter().for_each(|why| fields.report(None, why));
                None
            }
        },
        _ => None,
    };
    fields.finish();
    let (filled, parameters) = filled?;
    Some(Entry {
        filled,
        parameters,
        stages: stages?,
        accepted: accepted?,
        place,
        document,
    })
}

fn document_place(fields: &mut Fields<'_, '_>) -> Place {
    let otherwise = fields.place("id");
    for (mode, document) in [("assume", "session_policy"), ("create", "permissions")] {
        if let Some(table) = fields.table_if_there(mode).filter(|t| t.holds(document)) {
            return table.place(document);
        }
    }
    otherwise
}

/// Lints that this entitlement need not pass, each with the reason why.
fn read_accepted(fields: &mut Fields<'_, '_>) -> Option<BTreeSet<String>> {
    if !fields.has("accept") {
        return Some(BTreeSet::new());
    }
    let mut accept = fields.table("accept")?;
    let pairs = accept.pairs();
    for (lint, why) in &pairs {
        if !lints::is_acceptable(lint) {
            accept.report(Some(lint), format!("there is no lint {lint} to accept"));
        } else if words(why, 200).is_err() {
            accept.report(
                Some(lint),
                format!("say in one line why {lint} is accepted"),
            );
        }
    }
    Some(pairs.into_iter().map(|(lint, _)| lint).collect())
}

/// Every field is read before any is used, so that all problems are reported.
fn read_entitlement(
    fields: &mut Fields<'_, '_>,
    seen: &mut BTreeSet<EntitlementId>,
) -> Option<Entitlement> {
    let id = fields.required("id", |t| EntitlementId::parse(t).map_err(said));
    if let Some(id) = &id {
        fields.rename(format!("entitlement {id}"));
        if !seen.insert(id.clone()) {
            fields.report(Some("id"), "this id is already used".to_owned());
        }
    }
    let title = fields.required("title", |t| words(t, 120));
    let account = fields.required("account", |t| AwsAccountId::parse(t).map_err(said));
    let account_name = fields.required("account_name", |t| words(t, 120));
    let environment = fields.required("environment", slug);
    let region = fields.required("region", slug);
    let access = read_access(fields, account.as_ref());
    let risk = fields.integer("risk", 0..=3);
    if risk.is_none() && !fields.has("risk") {
        fields.report(None, "risk is missing".to_owned());
    }
    let risk = risk.and_then(|r| Risk::new(u8::try_from(r).ok()?).ok());
    let owners = fields.texts("owners");
    if owners.iter().flatten().any(|o| words(o, 255).is_err()) {
        fields.report(Some("owners"), "owners must be names of groups".to_owned());
    }
    let max_duration = fields.required("max_duration", duration);
    let external_ids = read_external_ids(fields);
    let conditions = conditions::read(fields);
    let max_session = conditions::read_max_session(fields);
    let probe = read_probe(fields);
    let tags = read_tags(fields);
    let (external_id, previous_external_id) = external_ids?;
    Some(Entitlement {
        id: id?,
        title: title?,
        account: account?,
        account_name: account_name?,
        environment: environment?,
        region: region?,
        access: access?,
        risk: risk?,
        owners: owners?,
        max_duration: max_duration?,
        external_id,
        previous_external_id,
        probe: probe?,
        tags: tags?,
        parameters: BTreeMap::new(),
        conditions: conditions?,
        max_session: max_session?,
    })
}

/// The present external id, and the one before while it is changed.
fn read_external_ids(fields: &mut Fields<'_, '_>) -> Option<(Option<String>, Option<String>)> {
    let present = fields.optional("external_id", external_id);
    let previous = fields.optional("previous_external_id", external_id);
    let (present, previous) = (present?, previous?);
    if previous.is_some() && (present.is_none() || present == previous) {
        let why = "previous_external_id is for another external_id than this".to_owned();
        fields.report(Some("previous_external_id"), why);
        return None;
    }
    Some((present, previous))
}

fn read_access(fields: &mut Fields<'_, '_>, account: Option<&AwsAccountId>) -> Option<AccessMode> {
    let assume = fields.table("assume").map(|mut assume| {
        let role = assume.required("role_arn", |t| RoleArn::parse(t).map_err(said));
        let other = |role: &RoleArn| account.is_some_and(|a| a.as_str() != role.account());
        if role.as_ref().is_some_and(other) {
            let why = "role_arn is of another account than the entitlement's".to_owned();
            assume.report(Some("role_arn"), why);
        }
        let session_policy = assume.optional("session_policy", iam_document::check);
        assume.finish();
        Some(AccessMode::Assume {
            role_arn: role?,
            session_policy: session_policy?,
        })
    });
    let create = fields.table("create").map(|mut create| {
        let permissions = create.required("permissions", iam_document::check);
        let boundary = create.required("permissions_boundary", |t| {
            PolicyArn::parse(t).map_err(said)
        });
        let owner = boundary.as_ref().and_then(|b| b.as_str().split(':').nth(4));
        let other = |owner: &str| owner != "aws" && account.is_some_and(|a| a.as_str() != owner);
        if owner.is_some_and(other) {
            let why = "permissions_boundary is of another account than the entitlement's";
            create.report(Some("permissions_boundary"), why.to_owned());
        }
        create.finish();
        Some(AccessMode::Create {
            permissions: permissions?,
            permissions_boundary: boundary?,
        })
    });
    match (assume, create) {
        (Some(mode), None) | (None, Some(mode)) => mode,
        (Some(_), Some(_)) => {
            fields.report(None, "has both assume and create".to_owned());
            None
        }
        (None, None) => {
            if !fields.has("assume") && !fields.has("create") {
                fields.report(None, "has neither assume nor create".to_owned());
            }
            None
        }
    }
}

fn read_probe(fields: &mut Fields<'_, '_>) -> Option<Probe> {
    if !fields.has("probe") {
        fields.report(None, "probe is missing".to_owned());
    }
    let mut probe = fields.table("probe")?;
    let service = probe.required("service", slug);
    let path = probe.required("path", |t| {
        let ok = t.starts_with('/') && t.len() <= 1024 && t.bytes().all(|b| b.is_ascii_graphic());
        ok.then(|| t.to_owned())
            .ok_or_else(|| "must be a path and query that starts with /".to_owned())
    });
    probe.finish();
    Some(Probe {
        service: service?,
        path: path?,
    })
}

/// Characters and lengths that both session tags and role tags take; our own tags have a prefix.
fn read_tags(fields: &mut Fields<'_, '_>) -> Option<BTreeMap<String, String>> {
    if !fields.has("tags") {
        return Some(BTreeMap::new());
    }
    let mut tags = fields.table("tags")?;
    let pairs = tags.pairs();
    // AWS takes 50; the rest is for those that every grant carries.
    if pairs.len() > 40 {
        tags.report(None, "more than 40 tags".to_owned());
    }
    let plain = |c: char| c.is_alphanumeric() || " _.:/=+-@".contains(c);
    for (key, value) in &pairs {
        let reserved = key.to_ascii_lowercase();
        if !(1..=128).contains(&key.chars().count()) || !key.chars().all(plain) {
            tags.report(
                Some(key),
                format!("{key:?} is not a tag key that AWS takes"),
            );
        } else if reserved.starts_with("aws:") || reserved.starts_with("hallpass") {
            tags.report(Some(key), format!("tag {key} has a reserved prefix"));
        }
        if value.chars().count() > 256 || !value.chars().all(plain) {
            tags.report(
                Some(key),
                format!("tag {key} has a value that AWS does not take"),
            );
        }
    }
    Some(pairs.into_iter().collect())
}

fn said(error: hallpass_types::ParseIdError) -> String {
    format!("must be {}", error.expected())
}

pub(crate) fn words(text: &str, max: usize) -> Result<String, String> {
    let fits = (1..=max).contains(&text.chars().count());
    if fits && text.trim() == text && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!("must be 1 to {max} characters on one line"))
    }
}

fn slug(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=32).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 32 of a-z, 0-9 and -".to_owned())
    }
}

/// The characters that `sts:AssumeRole` takes for an external ID.
fn external_id(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b);
    if (2..=1224).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("must be 2 to 1224 of letters, digits and _+=,.@:/-".to_owned())
    }
}

fn duration(text: &str) -> Result<GrantDuration, String> {
    let parsed = SignedDuration::from_str(text)
        .map_err(|_| "must be a duration such as \"2h\" or \"1h 30m\"".to_owned())?;
    if parsed.subsec_nanos() != 0 {
        return Err("must be whole seconds".to_owned());
    }
    GrantDuration::from_seconds(parsed.as_secs()).map_err(|e| e.to_string())
}
