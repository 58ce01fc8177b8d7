//! Mistakes that hallpass could make, each with the invariant that must notice it.

use crate::invariants::Invariant;
use crate::scope::{Mode, Orders, Plan, Scope};
use crate::world::Faults;

/// A mistake in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// Policies carry no date.
    NoFence,
    /// The end is worked out anew at each call instead of once, before the first.
    EndNotFixed,
    /// The requester's own approval counts.
    OwnDecisionCounts,
    /// An approval of another request counts.
    ForeignDecisionCounts,
    /// One approver who is heard twice counts twice.
    DuplicateCounts,
    /// What undoes the making of a role is set up only once it was made.
    CompensationAfterCall,
    /// Ending stops after two failures.
    GivesUp,
    /// Nobody looks for what the histories cannot see.
    NoSweep,
    /// A role under our name is taken for ours.
    AdoptsForeignRole,
    /// Each attempt to make a role takes a name of its own.
    FreshName,
    /// The same request asked twice starts twice.
    AskedAgainStartsAgain,
    /// The deny is believed as soon as it is written.
    EndedWithoutProof,
    /// A created role is deleted, and believed to be over, before its sessions are refused.
    BelievesTheDeletion,
    /// The fence is believed as soon as our clock says so.
    TrustsOwnClock,
    /// The deny on a shared role is lifted without a margin.
    LiftsDenyTooEarly,
    /// An approval after a no opens the request again.
    ReopensAfterNo,
    /// Sessions are still ordered once access is to end.
    IssuesWhileEnding,
    /// AWS is called before the history says so.
    ActsBeforeRecord,
    /// An order to end access is carried out without a record.
    ForgetsToRecord,
    /// A later end is taken although the gates are shut.
    ExtendsUnasked,
    /// The cut denies the whole role.
    CutsWholeRole,
}

impl Mutant {
    /// Every mistake.
    pub const ALL: [Self; 21] = [
        Self::NoFence,
        Self::EndNotFixed,
        Self::OwnDecisionCounts,
        Self::ForeignDecisionCounts,
        Self::DuplicateCounts,
        Self::CompensationAfterCall,
        Self::GivesUp,
        Self::NoSweep,
        Self::AdoptsForeignRole,
        Self::FreshName,
        Self::AskedAgainStartsAgain,
        Self::EndedWithoutProof,
        Self::BelievesTheDeletion,
        Self::TrustsOwnClock,
        Self::LiftsDenyTooEarly,
        Self::ReopensAfterNo,
        Self::IssuesWhileEnding,
        Self::ActsBeforeRecord,
        Self::ForgetsToRecord,
        Self::ExtendsUnasked,
        Self::CutsWholeRole,
    ];

    /// The invariant that it breaks.
    pub const fn breaks(self) -> Invariant {
        match self {
            Self::NoFence => Invariant::NothingAfterTheEnd,
            Self::OwnDecisionCounts | Self::ForeignDecisionCounts | Self::DuplicateCounts => {
                Invariant::ApprovedFirst
            }
            Self::CompensationAfterCall | Self::GivesUp | Self::NoSweep => Invariant::TakenAway,
            Self::AdoptsForeignRole => Invariant::ForeignRolesUntouched,
            Self::FreshName | Self::AskedAgainStartsAgain => Invariant::OneGrantForOneKey,
            Self::EndedWithoutProof
            | Self::BelievesTheDeletion
            | Self::TrustsOwnClock
            | Self::LiftsDenyTooEarly => Invariant::ClosedMeansNothingWorks,
            Self::ReopensAfterNo | Self::IssuesWhileEnding => Invariant::NoIsFinal,
            Self::ActsBeforeRecord | Self::ForgetsToRecord => Invariant::EverythingRecorded,
            Self::EndNotFixed | Self::ExtendsUnasked => Invariant::NoLaterEndUnasked,
            Self::CutsWholeRole => Invariant::BystandersKeepWorking,
        }
    }

    /// The smallest world in which it shows. The code without it must hold there.
    pub fn scope(self) -> Scope {
        let orders = match self {
            Self::OwnDecisionCounts => Orders::OWN.and(Orders::ISSUE),
            Self::ForeignDecisionCounts => Orders::FOREIGN.and(Orders::ISSUE),
            Self::DuplicateCounts => Orders::APPROVE.and(Orders::ISSUE),
            Self::AskedAgainStartsAgain => Orders::ASK_AGAIN.and(Orders::ISSUE),
            Self::ReopensAfterNo => Orders::DENY.and(Orders::APPROVE),
            Self::ExtendsUnasked => Orders::EXTEND_REFUSED.and(Orders::ISSUE),
            Self::NoFence => Orders::ISSUE,
            _ => Orders::ISSUE.and(Orders::REVOKE),
        };
        let needed = match self {
            Self::DuplicateCounts => 2,
            Self::OwnDecisionCounts | Self::ForeignDecisionCounts | Self::ReopensAfterNo => 1,
            _ => 0,
        };
        let mode = match self {
            Self::CompensationAfterCall
            | Self::GivesUp
            | Self::NoSweep
            | Self::AdoptsForeignRole
            | Self::FreshName
            | Self::BelievesTheDeletion
            | Self::ActsBeforeRecord => Mode::Create,
            _ => Mode::Assume,
        };
        let plan = Plan {
            mode,
            needed,
            orders,
        };
        let plans = match self {
            Self::CutsWholeRole => vec![plan; 2],
            _ => vec![plan],
        };
        Scope {
            horizon: 2,
            faults: Faults {
                // Without a sweep a late call would leave something whatever the code does.
                slow_calls: u8::from(self != Self::CompensationAfterCall),
                at_most: u8::from(self != Self::CutsWholeRole),
                ..Faults::one_of_each()
            },
            refusals: self == Self::CompensationAfterCall,
            foreign_role: self == Self::AdoptsForeignRole,
            sweep: !matches!(self, Self::CompensationAfterCall),
            ..Scope::of(plans)
        }
    }
}
