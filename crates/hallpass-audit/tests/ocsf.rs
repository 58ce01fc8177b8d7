//! Events against the published schema: `tests/ocsf/*-1.5.0.json` is OCSF 1.5.0 with the cloud
//! profile, as the `ocsf-json-schema` package of OCSF's schema writes it, without titles.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::path::Path;

use hallpass_audit::{ocsf, read_history};
use serde_json::{Value, json};

fn schema(class: &Value) -> Value {
    let text = match class.as_u64() {
        Some(3003) => include_str!("ocsf/authorize_session-1.5.0.json"),
        Some(3005) => include_str!("ocsf/user_access-1.5.0.json"),
        other => panic!("no schema of class {other:?}"),
    };
    serde_json::from_str(text).unwrap()
}

/// The part of JSON Schema that these schemas use; returns what is wrong.
fn validate(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let rules = schema.as_object().expect("a schema");
    for (rule, says) in rules {
        let ok = match rule.as_str() {
            "$ref" => {
                let pointer = says.as_str().unwrap().trim_start_matches('#');
                wrong.extend(validate(root, root.pointer(pointer).unwrap(), value, at));
                true
            }
            "type" => is_a(says.as_str().unwrap(), value),
            "const" => says == value,
            "enum" => says.as_array().unwrap().contains(value),
            "required" => {
                let names = says.as_array().unwrap().iter();
                names.clone().all(|n| !value[n.as_str().unwrap()].is_null())
            }
            "properties" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    match says.get(name) {
                        Some(s) => {
                            wrong.extend(validate(root, s, inner, &format!("{at}/{name}")));
                        }
                        None => wrong.push(format!("{at}/{name} is not in the schema")),
                    }
                }
                true
            }
            "additionalProperties" => *says == json!(false),
            "items" => {
                for inner in value.as_array().into_iter().flatten() {
                    wrong.extend(validate(root, says, inner, &format!("{at}[]")));
                }
                true
            }
            "anyOf" => {
                let any = says.as_array().unwrap().iter();
                any.clone().any(|s| validate(root, s, value, at).is_empty())
            }
            "oneOf" => {
                let one = says.as_array().unwrap().iter();
                one.filter(|s| validate(root, s, value, at).is_empty())
                    .count()
                    == 1
            }
            "minimum" => value.as_f64() >= says.as_f64(),
            "maximum" => value.as_f64() <= says.as_f64(),
            "maxLength" => value.as_str().unwrap().len() as u64 <= says.as_u64().unwrap(),
            "$schema" | "$id" | "$defs" | "deprecated" | "pattern" => true,
            other => panic!("the schema has a rule `{other}` that this test does not know"),
        };
        if !ok {
            wrong.push(format!("{at} breaks {rule}: {value}"));
        }
    }
    wrong
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("the schema has a type `{other}`"),
    }
}

fn recorded() -> Vec<(String, Vec<Value>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/histories");
    let mut found = Vec::new();
    for version in std::fs::read_dir(folder).unwrap() {
        for file in std::fs::read_dir(version.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let history = read_history(&std::fs::read(&path).unwrap()).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            found.push((name, ocsf::events(&history)));
        }
    }
    found
}

#[test]
fn every_event_is_valid_ocsf() {
    let mut count = 0;
    for (name, events) in recorded() {
        for event in events {
            let schema = schema(&event["class_uid"]);
            let wrong = validate(&schema, &schema, &event, "");
            assert!(wrong.is_empty(), "{name}: {wrong:#?}\n{event:#}");
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn what_was_given_is_taken_back_and_sessions_are_told() {
    let of = |events: &[Value], class: u32, activity: u32| {
        let same = |e: &&Value| e["class_uid"] == class && e["activity_id"] == activity;
        events.iter().filter(same).count()
    };
    for (name, events) in recorded() {
        let (given, taken) = (of(&events, 3005, 1), of(&events, 3005, 2));
        assert_eq!(given, taken, "{name}");
        let opened = [
            "expired-assume",
            "expired-create",
            "extended",
            "returned",
            "revoked",
        ];
        if opened.contains(&name.as_str()) {
            assert_eq!(given, 1, "{name}");
            assert!(of(&events, 3003, 1) > 0, "{name}");
        }
    }
}

#[test]
fn an_event_that_lacks_a_field_or_has_a_foreign_one_is_not_valid() {
    let (_, events) = recorded().into_iter().find(|(_, e)| !e.is_empty()).unwrap();
    let schema = schema(&events[0]["class_uid"]);
    let mut lacking = events[0].clone();
    lacking.as_object_mut().unwrap().remove("user");
    assert!(!validate(&schema, &schema, &lacking, "").is_empty());
    let mut foreign = events[0].clone();
    foreign["who"] = json!("x");
    assert!(!validate(&schema, &schema, &foreign, "").is_empty());
}
