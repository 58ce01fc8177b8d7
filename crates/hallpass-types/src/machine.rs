//! The transition table: the one place that says what may follow what.
//!
//! ```text
//! Checking          --PolicyAllowed-->        AwaitingApproval
//! Checking          --PolicyDenied-->         Denied
//! Checking          --WithdrawOrdered-->      Withdrawn
//! AwaitingApproval  --ApprovalsComplete-->    Provisioning
//! AwaitingApproval  --PolicyDenied-->         Denied
//! AwaitingApproval  --DeniedByPerson-->       Denied
//! AwaitingApproval  --WindowElapsed-->        Lapsed
//! AwaitingApproval  --WithdrawOrdered-->      Withdrawn
//! Provisioning      --Provisioned-->          Active
//! Provisioning      --ProvisioningFailed-->   Ending {Failed}
//! Provisioning      --EndOrdered-->           Ending
//! Active            --Extended-->             Active
//! Active            --EndOrdered-->           Ending
//! Ending            --EndProved-->            Ended, or Failed when provisioning had failed
//! Ending            --NotTakenBack-->         Stuck
//! Stuck             --NotTakenBack-->         Stuck
//! Stuck             --EndProved-->            Ended, or Failed
//! ```
//!
//! A review that is owed is no state: it stays open beside Ended or Failed, where nothing works.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::EndInstant;

/// Why access ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// The end instant came.
    Expired,
    /// The requester gave it back.
    Returned,
    /// An approver or admin took it back.
    Revoked,
    /// It could not be provisioned, and what was made is taken back.
    ProvisioningFailed,
}

/// Who said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeniedBy {
    /// A gate.
    Policy,
    /// An approver.
    Person,
}

/// Something that AWS still holds although access should be over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Leftover {
    /// What: an ARN or a policy name.
    pub what: String,
    /// The error that keeps it there.
    pub error: String,
    /// What a person can do.
    pub cure: String,
}

/// Where an access request stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum State {
    /// Identity and the request gate are being checked.
    Checking,
    /// People are asked.
    AwaitingApproval {
        /// When nobody having answered ends it.
        lapses_at: Timestamp,
    },
    /// Something is being made in AWS; its end is fixed.
    Provisioning {
        /// The end.
        end: EndInstant,
    },
    /// Credentials can be issued.
    Active {
        /// The end.
        end: EndInstant,
    },
    /// Access is being taken back.
    Ending {
        /// The end that the fence holds.
        end: EndInstant,
        /// Why.
        cause: EndCause,
        /// When it was ordered, or came due.
        since: Timestamp,
    },
    /// Something could not be taken back yet. Still retried; a person is wanted.
    Stuck {
        /// The end that the fence holds.
        end: EndInstant,
        /// Why it ends.
        cause: EndCause,
        /// When the end was ordered, or came due.
        since: Timestamp,
        /// What is left.
        leftovers: Vec<Leftover>,
    },
    /// Access is over, with proof.
    Ended {
        /// Why.
        cause: EndCause,
        /// When the end was ordered, or came due.
        since: Timestamp,
        /// When the proof came in.
        proved_at: Timestamp,
    },
    /// Somebody or something said no.
    Denied {
        /// Who.
        by: DeniedBy,
    },
    /// Nobody answered in time.
    Lapsed,
    /// The requester took the question back.
    Withdrawn,
    /// It could not be provisioned; everything made was taken back, with proof.
    Failed {
        /// When the proof came in.
        proved_at: Timestamp,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The request gate is open; people may be asked until `lapses_at`.
    PolicyAllowed {
        /// End of the approval window.
        lapses_at: Timestamp,
    },
    /// A gate is shut for good.
    PolicyDenied,
    /// The activate gate is open; the end is fixed with it.
    ApprovalsComplete {
        /// The end.
        end: EndInstant,
    },
    /// A permitted approver said no.
    DeniedByPerson,
    /// The approval window closed.
    WindowElapsed,
    /// The requester takes the question back.
    WithdrawOrdered,
    /// AWS holds what was asked for.
    Provisioned,
    /// AWS refused for good.
    ProvisioningFailed {
        /// When.
        at: Timestamp,
    },
    /// The gates allowed a later end.
    Extended {
        /// The new end.
        end: EndInstant,
    },
    /// Expiry, return or revoke.
    EndOrdered {
        /// Why.
        cause: EndCause,
        /// When it was ordered, or came due.
        at: Timestamp,
    },
    /// Evidence is in.
    EndProved {
        /// When.
        at: Timestamp,
    },
    /// Taking back failed; what is left.
    NotTakenBack {
        /// What is left.
        leftovers: Vec<Leftover>,
    },
}

/// An event that may not happen in a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event} cannot happen while the request is {phase}")]
pub struct IllegalTransition {
    /// Where the request stands.
    pub phase: Phase,
    /// What was tried.
    pub event: &'static str,
}

impl State {
    /// The state after `event`.
    ///
    /// # Errors
    /// [`IllegalTransition`] when the table has no such row; the state is unchanged then.
    pub fn apply(&self, event: Event) -> Result<State, IllegalTransition> {
        use {Event as E, State as S};
        let illegal = |name| IllegalTransition {
            phase: self.phase(),
            event: name,
        };
        let name = event.name();
        Ok(match (self, event) {
            (S::Checking, E::PolicyAllowed { lapses_at }) => S::AwaitingApproval { lapses_at },
            (S::Checking | S::AwaitingApproval { .. }, E::PolicyDenied) => S::Denied {
                by: DeniedBy::Policy,
            },
            (S::Checking | S::AwaitingApproval { .. }, E::WithdrawOrdered) => S::Withdrawn,
            (S::AwaitingApproval { .. }, E::DeniedByPerson) => S::Denied {
                by: DeniedBy::Person,
            },
            (S::AwaitingApproval { .. }, E::WindowElapsed) => S::Lapsed,
            (S::AwaitingApproval { .. }, E::ApprovalsComplete { end }) => S::Provisioning { end },
            (S::Provisioning { end }, E::Provisioned) => S::Active { end: *end },
            (S::Provisioning { end }, E::ProvisioningFailed { at }) => S::Ending {
                end: *end,
                cause: EndCause::ProvisioningFailed,
                since: at,
            },
            (S::Active { end }, E::Extended { end: later }) if later > *end => {
                S::Active { end: later }
            }
            (S::Provisioning { end } | S::Active { end }, E::EndOrdered { cause, at })
                if cause != EndCause::ProvisioningFailed =>
            {
                S::Ending {
                    end: *end,
                    cause,
                    since: at,
                }
            }
            (
                S::Ending { end, cause, since }
                | S::Stuck {
                    end, cause, since, ..
                },
                E::NotTakenBack { leftovers },
            ) => S::Stuck {
                end: *end,
                cause: *cause,
                since: *since,
                leftovers,
            },
            (
                S::Ending { cause, since, .. } | S::Stuck { cause, since, .. },
                E::EndProved { at },
            ) => match cause {
                EndCause::ProvisioningFailed => S::Failed { proved_at: at },
                _ => S::Ended {
                    cause: *cause,
                    since: *since,
                    proved_at: at,
                },
            },
            _ => return Err(illegal(name)),
        })
    }

    /// The state without its data.
    pub fn phase(&self) -> Phase {
        match self {
            Self::Checking => Phase::Checking,
            Self::AwaitingApproval { .. } => Phase::AwaitingApproval,
            Self::Provisioning { .. } => Phase::Provisioning,
            Self::Active { .. } => Phase::Active,
            Self::Ending { .. } => Phase::Ending,
            Self::Stuck { .. } => Phase::Stuck,
            Self::Ended { .. } => Phase::Ended,
            Self::Denied { .. } => Phase::Denied,
            Self::Lapsed => Phase::Lapsed,
            Self::Withdrawn => Phase::Withdrawn,
            Self::Failed { .. } => Phase::Failed,
        }
    }

    /// The end, once it is fixed and while AWS may still hold something.
    pub fn end(&self) -> Option<EndInstant> {
        match self {
            Self::Provisioning { end }
            | Self::Active { end }
            | Self::Ending { end, .. }
            | Self::Stuck { end, .. } => Some(*end),
            _ => None,
        }
    }

    /// Proof minus the end (or minus the order to end it), once proved.
    pub fn lag(&self) -> Option<std::time::Duration> {
        match self {
            Self::Ended {
                since, proved_at, ..
            } => Some(
                proved_at
                    .duration_since(*since)
                    .try_into()
                    .unwrap_or_default(),
            ),
            _ => None,
        }
    }
}

impl Event {
    /// The event's name, for errors.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PolicyAllowed { .. } => "policy-allowed",
            Self::PolicyDenied => "policy-denied",
            Self::ApprovalsComplete { .. } => "approvals-complete",
            Self::DeniedByPerson => "denied-by-person",
            Self::WindowElapsed => "window-elapsed",
            Self::WithdrawOrdered => "withdraw",
            Self::Provisioned => "provisioned",
            Self::ProvisioningFailed { .. } => "provisioning-failed",
            Self::Extended { .. } => "extend",
            Self::EndOrdered { .. } => "end",
            Self::EndProved { .. } => "end-proved",
            Self::NotTakenBack { .. } => "not-taken-back",
        }
    }
}

/// A state without its data: what lists filter by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the state of the same name")]
pub enum Phase {
    Checking,
    AwaitingApproval,
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
    pub const ALL: [Phase; 11] = [
        Phase::Checking,
        Phase::AwaitingApproval,
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_second(s).unwrap()
    }

    fn states() -> Vec<State> {
        let (end, since, cause) = (EndInstant::from(at(100)), at(50), EndCause::Revoked);
        let failed = EndCause::ProvisioningFailed;
        vec![
            State::Checking,
            State::AwaitingApproval { lapses_at: at(10) },
            State::Provisioning { end },
            State::Active { end },
            State::Ending { end, cause, since },
            State::Ending {
                end,
                cause: failed,
                since,
            },
            State::Stuck {
                end,
                cause,
                since,
                leftovers: vec![],
            },
            State::Stuck {
                end,
                cause: failed,
                since,
                leftovers: vec![],
            },
            State::Ended {
                cause,
                since,
                proved_at: at(60),
            },
            State::Denied {
                by: DeniedBy::Policy,
            },
            State::Denied {
                by: DeniedBy::Person,
            },
            State::Lapsed,
            State::Withdrawn,
            State::Failed { proved_at: at(60) },
        ]
    }

    fn events() -> Vec<Event> {
        vec![
            Event::PolicyAllowed { lapses_at: at(10) },
            Event::PolicyDenied,
            Event::ApprovalsComplete {
                end: at(100).into(),
            },
            Event::DeniedByPerson,
            Event::WindowElapsed,
            Event::WithdrawOrdered,
            Event::Provisioned,
            Event::ProvisioningFailed { at: at(50) },
            Event::Extended {
                end: at(200).into(),
            },
            Event::EndOrdered {
                cause: EndCause::Expired,
                at: at(100),
            },
            Event::EndOrdered {
                cause: EndCause::Returned,
                at: at(50),
            },
            Event::EndOrdered {
                cause: EndCause::Revoked,
                at: at(50),
            },
            Event::EndOrdered {
                cause: EndCause::ProvisioningFailed,
                at: at(50),
            },
            Event::EndProved { at: at(60) },
            Event::NotTakenBack { leftovers: vec![] },
        ]
    }

    /// The whole table, row by row, written apart from the code; all other pairs must be refused.
    #[test]
    fn the_table_is_exactly_this() {
        let mut legal = Vec::new();
        for s in states() {
            for e in events() {
                if let Ok(next) = s.apply(e.clone()) {
                    legal.push(format!("{} --{}--> {}", s.phase(), e.name(), next.phase()));
                }
            }
        }
        legal.sort();
        legal.dedup();
        let mut want = vec![
            "Checking --policy-allowed--> AwaitingApproval",
            "Checking --policy-denied--> Denied",
            "Checking --withdraw--> Withdrawn",
            "AwaitingApproval --approvals-complete--> Provisioning",
            "AwaitingApproval --policy-denied--> Denied",
            "AwaitingApproval --denied-by-person--> Denied",
            "AwaitingApproval --window-elapsed--> Lapsed",
            "AwaitingApproval --withdraw--> Withdrawn",
            "Provisioning --provisioned--> Active",
            "Provisioning --provisioning-failed--> Ending",
            "Provisioning --end--> Ending",
            "Active --extend--> Active",
            "Active --end--> Ending",
            "Ending --end-proved--> Ended",
            "Ending --end-proved--> Failed",
            "Ending --not-taken-back--> Stuck",
            "Stuck --not-taken-back--> Stuck",
            "Stuck --end-proved--> Ended",
            "Stuck --end-proved--> Failed",
        ];
        want.sort_unstable();
        assert_eq!(legal, want);
    }

    #[test]
    fn final_states_accept_nothing_and_hold_no_end() {
        for s in states().into_iter().filter(|s| s.phase().is_final()) {
            assert_eq!(s.end(), None);
            for e in events() {
                assert!(s.apply(e.clone()).is_err(), "{s:?} took {e:?}");
            }
        }
    }

    #[test]
    fn an_extension_never_brings_the_end_nearer() {
        let active = State::Active {
            end: at(100).into(),
        };
        for end in [99, 100] {
            assert!(
                active
                    .apply(Event::Extended {
                        end: at(end).into()
                    })
                    .is_err()
            );
        }
    }

    proptest! {
        /// Whatever happens in whatever order: nothing is active without an allowed request gate and
        /// complete approvals, and nothing says Ended or Failed without a proof.
        #[test]
        fn promises_hold_on_every_walk(walk in proptest::collection::vec(0usize..15, 0..40)) {
            let all = events();
            let mut state = State::Checking;
            let mut seen: Vec<&'static str> = vec![];
            for i in walk {
                if let Ok(next) = state.apply(all[i].clone()) {
                    seen.push(all[i].name());
                    state = next;
                }
            }
            let saw = |n| seen.contains(&n);
            if state.end().is_some() {
                prop_assert!(saw("policy-allowed") && saw("approvals-complete"));
            }
            if matches!(state.phase(), Phase::Ended | Phase::Failed) {
                prop_assert_eq!(seen.last(), Some(&"end-proved"));
            }
            if saw("policy-denied") || saw("denied-by-person") || saw("withdraw") {
                prop_assert!(state.phase().is_final() && !saw("provisioned"));
            }
        }
    }
}
