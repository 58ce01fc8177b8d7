//! Facts as the engine's own values, built without its reader.
//!
//! The engine reads JSON against the schema, which takes many times as long as a decision. What is
//! built here comes from `facts` alone, and a record is decided again through that reader.

use std::collections::HashMap;
use std::sync::LazyLock;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression,
};
use serde_json::{Map, Value};

use crate::policies::chain;

/// Reading a name takes the engine's whole grammar.
static TYPES: LazyLock<HashMap<String, EntityTypeName>> = LazyLock::new(|| {
    let names = [
        "AccessRequest",
        "Account",
        "Action",
        "Entitlement",
        "Group",
        "Parameters",
        "Service",
        "User",
    ];
    let names = names.map(|name| format!("Hallpass::{name}"));
    let read = |name: String| name.parse().ok().map(|read| (name, read));
    names.into_iter().filter_map(read).collect()
});

/// `{"type", "id"}`.
pub(crate) fn uid(name: &Value) -> Result<EntityUid, String> {
    let (kind, id) = (text(name, "type")?, text(name, "id")?);
    let kind = match TYPES.get(kind) {
        Some(kind) => kind.clone(),
        None => kind.parse().map_err(|e| chain(&e))?,
    };
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

/// A list of `{"uid", "attrs", "parents", "tags"}`, and the schema's actions.
pub(crate) fn entities(list: &Value, actions: &[Entity]) -> Result<Entities, String> {
    let list = list.as_array().ok_or("the entities are not a list")?;
    let all = list.iter().map(entity).collect::<Result<Vec<_>, _>>()?;
    let all = all.into_iter().chain(actions.iter().cloned());
    Entities::from_entities(all, None).map_err(|e| chain(&e))
}

/// An object of values.
pub(crate) fn context(fields: &Value) -> Result<Context, String> {
    Context::from_pairs(values(Some(fields))?).map_err(|e| chain(&e))
}

fn entity(entity: &Value) -> Result<Entity, String> {
    let parents = entity.get("parents").and_then(Value::as_array);
    let parents = parents.into_iter().flatten().map(uid);
    Entity::new_with_tags(
        uid(&entity["uid"])?,
        values(entity.get("attrs"))?,
        parents.collect::<Result<Vec<_>, _>>()?,
        values(entity.get("tags"))?,
    )
    .map_err(|e| chain(&e))
}

type Values = Vec<(String, RestrictedExpression)>;

fn values(object: Option<&Value>) -> Result<Values, String> {
    let Some(object) = object else {
        return Ok(Vec::new());
    };
    let object = object.as_object().ok_or("not an object of values")?;
    let read = |(name, v): (&String, &Value)| Ok((name.clone(), value(v)?));
    object.iter().map(read).collect()
}

fn value(read: &Value) -> Result<RestrictedExpression, String> {
    match read {
        Value::Bool(truth) => Ok(RestrictedExpression::new_bool(*truth)),
        Value::Number(number) => {
            let long = number.as_i64().ok_or("a number that is no long")?;
            Ok(RestrictedExpression::new_long(long))
        }
        Value::String(text) => Ok(RestrictedExpression::new_string(text.clone())),
        Value::Array(items) => {
            let items = items.iter().map(value).collect::<Result<Vec<_>, _>>()?;
            Ok(RestrictedExpression::new_set(items))
        }
        Value::Object(object) => escaped(object).unwrap_or_else(|| {
            RestrictedExpression::new_record(values(Some(read))?).map_err(|e| chain(&e))
        }),
        Value::Null => Err("nothing is no value".to_owned()),
    }
}

/// The engine's `__entity` and `__extn`; nothing for a record.
fn escaped(object: &Map<String, Value>) -> Option<Result<RestrictedExpression, String>> {
    if let Some(name) = object.get("__entity") {
        return Some(uid(name).map(RestrictedExpression::new_entity_uid));
    }
    let call = object.get("__extn")?;
    Some(match (text(call, "fn"), text(call, "arg")) {
        (Ok("datetime"), Ok(instant)) => Ok(RestrictedExpression::new_datetime(instant)),
        _ => Err("of extensions, facts have instants only".to_owned()),
    })
}

fn text<'a>(object: &'a Value, name: &str) -> Result<&'a str, String> {
    let text = object.get(name).and_then(Value::as_str);
    text.ok_or_else(|| format!("a name without `{name}`"))
}
