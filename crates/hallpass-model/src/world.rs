//! The state of the world: the requests, what AWS holds for them, the clocks, what may go wrong.

use hallpass_types::EndInstant;
use hallpass_types::machine::{EndCause, State};
use jiff::Timestamp;

use crate::scope::{Orders, Scope};

/// How often each thing may still go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// The worker is killed.
    pub crashes: u8,
    /// AWS cannot be reached.
    pub outages: u8,
    /// AWS did it, and nobody heard.
    pub lost_replies: u8,
    /// A call is given up but still under way.
    pub slow_calls: u8,
    /// Our clock is set forward or back.
    pub clock_steps: u8,
    /// An order comes twice.
    pub duplicates: u8,
    /// All of it together.
    pub at_most: u8,
}

impl Faults {
    /// Everything goes wrong once.
    pub const fn one_of_each() -> Self {
        Self::each(1)
    }

    /// Everything goes wrong this often.
    pub const fn each(times: u8) -> Self {
        Self {
            crashes: times,
            outages: times,
            lost_replies: times,
            slow_calls: times,
            clock_steps: times,
            duplicates: times,
            at_most: 6 * times,
        }
    }

    /// The same, but in all no more than `times`.
    #[must_use]
    pub const fn at_most(self, times: u8) -> Self {
        Self {
            at_most: times,
            ..self
        }
    }
}

/// A call to AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Make the role.
    Provision,
    /// Move the fence of a made role.
    MoveFence,
    /// Assume the role; the session's fence.
    Issue(i8),
    /// Cut, delete, prove.
    End,
    /// Lift the deny.
    Tidy,
}

/// What a call brought, as long as nobody has recorded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reply {
    /// The role is there.
    Made,
    /// AWS refused for good.
    Refused,
    /// The fence is moved.
    Moved(i8),
    /// Access is proved to be over.
    Proved,
    /// It could not be taken back.
    NotTakenBack,
    /// The deny is lifted.
    Tidied,
}

/// A role that was made for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Role {
    /// The date in its trust and permissions.
    pub fence: Option<i8>,
    /// IAM says that it is gone, but its sessions do not know yet.
    pub deleted: bool,
    /// A deny of everything on it.
    pub denied: Cut,
}

impl Role {
    /// Whether IAM has accepted a change that AWS does not act on yet.
    pub(crate) fn is_under_way(&self) -> bool {
        self.deleted || self.denied == Cut::Written
    }
}

/// A deny on the shared role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cut {
    /// None.
    Absent,
    /// Written, and read back.
    Written,
    /// AWS acts on it.
    Effective,
}

/// A session that AWS has given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Session {
    /// The date in its session policy.
    pub fence: Option<i8>,
    /// When AWS itself lets it expire.
    pub expires: i8,
    /// Which of the request's roles it is a session of.
    pub role: u8,
    /// Whether it was ordered after the order to end access.
    pub after_end_order: bool,
}

/// A session that is being issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Issue {
    /// None.
    No,
    /// In the history; no answer yet.
    Ordered {
        /// The end then.
        end: i8,
        /// Whether the end of access had been ordered.
        late: bool,
    },
    /// AWS has answered what was ordered; not recorded.
    Answered {
        /// The end then.
        end: i8,
        /// Whether the end of access had been ordered.
        late: bool,
    },
}

/// One request, and what AWS holds for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// Its plan, which is also its idempotency key.
    pub plan: u8,
    /// Where it stands: the real thing.
    pub state: State,
    /// The end, once fixed.
    pub end: Option<i8>,
    /// Orders that nobody has given yet.
    pub(crate) unsent: Orders,
    /// Orders under way.
    pub(crate) mail: Orders,
    /// Orders that were heard.
    pub(crate) heard: Orders,
    /// What the activate gate is told.
    pub(crate) tally: u8,
    pub(crate) end_order: Option<(EndCause, Timestamp)>,
    pub(crate) moving: Option<i8>,
    pub(crate) tidy: bool,
    pub(crate) issue: Issue,
    pub(crate) reply: Option<Reply>,
    /// A call that was given up and may still be carried out.
    pub(crate) late: Option<Call>,
    pub(crate) roles: [Option<Role>; 2],
    pub(crate) cut: Cut,
    pub(crate) sessions: Vec<Session>,
    /// Truth, which no code sees: eligible, distinct approvers who approved exactly this.
    pub(crate) approvers: Orders,
    /// Truth: the latest end that the gates allowed.
    pub(crate) allowed_until: Option<i8>,
    /// Truth: somebody or something said no, for good.
    pub(crate) refused: bool,
    /// Truth: it moved along without a record.
    pub(crate) gap: bool,
    /// Failed attempts to end; counted only by the code that gives up.
    pub(crate) failures: u8,
    /// Records of the step under way; none between steps.
    pub(crate) records: u8,
}

/// Somebody else's role, under a name that we would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ForeignRole {
    Absent,
    Untouched,
    Touched,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// The tick, on AWS's clock.
    pub now: i8,
    /// Our clock minus AWS's.
    pub skew: i8,
    /// Whether a worker is alive.
    pub worker: bool,
    /// Whether AWS can be reached.
    pub reachable: bool,
    /// What may still go wrong.
    pub faults: Faults,
    /// The requests.
    pub requests: Vec<Access>,
    pub(crate) foreign: ForeignRole,
}

impl Access {
    pub(crate) fn new(scope: &Scope, plan: u8) -> Self {
        Self {
            plan,
            state: State::Checking,
            end: None,
            unsent: scope.plans[usize::from(plan)].orders,
            mail: Orders::none(),
            heard: Orders::none(),
            tally: 0,
            end_order: None,
            moving: None,
            tidy: false,
            issue: Issue::No,
            reply: None,
            late: None,
            roles: [None; 2],
            cut: Cut::Absent,
            sessions: Vec::new(),
            approvers: Orders::none(),
            allowed_until: None,
            refused: false,
            gap: false,
            failures: 0,
            records: 0,
        }
    }

    /// Whether AWS holds a role or a deny for it.
    pub(crate) fn left_in_aws(&self) -> bool {
        self.roles.iter().any(Option::is_some) || self.cut != Cut::Absent
    }

    pub(crate) fn add_session(&mut self, session: Session) {
        if let Err(at) = self.sessions.binary_search(&session) {
            self.sessions.insert(at, session);
        }
    }
}

impl World {
    /// The worlds in which nothing has happened.
    pub(crate) fn first(scope: &Scope) -> Vec<Self> {
        let without = Self::new(scope);
        let with = Self {
            foreign: ForeignRole::Untouched,
            ..without.clone()
        };
        match scope.foreign_role {
            true => vec![without, with],
            false => vec![without],
        }
    }

    fn new(scope: &Scope) -> Self {
        let keys = 0..u8::try_from(scope.plans.len()).unwrap_or(u8::MAX);
        Self {
            now: 0,
            skew: 0,
            worker: true,
            reachable: true,
            faults: scope.faults,
            requests: keys.map(|key| Access::new(scope, key)).collect(),
            foreign: ForeignRole::Absent,
        }
    }

    /// Our clock.
    pub(crate) fn our_clock(&self) -> i8 {
        self.now + self.skew
    }
}

/// A tick as an instant of the real types.
pub(crate) fn instant(tick: i8) -> Timestamp {
    Timestamp::UNIX_EPOCH
        .saturating_add(jiff::SignedDuration::from_secs(i64::from(tick)))
        .unwrap_or(Timestamp::MAX)
}

/// An instant of the real types as a tick.
pub(crate) fn tick(end: EndInstant) -> i8 {
    i8::try_from(end.timestamp().as_second()).unwrap_or(i8::MAX)
}
