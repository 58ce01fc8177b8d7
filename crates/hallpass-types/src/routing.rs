//! Who is told and what is owed: what policy routes and histories keep. Nothing here is a right.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Principal, Reason, Sha256Digest};

/// Groups to be told once a request has waited for some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// How long the request has waited by then.
    pub after: Duration,
    /// The groups.
    pub tell: BTreeSet<String>,
}

/// The stages of an entitlement, by time. Whom they tell is no right to approve: that is policy's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stages(Vec<Stage>);

impl Stages {
    /// Stages in the order of their time.
    pub fn new(stages: Vec<Stage>) -> Self {
        Self(stages)
    }

    /// All of them, the earliest first; none means that the owners are told at once.
    pub fn all(&self) -> &[Stage] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every group that has been told by the time a request has waited this long.
    pub fn told<'a>(&'a self, owners: &'a [String], waited: Duration) -> BTreeSet<&'a str> {
        if self.0.is_empty() {
            return owners.iter().map(String::as_str).collect();
        }
        let due = self.0.iter().filter(|stage| stage.after <= waited);
        due.flat_map(|stage| &stage.tell)
            .map(String::as_str)
            .collect()
    }

    /// When the next group is told, counted like `waited` from the start; `None` when all have been.
    pub fn next_after(&self, waited: Duration) -> Option<Duration> {
        let later = self.0.iter().find(|stage| stage.after > waited)?;
        Some(later.after)
    }
}

/// Groups that were asked to decide, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// When.
    pub at: Timestamp,
    /// The groups.
    pub groups: BTreeSet<String>,
}

/// That access opened by way of an exception, and what is owed for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    /// Whether it opened only because its requester broke the glass.
    pub break_glass: bool,
    /// Groups to page at once.
    pub page: BTreeSet<String>,
    /// Groups that are asked to review it.
    pub review: BTreeSet<String>,
}

impl Exception {
    /// Whether somebody must review it afterwards.
    pub fn needs_review(&self) -> bool {
        self.break_glass || !self.review.is_empty()
    }

    /// This one, and what another adds to it.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.break_glass |= other.break_glass;
        self.page.extend(other.page);
        self.review.extend(other.review);
        self
    }
}

/// A review that is owed: it stays open, without any access, until somebody closes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// What opened access.
    pub exception: Exception,
    /// Since when it is owed.
    pub since: Timestamp,
    /// Who closed it; `None` while it is open.
    pub closed: Option<ClosedReview>,
}

impl Review {
    /// Whether nobody has closed it yet.
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }
}

/// How a review was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedReview {
    /// Who.
    pub by: Principal,
    /// What they found.
    pub reason: Reason,
    /// When the service signed it.
    pub signed_at: Timestamp,
    /// Digest of the signed statement.
    pub statement_digest: Sha256Digest,
}
