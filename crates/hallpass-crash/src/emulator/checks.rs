//! The checks that gate an emulator: each is refused what AWS refuses, and allowed what it allows.

mod rights;
mod sessions;

use std::fmt;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hallpass_aws::SignedAnswer;
use jiff::{SignedDuration, Timestamp};

use super::Place;
use super::place::{document, said, says};

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    what: &'static str,
    wanted: &'static str,
    got: String,
    holds: bool,
}

impl Observation {
    /// A call that AWS would allow, or refuse for want of permission.
    pub(super) fn of(what: &'static str, allowed: bool, answer: &SignedAnswer) -> Self {
        let refused = matches!(answer.status, 400 | 403);
        Self {
            what,
            wanted: if allowed { "allowed" } else { "refused" },
            got: said(answer),
            holds: if allowed {
                answer.status < 300
            } else {
                refused
            },
        }
    }

    fn that(what: &'static str, holds: bool, got: String) -> Self {
        Self {
            what,
            wanted: "as AWS has it",
            got,
            holds,
        }
    }

    /// Whether the emulator did as AWS does.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.holds
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: want {}, got {}", self.what, self.wanted, self.got)
    }
}

type Seen = anyhow::Result<Vec<Observation>>;

/// A check.
pub struct Check {
    /// Its number in the table of emulators.
    pub id: &'static str,
    /// What it says about AWS.
    pub says: &'static str,
    /// Whether the ends of access lean on it.
    pub ends: bool,
    pub(super) look: fn(Place) -> BoxFuture<'static, Seen>,
}

macro_rules! check {
    ($id:literal, $says:literal, $ends:literal, $look:path) => {
        Check {
            id: $id,
            says: $says,
            ends: $ends,
            look: |place| async move { $look(&place).await }.boxed(),
        }
    };
}

/// Every check, the gating ones of the table.
pub const CHECKS: &[Check] = &[
    check!(
        "B01",
        "AssumeRole answers a session of the role",
        false,
        sessions::shape
    ),
    check!(
        "B02",
        "a role is assumed only by whom it trusts",
        false,
        sessions::trust
    ),
    check!(
        "B05",
        "the external id must be the right one",
        false,
        sessions::external_id
    ),
    check!(
        "B06",
        "conditions of the trust policy are kept",
        false,
        sessions::trust_conditions
    ),
    check!(
        "B09",
        "key, secret and token are verified",
        false,
        sessions::verified
    ),
    check!(
        "B16",
        "a live session loses what its role loses",
        true,
        sessions::live
    ),
    check!(
        "B17",
        "a deny by issue time spares later sessions",
        true,
        sessions::issue_time
    ),
    check!(
        "C01",
        "without a policy nothing is allowed",
        false,
        rights::nothing
    ),
    check!("C02", "resources are told apart", false, rights::resources),
    check!(
        "C03",
        "a deny wins over every allow",
        true,
        rights::deny_wins
    ),
    check!(
        "C04",
        "a session policy narrows and cannot widen",
        true,
        rights::session_policy
    ),
    check!(
        "C06",
        "a permissions boundary narrows",
        false,
        rights::boundary
    ),
    check!(
        "C07",
        "a date condition turns under a live session",
        true,
        rights::date
    ),
    check!("C08", "aws:userid names one session", true, rights::userid),
    check!(
        "C09",
        "session tags are seen by conditions",
        false,
        rights::session_tags
    ),
    check!(
        "C12",
        "NotAction, Null and IfExists are understood",
        false,
        rights::operators
    ),
    check!(
        "C13",
        "a bucket policy's deny wins",
        false,
        rights::bucket_policy
    ),
    check!("C14", "a refusal is AccessDenied", true, rights::refusal),
    check!(
        "C16",
        "tags of CreateRole are seen by conditions",
        false,
        rights::request_tags
    ),
    check!(
        "C17",
        "actions have AWS's names",
        false,
        rights::action_names
    ),
];

/// A document of one statement.
fn statement(effect: &str, action: &str, resource: &str, more: &str) -> String {
    document(&[says(effect, action, resource, more)])
}

fn deny(more: &str) -> String {
    statement("Deny", "*", "*", more)
}

/// So many seconds from now, as IAM writes an instant.
fn aws_time(seconds: i64) -> String {
    let at = Timestamp::now() + SignedDuration::from_secs(seconds);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A condition to be put behind a statement's other parts.
fn condition(operator: &str, key: &str, value: &str) -> String {
    format!(r#","Condition":{{"{operator}":{{"{key}":"{value}"}}}}"#)
}

async fn until(instant: Timestamp) {
    let left = instant.duration_since(Timestamp::now());
    tokio::time::sleep(std::time::Duration::try_from(left).unwrap_or_default()).await;
}
