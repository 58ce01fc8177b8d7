//! What a run of the checker looks at: which requests, which orders, how much may go wrong.

use crate::Mutant;
use crate::world::Faults;

/// Ticks that a grant lasts.
pub(crate) const DURATION: i8 = 2;
/// Ticks that an extension adds.
pub(crate) const EXTENSION: i8 = 1;
/// Ticks that people may take.
pub(crate) const WINDOW: i8 = 2;
/// Ticks that AWS keeps a session: longer than a grant, as its shortest session is.
pub(crate) const SESSION: i8 = DURATION + 2;
/// Ticks after its end for which a deny on a shared role still stands: the most a clock is wrong.
pub(crate) const MARGIN: i8 = 1;

/// How an entitlement gives access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A session of a role that all such requests share.
    Assume,
    /// A role of its own.
    Create,
}

/// A set of orders that people may give, each once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Orders(u16);

impl Orders {
    /// The first approver approves.
    pub const APPROVE: Self = Self(1);
    /// The second approver approves.
    pub const SECOND: Self = Self(1 << 1);
    /// The requester approves their own request.
    pub const OWN: Self = Self(1 << 2);
    /// An approval that was signed for another request.
    pub const FOREIGN: Self = Self(1 << 3);
    /// An approver denies.
    pub const DENY: Self = Self(1 << 4);
    /// The requester takes the question back.
    pub const WITHDRAW: Self = Self(1 << 5);
    /// An approver takes access back.
    pub const REVOKE: Self = Self(1 << 6);
    /// The requester asks for a session.
    pub const ISSUE: Self = Self(1 << 7);
    /// The requester asks for another session.
    pub const ISSUE_AGAIN: Self = Self(1 << 8);
    /// The requester asks for a later end, and the gates are open.
    pub const EXTEND: Self = Self(1 << 9);
    /// The requester asks for a later end, and the gates are shut.
    pub const EXTEND_REFUSED: Self = Self(1 << 10);
    /// The requester asks for the same again under the same idempotency key.
    pub const ASK_AGAIN: Self = Self(1 << 11);

    /// No orders.
    pub const fn none() -> Self {
        Self(0)
    }

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// One by one.
    pub(crate) fn each(self) -> impl Iterator<Item = Self> {
        (0..16)
            .map(|bit| Self(1 << bit))
            .filter(move |one| self.has(*one))
    }

    pub(crate) const fn count(self) -> u32 {
        self.0.count_ones()
    }
}

/// One request of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// How it gives access.
    pub mode: Mode,
    /// How many distinct approvers its activate gate wants.
    pub needed: u8,
    /// What people may order.
    pub orders: Orders,
}

/// What a run looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The requests.
    pub plans: Vec<Plan>,
    /// The tick from which nothing new is ordered.
    pub horizon: i8,
    /// How often each thing may go wrong.
    pub faults: Faults,
    /// Whether policy may also say no.
    pub policy_may_deny: bool,
    /// Whether AWS may refuse to make a role, half-way.
    pub refusals: bool,
    /// Whether somebody else's role may stand under the name of the first created one.
    pub foreign_role: bool,
    /// Whether the sweep runs.
    pub sweep: bool,
    /// The mistake in the code, if any.
    pub mutant: Option<Mutant>,
}

impl Scope {
    /// Requests that share a role or have their own, in turn, in a world where nothing goes wrong.
    pub fn of(plans: Vec<Plan>) -> Self {
        Self {
            plans,
            horizon: 3,
            faults: Faults::default(),
            policy_may_deny: false,
            refusals: false,
            foreign_role: false,
            sweep: true,
            mutant: None,
        }
    }

    /// One request that needs two approvers, with everybody who may decide it, rightly or not.
    pub fn asking(mode: Mode) -> Self {
        let people = Orders::APPROVE.and(Orders::SECOND).and(Orders::DENY);
        let requester = Orders::OWN.and(Orders::WITHDRAW);
        Self {
            faults: Faults {
                crashes: 1,
                duplicates: 1,
                clock_steps: 1,
                at_most: 3,
                ..Faults::default()
            },
            policy_may_deny: true,
            ..Self::of(vec![Plan {
                mode,
                needed: 2,
                orders: people.and(requester),
            }])
        }
    }

    /// One grant with everything that may be done with it and everything that may go wrong, once.
    pub fn alone(mode: Mode) -> Self {
        Self {
            faults: Faults::one_of_each(),
            refusals: mode == Mode::Create,
            foreign_role: mode == Mode::Create,
            ..Self::of(vec![Plan {
                mode,
                needed: 0,
                orders: Orders::ISSUE.and(Orders::REVOKE).and(Orders::EXTEND),
            }])
        }
    }

    /// `grants` requests, on one shared role but for every third, ended early or by their end.
    pub fn together(grants: usize) -> Self {
        let plan = |n: usize| Plan {
            mode: if n % 3 == 2 {
                Mode::Create
            } else {
                Mode::Assume
            },
            needed: 0,
            orders: match n {
                1 => Orders::ISSUE,
                _ => Orders::ISSUE.and(Orders::REVOKE),
            },
        };
        Self {
            faults: Faults::one_of_each(),
            ..Self::of((0..grants).map(plan).collect())
        }
    }

    /// The same, with no more than `times` things going wrong in all.
    #[must_use]
    pub fn with_faults(self, times: u8) -> Self {
        let faults = self.faults.at_most(times);
        Self { faults, ..self }
    }

    /// The same with a mistake in the code.
    #[must_use]
    pub fn with(self, mutant: Mutant) -> Self {
        Self {
            mutant: Some(mutant),
            ..self
        }
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}
