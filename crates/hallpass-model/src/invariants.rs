//! What must hold, whatever happens.

use hallpass_types::machine::Phase;
use stateright::{Model, Property};

use crate::scope::{Mode, Scope};
use crate::world::{Access, Cut, ForeignRole, Issue, Session, World};

/// Something that must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// I1
    NothingAfterTheEnd,
    /// I2
    ApprovedFirst,
    /// I3
    TakenAway,
    /// I3
    ForeignRolesUntouched,
    /// I4
    OneGrantForOneKey,
    /// I5
    ClosedMeansNothingWorks,
    /// I6
    NoIsFinal,
    /// I7
    EverythingRecorded,
    /// I8
    NoLaterEndUnasked,
    /// A cut reaches one grant.
    BystandersKeepWorking,
    /// No request waits for ever.
    EveryRequestEnds,
}

impl Invariant {
    /// Every invariant.
    pub const ALL: [Self; 11] = [
        Self::NothingAfterTheEnd,
        Self::ApprovedFirst,
        Self::TakenAway,
        Self::ForeignRolesUntouched,
        Self::OneGrantForOneKey,
        Self::ClosedMeansNothingWorks,
        Self::NoIsFinal,
        Self::EverythingRecorded,
        Self::NoLaterEndUnasked,
        Self::BystandersKeepWorking,
        Self::EveryRequestEnds,
    ];

    /// Its number and words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NothingAfterTheEnd => "I1 no session works from its end on",
            Self::ApprovedFirst => "I2 nothing is granted without its distinct approvers",
            Self::TakenAway => "I3 what was made is taken away",
            Self::ForeignRolesUntouched => "I3 nobody else's role is touched",
            Self::OneGrantForOneKey => "I4 one grant and one role for one key",
            Self::ClosedMeansNothingWorks => "I5 closed means that nothing works",
            Self::NoIsFinal => "I6 no is final",
            Self::EverythingRecorded => "I7 nothing without its record",
            Self::NoLaterEndUnasked => "I8 no later end unasked",
            Self::BystandersKeepWorking => "a cut reaches one grant and nobody else",
            Self::EveryRequestEnds => "every request comes to an end",
        }
    }

    /// Whether it must hold at last rather than at each moment.
    pub const fn at_last(self) -> bool {
        matches!(self, Self::TakenAway | Self::EveryRequestEnds)
    }

    fn holds(self, scope: &Scope, world: &World) -> bool {
        let all = |test: &dyn Fn(&Access) -> bool| world.requests.iter().all(test);
        match self {
            Self::NothingAfterTheEnd => all(&|r| {
                let over = r.allowed_until.is_some_and(|until| world.now >= until);
                !(over && any_works(scope, world, r))
            }),
            Self::ApprovedFirst => all(&|r| {
                let needed = scope.plans[usize::from(r.plan)].needed;
                let granted = r.end.is_some() || !r.sessions.is_empty();
                !granted || r.approvers.count() >= u32::from(needed)
            }),
            Self::TakenAway => {
                all(&|r| r.phase().is_final() && r.late.is_none() && !r.left_in_aws())
            }
            Self::ForeignRolesUntouched => world.foreign != ForeignRole::Touched,
            Self::OneGrantForOneKey => one_for_each_key(world),
            Self::ClosedMeansNothingWorks => {
                all(&|r| !r.phase().is_final() || !any_works(scope, world, r))
            }
            Self::NoIsFinal => all(&no_is_final),
            Self::EverythingRecorded => {
                all(&|r| !r.gap && (r.end.is_some() || (!r.left_in_aws() && r.sessions.is_empty())))
            }
            Self::NoLaterEndUnasked => all(&|r| !r.ends().any(|end| Some(end) > r.allowed_until)),
            Self::BystandersKeepWorking => all(&|r| {
                let open = r.phase() == Phase::Active && r.end_order.is_none();
                !(open && crate::aws::is_cut(scope, world, r))
            }),
            Self::EveryRequestEnds => all(&|r| r.phase().is_final()),
        }
    }
}

impl Access {
    /// Every end that something of it carries.
    fn ends(&self) -> impl Iterator<Item = i8> {
        let roles = self.roles.iter().flatten().filter_map(|role| role.fence);
        let sessions = self.sessions.iter().filter_map(|session| session.fence);
        self.end.into_iter().chain(roles).chain(sessions)
    }
}

fn one_for_each_key(world: &World) -> bool {
    let live = |r: &&Access| r.end.is_some() && !r.phase().is_final();
    let mut keys: Vec<_> = world.requests.iter().filter(live).map(|r| r.plan).collect();
    keys.sort_unstable();
    let keys_differ = keys.windows(2).all(|two| two[0] != two[1]);
    let mut requests = world.requests.iter();
    keys_differ && requests.all(|r| r.roles.iter().flatten().count() <= 1)
}

fn no_is_final(request: &Access) -> bool {
    use Phase::{Denied, Lapsed, Withdrawn};
    let still_no = matches!(request.state.phase(), Denied | Lapsed | Withdrawn);
    let late_issue = matches!(request.issue, Issue::Ordered { late: true, .. });
    let late_session = request.sessions.iter().any(|s| s.after_end_order);
    (!request.refused || still_no) && !late_issue && !late_session
}

fn any_works(scope: &Scope, world: &World, request: &Access) -> bool {
    let mut sessions = request.sessions.iter();
    sessions.any(|session| works(scope, world, request, session))
}

/// Whether AWS would answer a call of this session now.
fn works(scope: &Scope, world: &World, request: &Access, session: &Session) -> bool {
    let in_time = session.expires > world.now && session.fence.is_none_or(|f| world.now < f);
    let role_allows = match scope.plans[usize::from(request.plan)].mode {
        Mode::Assume => !crate::aws::is_cut(scope, world, request),
        Mode::Create => request.roles[usize::from(session.role)].is_some_and(|role| {
            let denied = role.denied == Cut::Effective;
            !denied && role.fence.is_none_or(|fence| world.now < fence)
        }),
    };
    in_time && role_allows
}

/// Something that must be possible, or a run shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// A session works.
    SessionWorks,
    /// A session that AWS itself would still let in is refused.
    SessionRefused,
    /// A role was made.
    RoleMade,
    /// Something could not be taken back, for now.
    Stuck,
}

impl Sight {
    /// Every one.
    pub const ALL: [Self; 4] = [
        Self::SessionWorks,
        Self::SessionRefused,
        Self::RoleMade,
        Self::Stuck,
    ];

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::SessionWorks => "a session works",
            Self::SessionRefused => "a session is refused",
            Self::RoleMade => "a role is made",
            Self::Stuck => "a request is stuck",
        }
    }

    fn is_seen(self, scope: &Scope, world: &World) -> bool {
        let any = |test: &dyn Fn(&Access) -> bool| world.requests.iter().any(test);
        match self {
            Self::SessionWorks => any(&|r| any_works(scope, world, r)),
            Self::SessionRefused => any(&|r| !r.sessions.is_empty() && !any_works(scope, world, r)),
            Self::RoleMade => any(&|r| r.roles.iter().any(Option::is_some)),
            Self::Stuck => any(&|r| r.phase() == Phase::Stuck),
        }
    }
}

/// The invariants as the checker wants them.
pub(crate) fn properties<M: Model<State = World> + AsRef<Scope>>() -> Vec<Property<M>> {
    use Invariant as I;
    fn always<M: Model<State = World>>(i: I, test: fn(&M, &World) -> bool) -> Property<M> {
        match i.at_last() {
            true => Property::eventually(i.words(), test),
            false => Property::always(i.words(), test),
        }
    }
    // The checker takes function pointers, which capture nothing.
    macro_rules! property {
        ($invariant:expr) => {
            always::<M>($invariant, |model, world| {
                $invariant.holds(model.as_ref(), world)
            })
        };
    }
    macro_rules! sight {
        ($sight:expr) => {
            Property::sometimes($sight.words(), |model: &M, world| {
                $sight.is_seen(model.as_ref(), world)
            })
        };
    }
    vec![
        property!(I::NothingAfterTheEnd),
        property!(I::ApprovedFirst),
        property!(I::TakenAway),
        property!(I::ForeignRolesUntouched),
        property!(I::OneGrantForOneKey),
        property!(I::ClosedMeansNothingWorks),
        property!(I::NoIsFinal),
        property!(I::EverythingRecorded),
        property!(I::NoLaterEndUnasked),
        property!(I::BystandersKeepWorking),
        property!(I::EveryRequestEnds),
        sight!(Sight::SessionWorks),
        sight!(Sight::SessionRefused),
        sight!(Sight::RoleMade),
        sight!(Sight::Stuck),
    ]
}
