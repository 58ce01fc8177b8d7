//! Where a request stands, without the details.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A state without its data: what lists filter by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the state of the same name")]
pub enum Phase {
    Checking,
    AwaitingApproval,
    Scheduled,
    Provisioning,
    Active,
    Ending,
    Stuck,
    Ended,
    Denied,
    Lapsed,
    Withdrawn,
    Failed,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Phase; 12] = [
        Phase::Checking,
        Phase::AwaitingApproval,
        Phase::Scheduled,
        Phase::Provisioning,
        Phase::Active,
        Phase::Ending,
        Phase::Stuck,
        Phase::Ended,
        Phase::Denied,
        Phase::Lapsed,
        Phase::Withdrawn,
        Phase::Failed,
    ];

    /// The word in search attributes and filters, for instance `AwaitingApproval`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checking => "Checking",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Scheduled => "Scheduled",
            Self::Provisioning => "Provisioning",
            Self::Active => "Active",
            Self::Ending => "Ending",
            Self::Stuck => "Stuck",
            Self::Ended => "Ended",
            Self::Denied => "Denied",
            Self::Lapsed => "Lapsed",
            Self::Withdrawn => "Withdrawn",
            Self::Failed => "Failed",
        }
    }

    /// The phase of a word in search attributes and filters.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == word)
    }

    /// As people say it, for instance `waiting for approval`.
    pub fn words(self) -> &'static str {
        match self {
            Self::Checking => "being checked",
            Self::AwaitingApproval => "waiting for approval",
            Self::Scheduled => "scheduled",
            Self::Provisioning => "being provisioned",
            Self::Active => "active",
            Self::Ending => "ending",
            Self::Stuck => "stuck",
            Self::Ended => "ended",
            Self::Denied => "denied",
            Self::Lapsed => "lapsed",
            Self::Withdrawn => "withdrawn",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing can follow.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Ended | Self::Denied | Self::Lapsed | Self::Withdrawn | Self::Failed
        )
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
