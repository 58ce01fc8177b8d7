//! What AWS makes of a call, whether or not anybody hears of it.

use crate::Mutant;
use crate::scope::{DURATION, MARGIN, Mode, SESSION, Scope};
use crate::world::{Access, Call, Cut, ForeignRole, Issue, Reply, Role, Session, World};

/// Carries out a call for request `r`. No reply means that the attempt is made again.
pub(crate) fn execute(scope: &Scope, world: &mut World, r: usize, call: Call) -> Option<Reply> {
    match call {
        Call::Provision => Some(provision(scope, world, r)),
        Call::MoveFence => {
            let request = &mut world.requests[r];
            let later = request.moving?;
            if let Some(role) = &mut request.roles[0] {
                role.fence = Some(later);
            }
            Some(Reply::Moved(later))
        }
        Call::Issue(end) => {
            assume(scope, world, r, end);
            None
        }
        Call::End => end(scope, world, r),
        Call::Tidy => {
            world.requests[r].cut = Cut::Absent;
            Some(Reply::Tidied)
        }
    }
}

/// Whether the next role of this request would have the name of somebody else's.
pub(crate) fn name_is_taken(scope: &Scope, world: &World, r: usize) -> bool {
    let plan = world.requests[r].plan;
    let first = scope.plans.iter().position(|p| p.mode == Mode::Create);
    world.foreign == ForeignRole::Untouched && first == Some(usize::from(plan))
}

fn mode(scope: &Scope, request: &Access) -> Mode {
    scope.plans[usize::from(request.plan)].mode
}

fn provision(scope: &Scope, world: &mut World, r: usize) -> Reply {
    if name_is_taken(scope, world, r) {
        if !scope.is(Mutant::AdoptsForeignRole) {
            return Reply::Refused;
        }
        world.foreign = ForeignRole::Touched;
    }
    let clock = world.our_clock();
    let request = &mut world.requests[r];
    let name = usize::from(scope.is(Mutant::FreshName) && request.roles[0].is_some());
    let end = request.end.unwrap_or(clock + DURATION);
    // A role that is there already is adopted with what is on it; a new one is not that of the
    // sessions of an old one.
    let adopted = request.roles[name].filter(|role| !role.deleted);
    if adopted.is_none() {
        request.sessions.retain(|s| usize::from(s.role) != name);
    }
    request.roles[name] = Some(Role {
        fence: fence(scope, clock, end),
        deleted: false,
        denied: adopted.map_or(Cut::Absent, |role| role.denied),
    });
    Reply::Made
}

fn fence(scope: &Scope, clock: i8, end: i8) -> Option<i8> {
    if scope.is(Mutant::NoFence) {
        None
    } else if scope.is(Mutant::EndNotFixed) {
        Some(clock + DURATION)
    } else {
        Some(end)
    }
}

fn assume(scope: &Scope, world: &mut World, r: usize, end: i8) {
    let (now, clock) = (world.now, world.our_clock());
    let request = &mut world.requests[r];
    let open = |role: &Role| !role.deleted && role.fence.is_none_or(|fence| now < fence);
    let role = match mode(scope, request) {
        Mode::Assume => Some(0),
        Mode::Create => request
            .roles
            .iter()
            .position(|r| r.as_ref().is_some_and(open)),
    };
    let after_end_order = matches!(request.issue, Issue::Ordered { late: true, .. });
    if let Some(role) = role.and_then(|role| u8::try_from(role).ok()) {
        request.add_session(Session {
            fence: fence(scope, clock, end),
            expires: now + SESSION,
            role,
            after_end_order,
        });
    }
}

/// Whether a deny on the shared role reaches the sessions of this request.
pub(crate) fn is_cut(scope: &Scope, world: &World, request: &Access) -> bool {
    let whole_role = scope.is(Mutant::CutsWholeRole);
    let mut denies = world.requests.iter().filter(|r| r.cut == Cut::Effective);
    request.cut == Cut::Effective || (whole_role && denies.next().is_some())
}

fn end(scope: &Scope, world: &mut World, r: usize) -> Option<Reply> {
    let (now, clock) = (world.now, world.our_clock());
    if mode(scope, &world.requests[r]) == Mode::Create {
        if name_is_taken(scope, world, r) {
            return Some(Reply::NotTakenBack);
        }
        return end_created(scope, now, &mut world.requests[r]);
    }
    let request = &mut world.requests[r];
    let end = request.end?;
    let by_our_clock = clock >= end;
    if !by_our_clock && request.cut == Cut::Absent {
        request.cut = Cut::Written;
    }
    // The canary: a session made now, with the same name and the same fence.
    let canary_is_refused = now >= end || is_cut(scope, world, &world.requests[r]);
    let believed = match by_our_clock {
        true => scope.is(Mutant::TrustsOwnClock),
        false => scope.is(Mutant::EndedWithoutProof),
    };
    (canary_is_refused || believed).then_some(Reply::Proved)
}

/// Sessions are refused first, by the fence or by a deny; then the role goes.
fn end_created(scope: &Scope, now: i8, request: &mut Access) -> Option<Reply> {
    let mut refused = true;
    for role in request.roles.iter_mut().flatten().filter(|r| !r.deleted) {
        let fenced = role.fence.is_some_and(|fence| now >= fence);
        if !fenced && role.denied == Cut::Absent {
            role.denied = Cut::Written;
        }
        refused &= fenced || role.denied == Cut::Effective;
    }
    if !refused && !scope.is(Mutant::BelievesTheDeletion) {
        return None;
    }
    delete_roles(request);
    Some(Reply::Proved)
}

/// IAM says that they are gone; their sessions do not know yet.
fn delete_roles(request: &mut Access) {
    for role in request.roles.iter_mut().flatten() {
        role.deleted = true;
    }
}

/// A session is bound to the role's unique id: a new role of that name does not bring it back.
fn forget_sessions_without_role(request: &mut Access) {
    let roles = request.roles;
    let stands = |s: &Session| roles[usize::from(s.role)].is_some();
    request.sessions.retain(stands);
}

/// What IAM has accepted takes effect.
pub(crate) fn settle(scope: &Scope, request: &mut Access) {
    if request.cut == Cut::Written {
        request.cut = Cut::Effective;
    }
    for slot in &mut request.roles {
        match slot {
            Some(role) if role.deleted => *slot = None,
            Some(role) if role.denied == Cut::Written => role.denied = Cut::Effective,
            _ => {}
        }
    }
    if mode(scope, request) == Mode::Create {
        forget_sessions_without_role(request);
    }
}

/// Ends what is left of a request that is over.
pub(crate) fn sweep(scope: &Scope, clock: i8, request: &mut Access) {
    if request.state.phase().is_final() {
        if request.roles.iter().flatten().any(|role| !role.deleted) {
            delete_roles(request);
        }
        if request.end.is_some_and(|end| clock >= end + margin(scope)) {
            request.cut = Cut::Absent;
        }
    }
}

/// How long after its end a deny still stands.
pub(crate) fn margin(scope: &Scope) -> i8 {
    match scope.is(Mutant::LiftsDenyTooEarly) {
        true => 0,
        false => MARGIN,
    }
}

/// Forgets the sessions that no clock will ever let in again.
pub(crate) fn forget_dead_sessions(now: i8, request: &mut Access) {
    let may_work = |s: &Session| s.expires > now && s.fence.is_none_or(|fence| now < fence);
    request.sessions.retain(may_work);
}
