//! What the workflow makes of what it hears: the real transition table decides.

use hallpass_types::EndInstant;
use hallpass_types::machine::{EndCause, Event, Leftover, Phase, State};

use crate::Mutant;
use crate::scope::{DURATION, EXTENSION, Mode, Orders, Scope, WINDOW};
use crate::world::{Access, Call, Cut, Issue, Reply, instant, tick};

/// Moves along the table and records it. An event that the table refuses is a bug here.
fn go(request: &mut Access, event: Event) {
    match request.state.apply(event) {
        Ok(next) => {
            request.state = next;
            request.end = request.state.end().map(tick).or(request.end);
            request.records += 1;
        }
        Err(_) => request.gap = true,
    }
}

fn end_at(tick: i8) -> EndInstant {
    EndInstant::from(instant(tick))
}

impl Access {
    pub(crate) fn phase(&self) -> Phase {
        self.state.phase()
    }

    fn plan<'a>(&self, scope: &'a Scope) -> &'a crate::Plan {
        &scope.plans[usize::from(self.plan)]
    }

    /// Whether access is open and nobody has ordered its end.
    fn is_open(&self) -> bool {
        self.phase() == Phase::Active && self.end_order.is_none()
    }

    pub(crate) fn lapses_at(&self) -> Option<i8> {
        match self.state {
            State::AwaitingApproval { lapses_at } => Some(tick(lapses_at.into())),
            _ => None,
        }
    }

    /// The request gate has answered.
    pub(crate) fn gate(&mut self, scope: &Scope, clock: i8, open: bool) {
        if !open {
            self.refused = true;
            return go(self, Event::PolicyDenied);
        }
        let lapses_at = instant(clock + WINDOW);
        go(self, Event::PolicyAllowed { lapses_at });
        self.weigh(scope, clock);
    }

    /// Opens the grant when the activate gate is open; the end is fixed here, once.
    fn weigh(&mut self, scope: &Scope, clock: i8) {
        let opens = self.phase() == Phase::AwaitingApproval && self.gate_is_open(scope);
        if opens && !scope.is(Mutant::ActsBeforeRecord) {
            self.activate(clock);
            if self.plan(scope).mode == Mode::Assume {
                go(self, Event::Provisioned);
            }
        }
    }

    fn gate_is_open(&self, scope: &Scope) -> bool {
        self.tally >= self.plan(scope).needed
    }

    fn activate(&mut self, clock: i8) {
        let end = clock + DURATION;
        self.allowed_until = Some(end);
        go(self, Event::ApprovalsComplete { end: end_at(end) });
    }

    /// Hears an order. The caller starts the request again where this says so.
    pub(crate) fn hear(&mut self, scope: &Scope, clock: i8, order: Orders) -> bool {
        let again = self.heard.has(order);
        self.mail = self.mail.without(order);
        self.heard = self.heard.and(order);
        if again && !scope.is(Mutant::DuplicateCounts) {
            return false;
        }
        let waiting = self.phase() == Phase::AwaitingApproval;
        match order {
            Orders::APPROVE | Orders::SECOND => self.approved(scope, clock, order),
            Orders::OWN if waiting && scope.is(Mutant::OwnDecisionCounts) => self.tally += 1,
            Orders::FOREIGN if waiting && scope.is(Mutant::ForeignDecisionCounts) => {
                self.tally += 1;
            }
            Orders::DENY if waiting => {
                self.refused = true;
                go(self, Event::DeniedByPerson);
            }
            Orders::WITHDRAW if waiting || self.phase() == Phase::Checking => {
                self.refused = true;
                go(self, Event::WithdrawOrdered);
            }
            Orders::REVOKE
                if matches!(self.phase(), Phase::Provisioning | Phase::Active)
                    && self.end_order.is_none() =>
            {
                self.end_order = Some((EndCause::Revoked, instant(clock)));
            }
            Orders::ISSUE | Orders::ISSUE_AGAIN => self.issue_ordered(scope),
            Orders::EXTEND if self.is_open() => self.extend(scope),
            Orders::EXTEND_REFUSED if self.is_open() && scope.is(Mutant::ExtendsUnasked) => {
                let end = end_at(self.end.unwrap_or_default() + EXTENSION);
                go(self, Event::Extended { end });
            }
            Orders::ASK_AGAIN => return scope.is(Mutant::AskedAgainStartsAgain),
            _ => {}
        }
        self.weigh(scope, clock);
        false
    }

    fn approved(&mut self, scope: &Scope, clock: i8, by: Orders) {
        if self.phase() == Phase::AwaitingApproval {
            self.approvers = self.approvers.and(by);
            self.tally += 1;
        } else if self.refused && scope.is(Mutant::ReopensAfterNo) {
            let end = clock + DURATION;
            self.approvers = self.approvers.and(by);
            self.state = State::Provisioning { end: end_at(end) };
            (self.end, self.allowed_until) = (Some(end), Some(end));
            self.records += 1;
        }
    }

    fn issue_ordered(&mut self, scope: &Scope) {
        let late = !self.is_open();
        let ending = matches!(self.phase(), Phase::Active | Phase::Ending | Phase::Stuck);
        if let Some(end) = self.end
            && (!late || (ending && scope.is(Mutant::IssuesWhileEnding)))
        {
            self.issue = Issue::Ordered { end, late };
        }
    }

    /// The gates allow a later end.
    fn extend(&mut self, scope: &Scope) {
        let later = self.end.unwrap_or_default() + EXTENSION;
        self.allowed_until = self.allowed_until.max(Some(later));
        match self.plan(scope).mode {
            Mode::Assume => go(self, Event::Extended { end: end_at(later) }),
            Mode::Create => self.moving = Some(later),
        }
    }

    /// The approval window has closed.
    pub(crate) fn lapse(&mut self) {
        self.refused = true;
        go(self, Event::WindowElapsed);
    }

    /// The making of the role ran out of time.
    pub(crate) fn give_up_making(&mut self, clock: i8) {
        go(self, Event::ProvisioningFailed { at: instant(clock) });
    }

    /// What the workflow does next about the end of access, if anything.
    pub(crate) fn end_due(&self, clock: i8) -> Option<(EndCause, jiff::Timestamp)> {
        let making = self.phase() == Phase::Provisioning && self.reply.is_none();
        let active = self.phase() == Phase::Active;
        match self.end_order {
            Some(order) => (making || active).then_some(order),
            None => self
                .end
                .filter(|end| active && clock >= *end)
                .map(|end| (EndCause::Expired, instant(end))),
        }
    }

    /// Begins to end access.
    pub(crate) fn end_now(&mut self, scope: &Scope, cause: EndCause, at: jiff::Timestamp) {
        go(self, Event::EndOrdered { cause, at });
        if scope.is(Mutant::ForgetsToRecord) {
            self.records = 0;
        }
        self.moving = None;
        if self.reply != Some(Reply::Tidied) {
            self.reply = None;
        }
        if !scope.is(Mutant::IssuesWhileEnding) {
            self.issue = Issue::No;
        }
    }

    /// An attempt to end it could not reach AWS.
    pub(crate) fn end_failed(&mut self, scope: &Scope) {
        if self.phase() == Phase::Ending {
            go(self, not_taken_back());
        }
        if scope.is(Mutant::GivesUp) {
            self.failures = (self.failures + 1).min(2);
        }
    }

    /// Records what a call brought.
    pub(crate) fn record(&mut self, scope: &Scope, clock: i8, reply: Reply) {
        self.reply = None;
        match reply {
            Reply::Made => {
                if scope.is(Mutant::ActsBeforeRecord) {
                    self.activate(clock);
                }
                go(self, Event::Provisioned);
            }
            Reply::Refused if self.end_order.is_none() => {
                self.give_up_making(clock);
                if scope.is(Mutant::CompensationAfterCall) {
                    go(self, Event::EndProved { at: instant(clock) });
                }
            }
            Reply::Refused => {}
            Reply::Moved(later) => {
                self.moving = None;
                if self.is_open() && self.end < Some(later) {
                    go(self, Event::Extended { end: end_at(later) });
                }
            }
            Reply::NotTakenBack => go(self, not_taken_back()),
            Reply::Proved => {
                let early = self.end.is_some_and(|end| clock < end);
                self.tidy = self.cut != Cut::Absent && early;
                go(self, Event::EndProved { at: instant(clock) });
            }
            Reply::Tidied => self.tidy = false,
        }
    }

    /// The call that the history orders next, apart from issuing.
    pub(crate) fn wanted(&self, scope: &Scope, clock: i8) -> Option<Call> {
        if self.reply.is_some() {
            return None;
        }
        match self.phase() {
            Phase::Provisioning if self.end_order.is_none() && self.end > Some(clock) => {
                Some(Call::Provision)
            }
            Phase::AwaitingApproval
                if scope.is(Mutant::ActsBeforeRecord)
                    && self.gate_is_open(scope)
                    && self.plan(scope).mode == Mode::Create =>
            {
                Some(Call::Provision)
            }
            Phase::Active => self.moving.map(|_| Call::MoveFence),
            Phase::Ending | Phase::Stuck => (self.failures < 2).then_some(Call::End),
            Phase::Ended if self.tidy => {
                let margin = crate::aws::margin(scope);
                let due = self.end.is_some_and(|end| clock >= end + margin);
                due.then_some(Call::Tidy)
            }
            _ => None,
        }
    }
}

fn not_taken_back() -> Event {
    Event::NotTakenBack {
        leftovers: vec![Leftover {
            what: "role".to_owned(),
            error: String::new(),
            cure: String::new(),
        }],
    }
}
