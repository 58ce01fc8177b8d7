//! Everything that can happen next, and what the world is then.

use hallpass_types::machine::Phase;

use crate::aws;
use crate::scope::{Orders, Scope};
use crate::world::{Access, Call, Cut, Faults, ForeignRole, Issue, Reply, Role, World};

/// One thing that happens. The number is that of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Step {
    PolicyAnswers { request: usize, open: bool },
    PersonOrders(usize, Orders),
    OrderComesAgain(usize, Orders),
    OrderIsHeard(usize, Orders),
    WindowCloses(usize),
    MakingTimesOut(usize),
    EndBegins(usize),
    AwsDoes(usize, Call),
    AwsRefusesHalfWay(usize),
    AttemptFails(usize),
    ReplyIsRecorded(usize),
    SessionIsHandedOver(usize),
    ReplyIsLost(usize),
    CallHangs(usize, Call),
    HungCallIsDone(usize),
    HungCallIsDropped(usize),
    WriteTakesEffect(usize),
    SweepEnds(usize),
    OwnerRemovesForeignRole,
    WorkerDies,
    WorkerStarts,
    AwsGoesAway,
    AwsComesBack,
    ClockIsSet(i8),
    TickPasses,
}

/// Everything that can happen. Some of it may turn out to change nothing.
pub(crate) fn steps(scope: &Scope, world: &World, into: &mut Vec<Step>) {
    for (r, request) in world.requests.iter().enumerate() {
        people(scope, world, r, request, into);
        if world.worker {
            work(scope, world, r, request, into);
        }
        if request.late.is_some() {
            if world.reachable {
                into.push(Step::HungCallIsDone(r));
            }
            into.push(Step::HungCallIsDropped(r));
        }
        if request.cut == Cut::Written || request.roles.iter().flatten().any(Role::is_under_way) {
            into.push(Step::WriteTakesEffect(r));
        }
    }
    let stuck = |r: &Access| r.phase() == Phase::Stuck;
    if world.foreign == ForeignRole::Untouched && world.requests.iter().any(stuck) {
        into.push(Step::OwnerRemovesForeignRole);
    }
    surroundings(world, into);
    if world.now < scope.horizon || awaits_time(world) {
        into.push(Step::TickPasses);
    }
}

fn people(scope: &Scope, world: &World, r: usize, request: &Access, into: &mut Vec<Step>) {
    if world.now < scope.horizon {
        into.extend(request.unsent.each().map(|o| Step::PersonOrders(r, o)));
        if world.may(|f| f.duplicates) {
            let heard = request.heard.without(request.mail);
            into.extend(heard.each().map(|o| Step::OrderComesAgain(r, o)));
        }
    }
}

/// What a living worker, and AWS for it, can do for one request.
fn work(scope: &Scope, world: &World, r: usize, request: &Access, into: &mut Vec<Step>) {
    let (clock, phase) = (world.our_clock(), request.phase());
    if phase == Phase::Checking {
        into.push(Step::PolicyAnswers {
            request: r,
            open: true,
        });
        if scope.policy_may_deny {
            into.push(Step::PolicyAnswers {
                request: r,
                open: false,
            });
        }
    }
    let issuing = request.issue != Issue::No;
    let sessions = Orders::ISSUE.and(Orders::ISSUE_AGAIN);
    let hears = |order: &Orders| !(issuing && sessions.meets(*order));
    into.extend(
        request
            .mail
            .each()
            .filter(hears)
            .map(|o| Step::OrderIsHeard(r, o)),
    );
    if request.lapses_at().is_some_and(|at| clock >= at) {
        into.push(Step::WindowCloses(r));
    }
    let out_of_time = request.end.is_some_and(|end| clock >= end) && request.reply.is_none();
    if phase == Phase::Provisioning && out_of_time && request.end_order.is_none() {
        into.push(Step::MakingTimesOut(r));
    }
    if request.end_due(clock).is_some() {
        into.push(Step::EndBegins(r));
    }
    if request.reply.is_some() {
        into.push(Step::ReplyIsRecorded(r));
    }
    let answered = matches!(request.issue, Issue::Answered { .. });
    if answered {
        into.push(Step::SessionIsHandedOver(r));
    }
    if world.may(|f| f.lost_replies) && (request.reply.is_some() || answered) {
        into.push(Step::ReplyIsLost(r));
    }
    let issue = match request.issue {
        Issue::Ordered { end, .. } => Some(Call::Issue(end)),
        _ => None,
    };
    let wanted = request.wanted(scope, clock);
    for call in wanted.into_iter().chain(issue) {
        if world.reachable {
            into.push(Step::AwsDoes(r, call));
        }
        if world.may(|f| f.slow_calls) && request.late.is_none() {
            into.push(Step::CallHangs(r, call));
        }
    }
    if wanted == Some(Call::Provision) && scope.refusals && world.reachable {
        into.push(Step::AwsRefusesHalfWay(r));
    }
    if wanted == Some(Call::End) && !world.reachable {
        into.push(Step::AttemptFails(r));
    }
    if scope.sweeps() && world.reachable && request.left_in_aws() {
        into.push(Step::SweepEnds(r));
    }
}

fn surroundings(world: &World, into: &mut Vec<Step>) {
    if !world.worker {
        into.push(Step::WorkerStarts);
    } else if world.may(|f| f.crashes) {
        into.push(Step::WorkerDies);
    }
    if !world.reachable {
        into.push(Step::AwsComesBack);
    } else if world.may(|f| f.outages) {
        into.push(Step::AwsGoesAway);
    }
    if world.may(|f| f.clock_steps) {
        into.extend([-1, 1].map(Step::ClockIsSet));
    }
}

/// Whether something is left that only time brings.
fn awaits_time(world: &World) -> bool {
    let clock = world.our_clock();
    world.requests.iter().any(|r| {
        let before = |at: Option<i8>| at.is_some_and(|at| clock < at);
        let deny_stands = r.cut != Cut::Absent && before(r.end.map(|end| end + 1));
        // Where our clock is ahead, the canary is refused only once AWS's has come.
        let unproved = matches!(r.phase(), Phase::Ending | Phase::Stuck)
            && r.end.is_some_and(|end| world.now < end);
        let open = matches!(r.phase(), Phase::Provisioning | Phase::Active) && before(r.end);
        before(r.lapses_at()) || open || unproved || deny_stands
    })
}

/// The world after `step`; `None` when nothing changes.
pub(crate) fn next(scope: &Scope, before: &World, step: Step) -> Option<World> {
    let mut world = before.clone();
    apply(scope, &mut world, step);
    for (old, new) in before.requests.iter().zip(&mut world.requests) {
        new.gap |= old.phase() != new.phase() && new.records == 0;
        new.records = 0;
    }
    (world != *before).then_some(world)
}

fn apply(scope: &Scope, world: &mut World, step: Step) {
    let clock = world.our_clock();
    match step {
        Step::PolicyAnswers { request, open } => world.requests[request].gate(scope, clock, open),
        Step::PersonOrders(r, order) => {
            let request = &mut world.requests[r];
            request.unsent = request.unsent.without(order);
            request.mail = request.mail.and(order);
        }
        Step::OrderComesAgain(r, order) => {
            world.spend(|f| &mut f.duplicates);
            let request = &mut world.requests[r];
            request.mail = request.mail.and(order);
        }
        Step::OrderIsHeard(r, order) => {
            if world.requests[r].hear(scope, clock, order) {
                let mut again = Access::new(scope, world.requests[r].plan);
                again.unsent = again.unsent.without(Orders::ASK_AGAIN);
                world.requests.push(again);
            }
        }
        Step::WindowCloses(r) => world.requests[r].lapse(),
        Step::MakingTimesOut(r) => world.requests[r].give_up_making(clock),
        Step::EndBegins(r) => {
            if let Some((cause, at)) = world.requests[r].end_due(clock) {
                world.requests[r].end_now(scope, cause, at);
            }
        }
        Step::ReplyIsRecorded(r) => {
            if let Some(reply) = world.requests[r].reply {
                world.requests[r].record(scope, clock, reply);
            }
        }
        Step::SessionIsHandedOver(r) => world.requests[r].issue = Issue::No,
        Step::AttemptFails(r) => world.requests[r].end_failed(scope),
        Step::SweepEnds(r) => aws::sweep(scope, clock, &mut world.requests[r]),
        Step::WriteTakesEffect(r) => aws::settle(scope, &mut world.requests[r]),
        Step::OwnerRemovesForeignRole => world.foreign = ForeignRole::Absent,
        Step::TickPasses => {
            world.now += 1;
            let now = world.now;
            let requests = world.requests.iter_mut();
            requests.for_each(|request| aws::forget_dead_sessions(now, request));
        }
        other => disturb(scope, world, other),
    }
}

/// Calls, and what goes wrong with them and around them.
fn disturb(scope: &Scope, world: &mut World, step: Step) {
    match step {
        Step::AwsDoes(r, call) => {
            let reply = aws::execute(scope, world, r, call);
            let request = &mut world.requests[r];
            request.reply = request.reply.or(reply);
            if let (Call::Issue(_), Issue::Ordered { end, late }) = (call, request.issue) {
                request.issue = Issue::Answered { end, late };
            }
        }
        Step::AwsRefusesHalfWay(r) => {
            aws::execute(scope, world, r, Call::Provision);
            world.requests[r].reply = Some(Reply::Refused);
        }
        Step::ReplyIsLost(r) => {
            world.spend(|f| &mut f.lost_replies);
            lose_replies(&mut world.requests[r]);
        }
        Step::CallHangs(r, call) => {
            world.spend(|f| &mut f.slow_calls);
            world.requests[r].late = Some(call);
        }
        Step::HungCallIsDone(r) => {
            if let Some(call) = world.requests[r].late.take() {
                aws::execute(scope, world, r, call);
            }
        }
        Step::HungCallIsDropped(r) => world.requests[r].late = None,
        Step::WorkerDies => {
            world.spend(|f| &mut f.crashes);
            world.worker = false;
            world.requests.iter_mut().for_each(lose_replies);
        }
        Step::WorkerStarts => world.worker = true,
        Step::AwsGoesAway => {
            world.spend(|f| &mut f.outages);
            world.reachable = false;
        }
        Step::AwsComesBack => world.reachable = true,
        Step::ClockIsSet(to) => {
            world.spend(|f| &mut f.clock_steps);
            world.skew = to;
        }
        _ => {}
    }
}

/// AWS did it and nobody recorded it: the attempt is made again.
fn lose_replies(request: &mut Access) {
    request.reply = None;
    if let Issue::Answered { end, late } = request.issue {
        request.issue = Issue::Ordered { end, late };
    }
}

impl World {
    fn may(&self, fault: fn(&Faults) -> u8) -> bool {
        self.faults.at_most > 0 && fault(&self.faults) > 0
    }

    fn spend(&mut self, fault: fn(&mut Faults) -> &mut u8) {
        *fault(&mut self.faults) -= 1;
        self.faults.at_most -= 1;
    }
}

impl Scope {
    fn sweeps(&self) -> bool {
        self.sweep && !self.is(crate::Mutant::NoSweep)
    }
}
