//! What the catalogue says of a request: its parameters, and the values that it gives for them.

use std::collections::{BTreeMap, HashMap};

use hallpass_policy::{Bundle, FillError, ParameterKind};
use hallpass_proto::{convert, v1};
use hallpass_types::{Entitlement, EntitlementId, GrantDuration};
use tonic::Status;

use super::errors::{self, bad_field};

const FIELD: &str = "access_request.parameters";

/// More than any catalogue has.
const MOST_PARAMETERS: usize = 64;

/// An entitlement on the wire, with its parameters.
pub(super) fn entitlement(
    bundle: &Bundle,
    entitlement: &Entitlement,
    allowed: Option<GrantDuration>,
) -> v1::Entitlement {
    let all = bundle.parameters(&entitlement.id);
    let parameters = all.into_iter().flat_map(|p| p.all()).map(|p| {
        let (kind, choices) = match &p.kind {
            ParameterKind::Name => (v1::ParameterKind::Name, Vec::new()),
            ParameterKind::Path => (v1::ParameterKind::Path, Vec::new()),
            ParameterKind::Choice(choices) => (v1::ParameterKind::Choice, choices.clone()),
        };
        v1::Parameter {
            name: p.name.clone(),
            title: p.title.clone(),
            kind: kind.into(),
            choices,
            default_value: p.default.clone().unwrap_or_default(),
        }
    });
    v1::Entitlement {
        parameters: parameters.collect(),
        ..convert::entitlement(entitlement, allowed)
    }
}

/// What a request with these values opens; AWS takes it.
pub(super) fn filled(
    bundle: &Bundle,
    id: &EntitlementId,
    given: &HashMap<String, String>,
) -> Result<Entitlement, Status> {
    if given.len() > MOST_PARAMETERS {
        return Err(bad_field(FIELD, "must be few"));
    }
    let given: BTreeMap<_, _> = given.clone().into_iter().collect();
    let filled = bundle
        .fill(id, &given)
        .map_err(|error| refused(id, error))?;
    if filled.parameters.is_empty() {
        return Ok(filled);
    }
    hallpass_aws::check_entitlement(&filled).map_err(|found| {
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        let why = format!(
            "make a document that AWS does not take: {}",
            found.join("; ")
        );
        bad_field(FIELD, &why)
    })?;
    Ok(filled)
}

fn refused(id: &EntitlementId, error: FillError) -> Status {
    let field = |name: &str| {
        // What is no name at all is not repeated.
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        match (1..=32).contains(&name.len()) && name.bytes().all(plain) {
            true => format!("{FIELD}.{name}"),
            false => FIELD.to_owned(),
        }
    };
    match error {
        FillError::UnknownEntitlement(id) => {
            errors::not_found("hallpass.v1/Entitlement", &id.name())
        }
        FillError::UnknownParameter(name) => {
            bad_field(&field(&name), &format!("is no parameter of {id}"))
        }
        FillError::Missing(name) => bad_field(&field(&name), "must be given"),
        FillError::Value { name, expected } => {
            bad_field(&field(&name), &format!("must be {expected}"))
        }
        other => bad_field(FIELD, &other.to_string()),
    }
}
