//! A first look at IAM policy documents: enough to refuse what AWS would refuse on sight.

use serde_json::Value;

/// Checks that `text` is a policy document: an object with the current `Version` and statements.
pub(crate) fn check(text: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("is not JSON: {e}"))?;
    let Value::Object(document) = value else {
        return Err("must be an IAM policy document (a JSON object)".to_owned());
    };
    if let Some(key) = document
        .keys()
        .find(|k| !["Version", "Id", "Statement"].contains(&k.as_str()))
    {
        return Err(format!("has an unknown element {key:?}"));
    }
    // Without this version IAM takes policy variables for plain text.
    if document.get("Version").and_then(Value::as_str) != Some("2012-10-17") {
        return Err("must have \"Version\": \"2012-10-17\"".to_owned());
    }
    match document.get("Statement") {
        Some(one @ Value::Object(_)) => statement(one)?,
        Some(Value::Array(all)) if !all.is_empty() => {
            all.iter().try_for_each(statement)?;
        }
        _ => return Err("must have a Statement (an object or a list of them)".to_owned()),
    }
    Ok(text.trim().to_owned())
}

fn statement(value: &Value) -> Result<(), String> {
    let Value::Object(statement) = value else {
        return Err("has a Statement that is not an object".to_owned());
    };
    let effect = statement.get("Effect").and_then(Value::as_str);
    if !matches!(effect, Some("Allow" | "Deny")) {
        return Err("has a Statement whose Effect is neither Allow nor Deny".to_owned());
    }
    for (one, other) in [("Action", "NotAction"), ("Resource", "NotResource")] {
        if statement.contains_key(one) == statement.contains_key(other) {
            return Err(format!(
                "has a Statement without exactly one of {one} and {other}"
            ));
        }
    }
    // Identity and session policies name no principal; IAM refuses one that does.
    if statement.contains_key("Principal") || statement.contains_key("NotPrincipal") {
        return Err("has a Statement with a Principal".to_owned());
    }
    Ok(())
}
