//! What single statements of a permission document give away.

use hallpass_types::Entitlement;
use serde_json::{Map, Value};

use super::Report;

/// Actions that change what a role may do or who may use it, on roles themselves.
const ROLE_WRITES: &[&str] = &[
    "iam:attachrolepolicy",
    "iam:createrole",
    "iam:deleterole",
    "iam:deleterolepermissionsboundary",
    "iam:deleterolepolicy",
    "iam:detachrolepolicy",
    "iam:putrolepermissionsboundary",
    "iam:putrolepolicy",
    "iam:updateassumerolepolicy",
];

/// Actions that make permissions or keys which outlive the session that used them.
const ESCALATIONS: &[&str] = &[
    "cloudformation:createstack",
    "cloudformation:updatestack",
    "codebuild:startbuild",
    "ec2:associateiaminstanceprofile",
    "ec2:runinstances",
    "glue:createdevendpoint",
    "iam:addusertogroup",
    "iam:attachgrouppolicy",
    "iam:attachuserpolicy",
    "iam:createaccesskey",
    "iam:createloginprofile",
    "iam:createpolicyversion",
    "iam:createuser",
    "iam:putgrouppolicy",
    "iam:putuserpolicy",
    "iam:setdefaultpolicyversion",
    "iam:updateloginprofile",
    "lambda:createfunction",
    "lambda:updatefunctioncode",
    "sagemaker:createnotebookinstance",
    "ssm:sendcommand",
    "sts:assumerole",
];

/// Conditions that tie a call to a place or an organization.
const PLACES: &[&str] = &[
    "aws:principalorgid",
    "aws:sourceip",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:vpcsourceip",
];

/// A risk from which a call should be tied to a place.
const RISK_OF_PLACES: u8 = 3;

/// Looks at every statement that allows something.
pub(super) fn look(document: &str, entitlement: &Entitlement, report: &mut Report<'_>) {
    let Ok(Value::Object(document)) = serde_json::from_str(document) else {
        return;
    };
    let all: Vec<Allow> = match document.get("Statement") {
        Some(Value::Array(items)) => items.iter().filter_map(Allow::read).collect(),
        Some(one) => Allow::read(one).into_iter().collect(),
        None => Vec::new(),
    };
    for statement in &all {
        statement.look(report);
    }
    let tied = |s: &Allow| {
        s.conditions
            .iter()
            .any(|key| PLACES.contains(&key.as_str()))
    };
    let tied_as_a_whole = !entitlement.conditions.is_empty();
    if entitlement.risk.level() >= RISK_OF_PLACES && !tied_as_a_whole && !all.iter().all(tied) {
        let what = "risk 3, and from any network".to_owned();
        report.document("open-network", what);
    }
}

/// A statement with the effect Allow, in lower case where AWS ignores case.
struct Allow {
    actions: Vec<String>,
    resources: Vec<String>,
    conditions: Vec<String>,
    not_action: bool,
    not_resource: bool,
}

impl Allow {
    fn read(value: &Value) -> Option<Self> {
        let statement = value.as_object()?;
        if statement.get("Effect").and_then(Value::as_str) != Some("Allow") {
            return None;
        }
        let conditions = statement.get("Condition").and_then(Value::as_object);
        let operators = conditions.into_iter().flat_map(Map::values);
        let keys = operators.filter_map(Value::as_object).flat_map(Map::keys);
        Some(Self {
            actions: texts(statement.get("Action"))
                .map(str::to_ascii_lowercase)
                .collect(),
            resources: texts(statement.get("Resource"))
                .map(str::to_owned)
                .collect(),
            conditions: keys.map(|key| key.to_ascii_lowercase()).collect(),
            not_action: statement.contains_key("NotAction"),
            not_resource: statement.contains_key("NotResource"),
        })
    }

    fn look(&self, report: &mut Report<'_>) {
        if self.not_action {
            report.document("not-action", "a statement allows by NotAction".to_owned());
        }
        if self.not_resource {
            report.document(
                "not-resource",
                "a statement allows by NotResource".to_owned(),
            );
        }
        for action in &self.actions {
            self.look_at_action(action, report);
        }
        let changes = |action: &&String| !is_look(action);
        if self.resources.iter().any(|r| is_everything(r))
            && let Some(action) = self.actions.iter().find(changes)
        {
            let what = format!("{action} on every resource");
            report.document("wildcard-resource", what);
        }
    }

    fn look_at_action(&self, action: &str, report: &mut Report<'_>) {
        match action.split_once(':') {
            None => return report.document("every-action", format!("allows {action}")),
            Some((service, _)) if service.contains(['*', '?']) => {
                return report.document("every-action", format!("allows {action}"));
            }
            Some((_, "*")) => report.document("wildcard-action", format!("allows {action}")),
            Some(_) => {}
        }
        let on_roles = self.not_resource || self.resources.iter().any(|r| may_be_role(r));
        if on_roles && let Some(write) = ROLE_WRITES.iter().find(|w| matches(action, w)) {
            let what = format!("{action} allows {write} on roles");
            report.document("ends-fence", what);
        }
        if matches(action, "iam:passrole") {
            let wide = self.not_resource || self.resources.iter().any(|r| r.contains('*'));
            if wide || !self.conditions.iter().any(|c| c == "iam:passedtoservice") {
                report.document("pass-role", format!("{action} passes roles too freely"));
            }
        }
        if let Some(escalation) = ESCALATIONS.iter().find(|e| matches(action, e)) {
            let what = format!("{action} allows {escalation}");
            report.document("escalation", what);
        }
    }
}

fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let many = value.and_then(Value::as_array).into_iter().flatten();
    many.chain(value).filter_map(Value::as_str)
}

/// Whether an action only looks at things that many services can show only as a whole.
fn is_look(action: &str) -> bool {
    let name = action.split_once(':').map_or("", |(_, name)| name);
    name.starts_with("describe") || name.starts_with("list")
}

/// `*`, and ARNs whose account and name are open.
fn is_everything(resource: &str) -> bool {
    resource == "*"
        || resource
            .strip_prefix("arn:")
            .is_some_and(|rest| rest.split(':').skip(1).all(|part| part == "*"))
        || resource.ends_with(":::*")
}

/// Whether the pattern can match a role's ARN.
fn may_be_role(resource: &str) -> bool {
    let head = resource.split(['*', '?']).next().unwrap_or_default();
    let role = "arn:aws:iam::000000000000:role/";
    let service_of_head = head.split(':').nth(2).unwrap_or_default();
    let kind_of_head = head.split(':').nth(5).unwrap_or_default();
    match head.matches(':').count() {
        0..=1 => role.starts_with(head) || head.starts_with("arn:"),
        2..=4 => "iam".starts_with(service_of_head) || service_of_head == "iam",
        _ => {
            service_of_head == "iam"
                && ("role/".starts_with(kind_of_head) || kind_of_head.starts_with("role/"))
        }
    }
}

/// Whether IAM's pattern (`*` and `?`) matches a text; both in lower case.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else {
                    return false;
                };
                star = Some((at, from + 1));
                (p, t) = (at + 1, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, which takes time exponential in the number of stars.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some((b'*', rest)), _) => {
                naive(rest, text) || (!text.is_empty() && naive(pattern, &text[1..]))
            }
            (Some((b'?', rest)), Some((_, tail))) => naive(rest, tail),
            (Some((a, rest)), Some((b, tail))) => a == b && naive(rest, tail),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_match_as_defined(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            prop_assert_eq!(matches(&pattern, &text), naive(pattern.as_bytes(), text.as_bytes()));
        }
    }

    #[test]
    fn which_resources_may_be_roles() {
        for role in [
            "*",
            "arn:aws:iam::*:*",
            "arn:aws:iam::111122223333:role/*",
            "arn:aws:iam::111122223333:role/hallpass/x",
            "arn:aws:iam::111122223333:ro*",
            "arn:*",
        ] {
            assert!(may_be_role(role), "{role}");
        }
        for other in [
            "arn:aws:s3:::bucket/*",
            "arn:aws:iam::111122223333:policy/*",
            "arn:aws:iam::111122223333:user/x",
        ] {
            assert!(!may_be_role(other), "{other}");
        }
    }
}
