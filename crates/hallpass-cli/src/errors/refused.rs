//! A gRPC status with its details, in words.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hallpass_proto::code_name;
use serde::Serialize;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::step::{Step, how_to_log_in};
use crate::durations;
use crate::exit::Exit;
use crate::output::clean::clean;
use crate::output::words;

/// What the server said no to, and why.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refused {
    #[serde(skip)]
    pub(crate) code: &'static str,
    #[serde(skip)]
    pub(crate) exit: Exit,
    #[serde(skip)]
    pub(crate) next: Vec<Step>,
    #[serde(skip)]
    message: String,
    reason: Option<String>,
    metadata: BTreeMap<String, String>,
    fields: Vec<Field>,
    violations: Vec<Violation>,
    resource: Option<String>,
    retry_after_seconds: Option<f64>,
}

/// A field that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Field {
    field: String,
    description: String,
}

/// A condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Violation {
    r#type: String,
    subject: String,
    description: String,
}

impl Refused {
    /// Whether the state of the resource forbids it.
    pub(crate) fn is_precondition(&self) -> bool {
        self.code == code_name(Code::FailedPrecondition)
    }

    /// Whether the identity provider has to sign the decision first.
    pub(crate) fn wants_signature(&self) -> bool {
        self.is_precondition() && self.violations.iter().any(|v| v.r#type == "EVIDENCE")
    }

    /// The request that a condition is about.
    fn subject(&self) -> Option<String> {
        let mut subjects = self.violations.iter().map(|v| v.subject.as_str());
        let id = subjects.find_map(|s| s.strip_prefix("accessRequests/"))?;
        Some(clean(id))
    }

    /// Says what the request is instead, which hallpass tells by names of its own.
    pub(crate) fn restate(&mut self, message: String) {
        for violation in &mut self.violations {
            if violation.description == self.message {
                violation.description.clone_from(&message);
            }
        }
        self.message = message;
    }

    /// Whether it does not exist, as far as the caller may know.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code == code_name(Code::NotFound)
    }

    /// Whether the server may have taken the order before it failed.
    pub(crate) fn leaves_doubt(&self) -> bool {
        let doubtful = [
            Code::Cancelled,
            Code::Unknown,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::Internal,
            Code::Unavailable,
        ];
        doubtful.iter().any(|code| self.code == code_name(*code))
    }

    /// Whether the token was refused.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        self.code == code_name(Code::Unauthenticated)
    }

    /// What is wrong for people; the only wrong field by the option that sets it.
    pub(super) fn human_message(&self) -> String {
        match self.only_field() {
            Some(Field { field, description }) => {
                let option = option_of(field);
                format!("{} {description}", option.as_deref().unwrap_or(field))
            }
            None => self.to_string(),
        }
    }

    /// The field that the message is about, when the message says nothing else.
    fn only_field(&self) -> Option<&Field> {
        match self.fields.as_slice() {
            [only] if self.message == format!("{} {}", only.field, only.description) => Some(only),
            _ => None,
        }
    }

    /// The details for people, one per line, without those that the message has told.
    pub(super) fn human_details(&self) -> String {
        let mut lines = Vec::new();
        if self.only_field().is_none() {
            for Field { field, description } in &self.fields {
                let name = option_of(field).unwrap_or_else(|| words::spoken(field));
                lines.push(format!("{name}: {description}"));
            }
        }
        for v in &self.violations {
            if v.description != self.message {
                lines.push(v.description.clone());
            }
        }
        for (key, value) in self.metadata.iter().filter(|(_, v)| !v.is_empty()) {
            match key.as_str() {
                // What programs join with; the policies' names say more to people.
                "policy_digest" => {}
                "policy_ids" => lines.push(format!("policies: {}", value.replace(',', ", "))),
                "gate" | "why" => lines.push(format!("{key}: {}", words::spoken(value))),
                _ => lines.push(format!("{}: {value}", words::spoken(key))),
            }
        }
        lines
            .iter()
            .map(|line| format!("  {}\n", clean(line)))
            .collect()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.resource {
            Some(resource) if !self.message.contains(resource) => write!(f, " ({resource})"),
            _ => Ok(()),
        }
    }
}

impl From<&tonic::Status> for Refused {
    fn from(status: &tonic::Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let mut refused = Self {
            code: code_name(status.code()),
            exit: Exit::Error,
            next: Vec::new(),
            message: message_of(status),
            reason: info.map(|i| i.reason.clone()).filter(|r| !r.is_empty()),
            metadata: info
                .map(|i| i.metadata.clone().into_iter().collect())
                .unwrap_or_default(),
            fields: details
                .bad_request()
                .map(|b| b.field_violations.iter().map(field).collect())
                .unwrap_or_default(),
            violations: details
                .precondition_failure()
                .map(|p| p.violations.iter().map(violation).collect())
                .unwrap_or_default(),
            resource: details
                .resource_info()
                .map(|r| r.resource_name.clone())
                .filter(|name| !name.is_empty()),
            retry_after_seconds: details
                .retry_info()
                .and_then(|r| r.retry_delay)
                .map(|d| d.as_secs_f64()),
        };
        let resource = refused.resource.as_deref().unwrap_or_default();
        refused.exit = exit_of(status.code(), resource);
        refused.next = next_steps(status.code(), &refused);
        refused
    }
}

fn field(v: &tonic_types::FieldViolation) -> Field {
    Field {
        field: v.field.clone(),
        description: v.description.clone(),
    }
}

fn violation(v: &tonic_types::PreconditionViolation) -> Violation {
    Violation {
        r#type: v.r#type.clone(),
        subject: v.subject.clone(),
        description: v.description.clone(),
    }
}

fn message_of(status: &tonic::Status) -> String {
    match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => "timed out: no answer from hallpass".to_owned(),
        code if status.message().is_empty() => code.description().to_owned(),
        _ => status.message().to_owned(),
    }
}

fn exit_of(code: Code, resource: &str) -> Exit {
    match code {
        Code::PermissionDenied => Exit::Denied,
        Code::Unauthenticated => Exit::NotLoggedIn,
        // A value on the command line; a request's id may be right and hidden.
        Code::InvalidArgument => Exit::Usage,
        Code::NotFound if resource.starts_with("entitlements/") => Exit::Usage,
        // A deadline that passes inside tonic comes back as CANCELLED.
        Code::DeadlineExceeded | Code::Cancelled => Exit::TimedOut,
        _ => Exit::Error,
    }
}

fn next_steps(code: Code, refused: &Refused) -> Vec<Step> {
    let resource = refused.resource.as_deref().unwrap_or_default();
    let step = match (code, refused.reason.as_deref()) {
        (Code::Unauthenticated, _) => return how_to_log_in(),
        (Code::InvalidArgument, Some("REQUEST_ID_REUSED")) => {
            Step::say("leave --request-id out, or repeat exactly the command that used it first")
        }
        (Code::NotFound, _) if resource.starts_with("entitlements/") => {
            Step::why("what you may ask for", "hallpass entitlements")
        }
        (Code::NotFound, _) => Step::why(
            "your requests; others' may be hidden from you",
            "hallpass ls",
        ),
        (Code::FailedPrecondition, _) => match refused.subject() {
            Some(id) => Step::why("where it stands", format!("hallpass show {id}")),
            None => return Vec::new(),
        },
        (Code::ResourceExhausted, _) => match refused.retry_after_seconds {
            Some(s) => {
                let wait = Duration::try_from_secs_f64(s).unwrap_or_default();
                Step::say(format!("wait {}", durations::measured(wait)))
            }
            None => Step::say("wait a little"),
        },
        (Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled, _) => {
            Step::say("repeat the command; it does nothing twice if you give the same --request-id")
        }
        (Code::Internal | Code::Unknown, _) => {
            Step::say("tell your administrators, with the incident id if there is one")
        }
        (Code::Unimplemented, _) => Step::say("this server is older than this client"),
        _ => return Vec::new(),
    };
    vec![step]
}

/// The option that sets a field of the contract.
fn flag_of(field: &str) -> Option<&'static str> {
    match field {
        "access_request.duration" => Some("--for"),
        "access_request.reason" | "reason" => Some("-m"),
        "access_request.ticket" => Some("--ticket"),
        "access_request.start_time" => Some("--at"),
        "access_request.entitlement" => Some("ENTITLEMENT"),
        "access_request.break_glass" => Some("--break-glass"),
        "at_most" => Some("--for"),
        "extend_by" => Some("--by"),
        "request_id" => Some("--request-id"),
        "name" => Some("ID"),
        _ => None,
    }
}

/// As [`flag_of`], with the name where the option takes several.
fn option_of(field: &str) -> Option<String> {
    match field.strip_prefix("access_request.parameters") {
        Some(name) => Some(
            format!("--param {}", name.trim_start_matches('.'))
                .trim()
                .to_owned(),
        ),
        None => flag_of(field).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::CliError;
    use tonic_types::ErrorDetails;

    fn error(code: Code, message: &str, details: ErrorDetails) -> CliError {
        tonic::Status::with_error_details(code, message, details).into()
    }

    #[test]
    fn a_bad_field_names_the_option_that_sets_it() {
        let mut details = ErrorDetails::new();
        details
            .add_bad_request_violation("access_request.duration", "at most 2h for prod-db")
            .add_bad_request_violation("access_request.reason", "must not be\u{1b}[2J empty");
        let error = error(Code::InvalidArgument, "the request is not valid", details);
        assert_eq!(error.exit(), Exit::Usage);
        insta::assert_snapshot!(error.human(), @"
        error: the request is not valid
          --for: at most 2h for prod-db
          -m: must not be[2J empty
        ");
    }

    #[test]
    fn the_only_bad_field_is_told_once_by_its_option() {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("access_request.duration", "must be at most 4h");
        let message = "access_request.duration must be at most 4h";
        let text = error(Code::InvalidArgument, message, details).human();
        assert_eq!(text, "error: --for must be at most 4h\n");
    }

    #[test]
    fn an_unknown_entitlement_leads_to_the_list() {
        let details =
            ErrorDetails::with_resource_info("hallpass.v1.Entitlement", "entitlements/x", "", "");
        insta::assert_snapshot!(error(Code::NotFound, "no such entitlement", details).human(), @"
        error: no such entitlement (entitlements/x)
          next: what you may ask for: hallpass entitlements
        ");
    }

    #[test]
    fn a_denial_by_policy_has_its_own_exit_and_words() {
        let details = ErrorDetails::with_error_info(
            "POLICY_DENIED",
            "hallpass",
            [(
                "why".to_owned(),
                "nobody approves their own request".to_owned(),
            )],
        );
        let error = error(Code::PermissionDenied, "policy says no", details);
        assert_eq!(error.exit(), Exit::Denied);
        insta::assert_snapshot!(error.human(), @"
        error: policy says no
          why: nobody approves their own request
        ");
        insta::assert_snapshot!(error.json(), @r#"{"error":{"code":"PERMISSION_DENIED","exitCode":2,"message":"policy says no","next":[],"reason":"POLICY_DENIED","metadata":{"why":"nobody approves their own request"},"fields":[],"violations":[],"resource":null,"retryAfterSeconds":null}}"#);
    }

    #[test]
    fn both_kinds_of_deadline_are_timeouts() {
        for status in [
            tonic::Status::cancelled("Timeout expired"),
            tonic::Status::deadline_exceeded("late"),
        ] {
            assert_eq!(CliError::from(status).exit(), Exit::TimedOut);
        }
    }

    #[test]
    fn too_quick_says_how_long_to_wait() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(1_500)));
        let text = error(Code::ResourceExhausted, "too many requests", details).human();
        assert!(text.contains("next: wait 1.5 s"), "{text}");
    }
}
