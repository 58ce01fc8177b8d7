//! Lints: what a valid bundle should not say, each with a name by which an entitlement may accept it.

mod statements;

use std::collections::BTreeMap;

use hallpass_types::{AccessMode, Entitlement};

use crate::Bundle;
use crate::bundle::{ENTITLEMENTS, Place};
use crate::entitlements::Entry;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Breaks a promise of hallpass: such a bundle is not put in force.
    Error,
    /// Wider than it should be, or likely a mistake.
    Warning,
}

/// One thing that a bundle should not say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file's relative name.
    pub file: String,
    /// Where in it.
    pub place: Place,
    /// How bad it is.
    pub level: Level,
    /// The lint's name, for instance `wildcard-action`.
    pub lint: &'static str,
    /// What was found, for people.
    pub what: String,
    /// What to do about it.
    pub help: &'static str,
}

/// Every lint: its name, its level, and what to do about it.
const LINTS: &[(&str, Level, &str)] = &[
    (
        "ends-fence",
        Level::Error,
        "take out the IAM actions that change roles: whoever has them can lift the fence, the cut \
         and the boundary that end this access",
    ),
    (
        "boundary-bounds-nothing",
        Level::Error,
        "write a boundary that allows what such roles may ever do",
    ),
    (
        "late-stage",
        Level::Error,
        "let the stage come earlier, or make settings.approval_window_seconds longer",
    ),
    (
        "every-action",
        Level::Error,
        "name the services and actions that are needed",
    ),
    ("wildcard-action", Level::Warning, "name the actions"),
    (
        "wildcard-resource",
        Level::Warning,
        "name the resources, or at least account, region and type in the ARN",
    ),
    (
        "not-action",
        Level::Warning,
        "list what is allowed: NotAction also allows what AWS adds tomorrow",
    ),
    (
        "not-resource",
        Level::Warning,
        "list what is allowed: NotResource also allows what is made tomorrow",
    ),
    (
        "pass-role",
        Level::Warning,
        "name the role in Resource and the service in a condition on iam:PassedToService",
    ),
    (
        "escalation",
        Level::Warning,
        "whoever has this action can make permissions that outlive the grant; narrow or drop it",
    ),
    (
        "missing-external-id",
        Level::Warning,
        "set external_id, and ask for it in the role's trust policy (sts:ExternalId)",
    ),
    (
        "whole-role",
        Level::Warning,
        "set assume.session_policy: without one the session has all the role's rights",
    ),
    (
        "shared-role",
        Level::Warning,
        "give each environment a role of its own",
    ),
    (
        "shared-account",
        Level::Warning,
        "give each environment an account of its own, or name it alike everywhere",
    ),
    (
        "open-network",
        Level::Warning,
        "set conditions.source_ips or source_vpces, or add a condition on aws:SourceIp, aws:SourceVpc, \
         aws:SourceVpce or aws:PrincipalOrgID",
    ),
    (
        "private-address",
        Level::Warning,
        "name the public addresses that calls come from; what comes through a VPC endpoint has none: \
         name that in conditions.source_vpces",
    ),
    (
        "long-session",
        Level::Warning,
        "set max_session to 1 h or less, unless hallpassd runs on an IAM user's keys and enters this \
         account without a provisioner role",
    ),
    (
        "few-issues",
        Level::Warning,
        "a session under role chaining lasts at most 1 h: shorten max_duration, raise max_session, \
         or raise settings.max_credential_issues",
    ),
];

/// Longest session under role chaining, in seconds.
const CHAINED_SESSION_SECONDS: u32 = 3600;

/// Whether there is such a lint, and it may be accepted: an error may not.
pub(crate) fn is_acceptable(name: &str) -> bool {
    LINTS
        .iter()
        .any(|(lint, level, _)| *lint == name && *level == Level::Warning)
}

impl Bundle {
    /// What the bundle should not say, by place in the file.
    pub fn lint(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        for entry in self.catalogue.entries.values() {
            let mut report = Report {
                entry,
                found: &mut found,
            };
            self.look_at(entry, &mut report);
        }
        shared(self, &mut found);
        found.sort();
        found
    }

    fn look_at(&self, entry: &Entry, report: &mut Report<'_>) {
        let entitlement = &entry.filled;
        let window = u64::from(self.settings().approval_window_seconds);
        for stage in entry.stages.all() {
            let after = stage.after.as_secs();
            if after >= window {
                let what = format!("a stage after {after} s, but requests lapse after {window} s");
                report.entitlement("late-stage", what);
            }
        }
        let longest = entitlement
            .max_session
            .map_or(CHAINED_SESSION_SECONDS, |s| s.as_seconds());
        if longest > CHAINED_SESSION_SECONDS {
            let what = format!("sessions of {longest} s, which role chaining does not give");
            report.entitlement("long-session", what);
        }
        let ranges = entitlement.conditions.source_ips.iter();
        for range in ranges.filter(|range| range.is_private()) {
            let what = format!("no call over the internet comes from {range}");
            report.entitlement("private-address", what);
        }
        let session = longest.min(CHAINED_SESSION_SECONDS);
        let sessions = entitlement.max_duration.as_seconds().div_ceil(session);
        let issues = self.settings().max_credential_issues;
        if sessions > issues {
            let what =
                format!("the longest grant needs {sessions} sessions, only {issues} are issued");
            report.entitlement("few-issues", what);
        }
        match &entitlement.access {
            AccessMode::Assume { session_policy, .. } => {
                if entitlement.external_id.is_none() {
                    let what = "the role is assumed without an external ID".to_owned();
                    report.entitlement("missing-external-id", what);
                }
                match session_policy {
                    Some(document) => statements::look(document, entitlement, report),
                    None if entitlement.risk.level() >= 2 => {
                        let what = "risk 2 or more, and no session policy".to_owned();
                        report.entitlement("whole-role", what);
                    }
                    None => {}
                }
            }
            AccessMode::Create {
                permissions,
                permissions_boundary,
            } => {
                let boundary = permissions_boundary.as_str();
                if boundary.ends_with(":iam::aws:policy/AdministratorAccess")
                    || boundary.ends_with(":iam::aws:policy/PowerUserAccess")
                {
                    let what = format!("the boundary is {boundary}");
                    report.entitlement("boundary-bounds-nothing", what);
                }
                statements::look(permissions, entitlement, report);
            }
        }
    }
}

/// Takes what is found about one entitlement, but for what it accepts.
struct Report<'a> {
    entry: &'a Entry,
    found: &'a mut Vec<Finding>,
}

impl Report<'_> {
    fn entitlement(&mut self, lint: &'static str, what: String) {
        self.push(lint, self.entry.place, what);
    }

    fn document(&mut self, lint: &'static str, what: String) {
        self.push(lint, self.entry.document, what);
    }

    fn push(&mut self, lint: &'static str, place: Place, what: String) {
        let known = LINTS.iter().find(|(name, ..)| *name == lint);
        if let Some((_, level, help)) = known
            && !self.entry.accepted.contains(lint)
        {
            self.found.push(Finding {
                file: ENTITLEMENTS.to_owned(),
                place,
                level: *level,
                lint,
                what: format!("entitlement {}: {what}", self.entry.filled.id),
                help,
            });
        }
    }
}

/// Roles and accounts under more than one environment.
fn shared(bundle: &Bundle, found: &mut Vec<Finding>) {
    let mut first: BTreeMap<(&str, &str), &Entitlement> = BTreeMap::new();
    for entry in bundle.catalogue.entries.values() {
        let this = &entry.filled;
        let role = match &this.access {
            AccessMode::Assume { role_arn, .. } => Some(("shared-role", role_arn.as_str())),
            AccessMode::Create { .. } => None,
        };
        let mut report = Report { entry, found };
        for (lint, name) in role
            .into_iter()
            .chain([("shared-account", this.account.as_str())])
        {
            let other = first.entry((lint, name)).or_insert(this);
            if other.environment != this.environment {
                let what = format!(
                    "{name} is {} here and {} in {}",
                    this.environment, other.environment, other.id
                );
                report.entitlement(lint, what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_warnings_that_exist_can_be_accepted() {
        assert!(is_acceptable("wildcard-action"));
        assert!(!is_acceptable("ends-fence"));
        assert!(!is_acceptable("wild-card"));
    }
}
