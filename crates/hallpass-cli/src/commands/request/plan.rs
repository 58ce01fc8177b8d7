//! What asking would do, before it is done: a decision without I/O.

use std::time::Duration;

use hallpass_proto::v1;
use hallpass_proto::v1::access_request::State;
use hallpass_types::{EntitlementId, GrantDuration};
use jiff::Timestamp;
use serde::Serialize;

use crate::commands::target;
use crate::durations;
use crate::hints;
use crate::output::clean::clean;
use crate::output::{Colour, View, detail, json, words};

/// One target, and what asking for it would do.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// What is asked for.
    pub(super) entitlement: EntitlementId,
    /// For how long.
    pub(super) duration: Duration,
    /// What it would do.
    pub(super) step: Step,
    /// The answer to the question what would happen, or the request that is there already.
    pub(super) request: v1::AccessRequest,
}

/// What asking would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Access at once.
    Activate,
    /// People are asked.
    Ask { whom: String },
    /// Policy says no.
    Deny { why: String },
    /// It is there: its end moves.
    Extend { by: Duration },
    /// It is there, for longer than asked.
    Have,
    /// It was asked for already; for another duration than is asked for now, where one was.
    Wait { instead_of: Option<Duration> },
}

/// What `--dry-run` prints for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlanObject {
    plan: &'static str,
    extend_by: Option<String>,
    access_request: json::AccessRequest,
}

impl Plan {
    /// The plan that needs nobody's answer, because the caller has or waits for it already. The
    /// duration that was said, if one was, is told from the usual one.
    pub(super) fn of_open(
        open: &[v1::AccessRequest],
        entitlement: &EntitlementId,
        (duration, said): (Duration, Option<Duration>),
        now: Timestamp,
    ) -> Option<Self> {
        let plan = |step, request: &v1::AccessRequest| Self {
            entitlement: entitlement.clone(),
            duration,
            step,
            request: request.clone(),
        };
        if let Some(active) = target::latest(open, entitlement) {
            let end = words::instant(active.end_time.as_ref())?;
            let wanted = now.saturating_add(duration).unwrap_or(now);
            let by = Duration::try_from(wanted.duration_since(end)).unwrap_or_default();
            let by = Duration::from_secs(by.as_secs());
            let is_worth_it = by.as_secs() >= u64::from(GrantDuration::MIN_SECONDS);
            let step = if is_worth_it {
                Step::Extend { by }
            } else {
                Step::Have
            };
            return Some(plan(step, active));
        }
        let name = entitlement.name();
        let waiting = open.iter().find(|r| r.entitlement == name)?;
        let asked = words::span(waiting.duration.as_ref());
        let instead_of = asked.filter(|asked| said.is_some_and(|said| said != *asked));
        Some(plan(Step::Wait { instead_of }, waiting))
    }

    /// The plan that policy's answer leads to.
    pub(super) fn of_answer(
        entitlement: &EntitlementId,
        duration: Duration,
        mut answer: v1::AccessRequest,
    ) -> Self {
        // The service names what it would make; nothing of that name exists.
        answer.name.clear();
        answer.uri.clear();
        let step = match answer.state() {
            State::Denied | State::Failed => Step::Deny {
                why: words::why_not(&answer),
            },
            state => match whom(&answer) {
                None if state != State::AwaitingApproval => Step::Activate,
                whom => Step::Ask {
                    whom: whom.unwrap_or_else(|| "nobody".to_owned()),
                },
            },
        };
        Self {
            entitlement: entitlement.clone(),
            duration,
            step,
            request: answer,
        }
    }

    /// Whether nothing would be asked for.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self.step, Step::Deny { .. })
    }

    /// Whether it changes something.
    pub(super) fn is_action(&self) -> bool {
        matches!(
            self.step,
            Step::Activate | Step::Ask { .. } | Step::Extend { .. }
        )
    }

    /// For programs.
    pub(super) fn object(&self) -> PlanObject {
        PlanObject {
            plan: match self.step {
                Step::Activate => "WILL_ACTIVATE",
                Step::Ask { .. } => "WILL_ASK",
                Step::Deny { .. } => "WILL_BE_DENIED",
                Step::Extend { .. } => "WILL_EXTEND",
                Step::Have => "ACTIVE",
                Step::Wait { .. } => "WAITING",
            },
            extend_by: match self.step {
                Step::Extend { by } => Some(format!("{}s", by.as_secs())),
                _ => None,
            },
            access_request: (&self.request).into(),
        }
    }

    /// For people.
    pub(super) fn human(&self, view: &View) -> String {
        let id = words::id(&self.request);
        let until = words::instant(self.request.end_time.as_ref())
            .map_or_else(String::new, |end| format!(" until {}", view.instant(end)));
        match &self.step {
            Step::Activate => {
                let owed = self.request.review.as_ref().map(words::owed);
                let owed = owed.map_or_else(String::new, |owed| format!(" {owed}"));
                let words = view.paint("WILL ACTIVATE", Some(Colour::Green));
                format!("{words}{}{owed}", self.chosen(view))
            }
            Step::Ask { whom } => {
                let words = view.paint("WILL ASK", Some(Colour::Yellow));
                let glass = words::unbroken(&self.request);
                let glass = glass.map_or_else(String::new, |said| format!("; {said}"));
                format!("{words} ({whom}){}{glass}", self.chosen(view))
            }
            Step::Deny { why } => {
                format!("{}: {why}", view.paint("WILL BE DENIED", Some(Colour::Red)))
            }
            Step::Extend { by } => {
                let by = durations::words(*by);
                let words = view.paint("WILL EXTEND", Some(Colour::Green));
                format!("{words} {id}, active{until}, by {by}")
            }
            Step::Have => {
                let words = view.paint("ACTIVE", Some(Colour::Green));
                format!("{words}{until}, which is longer than that: {id}")
            }
            Step::Wait { instead_of } => {
                let words = view.paint("ASKED ALREADY", Some(Colour::Yellow));
                match instead_of {
                    None => format!("{words}: {id}"),
                    Some(asked) => format!(
                        "{words} for {}: {id}; to have it for {} instead, take that back \
                         first: {}",
                        durations::words(*asked),
                        durations::words(self.duration),
                        hints::typed(&format!("hallpass withdraw {id}")),
                    ),
                }
            }
        }
    }

    /// Its values, its start and what its sessions are bound to, where it has any.
    fn chosen(&self, view: &View) -> String {
        let values = words::parameters(&self.request);
        let values = match values.as_str() {
            "" => String::new(),
            values => format!(", with {values}"),
        };
        let starts = detail::starts(view, &self.request);
        let starts = starts.map_or_else(String::new, |starts| format!(", {starts}"));
        let usable = words::and_usable(self.request.entitlement_details.as_ref());
        format!("{values}{starts}{usable}")
    }

    /// What became of it, for people.
    pub(super) fn done(&self, view: &View, now: &v1::AccessRequest) -> String {
        let (word, colour) = match (&self.step, now.state()) {
            (_, State::Denied) => ("DENIED", Colour::Red),
            (_, State::Failed) => ("FAILED", Colour::Red),
            (Step::Extend { .. }, _) => ("EXTENDED", Colour::Green),
            (Step::Have, _) => ("ACTIVE", Colour::Green),
            (_, State::Active) => ("ACTIVATED", Colour::Green),
            (_, State::Scheduled) => ("SCHEDULED", Colour::Yellow),
            (Step::Wait { .. }, _) => ("ASKED ALREADY", Colour::Yellow),
            _ => ("ASKED", Colour::Yellow),
        };
        let entitlement = clean(self.entitlement.as_str());
        let (word, state) = (
            view.paint(word, Some(colour)),
            detail::state_line(view, now),
        );
        format!("{entitlement}: {word}, {state}")
    }
}

/// Who is asked and how many: `1 owner of data-owners, 1 security`.
fn whom(answer: &v1::AccessRequest) -> Option<String> {
    let missing = words::missing(answer.approvals.as_ref());
    if missing == "nobody" {
        return None;
    }
    let owners = answer
        .entitlement_details
        .as_ref()
        .map_or_else(String::new, |e| clean(&e.owners.join(" or ")));
    if owners.is_empty() {
        return Some(missing);
    }
    Some(missing.replacen(" owner", &format!(" owner of {owners}"), 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    fn entitlement() -> EntitlementId {
        EntitlementId::parse("prod-db-admin").unwrap()
    }

    fn of_answer(state: State, owner: i32) -> Plan {
        let answer = v1::AccessRequest {
            state: state.into(),
            approvals: Some(v1::Approvals {
                required: Some(v1::ApprovalTally {
                    owner,
                    security: 0,
                    distinct: owner,
                }),
                counted: None,
            }),
            note: "not on call".to_owned(),
            entitlement_details: Some(samples::entitlement()),
            ..Default::default()
        };
        Plan::of_answer(&entitlement(), Duration::from_secs(600), answer)
    }

    fn of_open(open: &[v1::AccessRequest], seconds: u64) -> Option<Step> {
        let now = samples::view(None).now;
        let duration = Duration::from_secs(seconds);
        let said = (duration, Some(duration));
        Plan::of_open(open, &entitlement(), said, now).map(|plan| plan.step)
    }

    #[test]
    fn the_plan_follows_the_state_and_the_missing_approvals() {
        assert_eq!(of_answer(State::Provisioning, 0).step, Step::Activate);
        for state in [State::Checking, State::AwaitingApproval] {
            let whom = "1 owner of data-owners".to_owned();
            assert_eq!(of_answer(state, 1).step, Step::Ask { whom });
        }
        let denied = of_answer(State::Denied, 0);
        let why = "not on call".to_owned();
        assert_eq!(denied.step, Step::Deny { why });
        assert!(denied.is_denied() && !denied.is_action());
    }

    #[test]
    fn what_is_active_is_extended_to_the_end_that_asking_would_give() {
        // Active for another 90 minutes.
        let open = [samples::pending(), samples::active()];
        let by = Duration::from_secs(1_800);
        assert_eq!(of_open(&open, 7_200), Some(Step::Extend { by }));
        assert_eq!(of_open(&open, 5_404), Some(Step::Have));
        assert_eq!(of_open(&open, 600), Some(Step::Have));
    }

    #[test]
    fn what_waits_is_not_asked_for_twice_and_other_things_do_not_count() {
        let instead_of = Some(Duration::from_secs(5_400));
        let other = Step::Wait { instead_of };
        assert_eq!(of_open(&[samples::pending()], 600), Some(other));
        let same = Step::Wait { instead_of: None };
        assert_eq!(of_open(&[samples::pending()], 5_400), Some(same.clone()));
        let now = samples::view(None).now;
        let usual = (Duration::from_secs(3_600), None);
        let plan = Plan::of_open(&[samples::pending()], &entitlement(), usual, now);
        assert_eq!(plan.unwrap().step, same, "nothing was said");
        let other = v1::AccessRequest {
            entitlement: "entitlements/dev-read".to_owned(),
            ..samples::active()
        };
        assert_eq!(of_open(&[other], 600), None);
    }

    #[test]
    fn what_would_be_made_has_no_name_yet_and_a_glass_that_stays_whole_is_told() {
        let answer = v1::AccessRequest {
            break_glass: true,
            ..samples::pending()
        };
        let plan = Plan::of_answer(&entitlement(), Duration::from_secs(60), answer);
        let object = serde_json::to_value(plan.object()).unwrap();
        assert_eq!(object["accessRequest"]["name"], serde_json::Value::Null);
        let human = plan.human(&samples::view(None));
        let said = "; policy does not open it by break-glass: people decide";
        assert!(human.ends_with(said), "{human}");
    }

    #[test]
    fn whoever_asks_is_told_what_sessions_are_bound_to() {
        let answer = |state: State| v1::AccessRequest {
            state: state.into(),
            entitlement_details: Some(samples::bound()),
            start_time: Some(samples::at(7_200)),
            ..samples::pending()
        };
        let human = |state, approvals| {
            let answer = v1::AccessRequest {
                approvals,
                ..answer(state)
            };
            let plan = Plan::of_answer(&entitlement(), Duration::from_secs(60), answer);
            plan.human(&samples::view(None))
        };
        let asks = human(State::AwaitingApproval, samples::pending().approvals);
        insta::assert_snapshot!(format!("{asks}\n{}", human(State::Active, None)), @"
        WILL ASK (1 security), with prefix=orders, from 14:00:00 to 15:30:00 (in 1h50m), usable only from 203.0.113.0/24 or vpce-1a2b3c4d, in organization o-a1b2c3d4e5
        WILL ACTIVATE, with prefix=orders, from 14:00:00 to 15:30:00 (in 1h50m), usable only from 203.0.113.0/24 or vpce-1a2b3c4d, in organization o-a1b2c3d4e5
        ");
    }

    #[test]
    fn people_read_before_and_after_what_it_does() {
        let view = samples::view(None);
        let now = view.now;
        let plan = |open: &[v1::AccessRequest], seconds| {
            let duration = Duration::from_secs(seconds);
            Plan::of_open(open, &entitlement(), (duration, Some(duration)), now).unwrap()
        };
        let extend = plan(&[samples::active()], 7_200);
        let have = plan(&[samples::active()], 60);
        let wait = plan(&[samples::pending()], 60);
        let (asks, gets) = (
            of_answer(State::AwaitingApproval, 1),
            of_answer(State::Active, 0),
        );
        let mut text = String::new();
        for (plan, after) in [
            (&extend, samples::active()),
            (&have, samples::active()),
            (&wait, samples::pending()),
            (&asks, samples::pending()),
            (&gets, samples::active()),
        ] {
            text.push_str(&format!(
                "{}\n  {}\n",
                plan.human(&view),
                plan.done(&view, &after)
            ));
        }
        insta::assert_snapshot!(text, @"
        WILL EXTEND ar-0123456789abcdefghjkmnpqrs, active until 13:40:00, by 30m
          prod-db-admin: EXTENDED, active: until 13:40:00 (in 1h30m)
        ACTIVE until 13:40:00, which is longer than that: ar-0123456789abcdefghjkmnpqrs
          prod-db-admin: ACTIVE, active: until 13:40:00 (in 1h30m)
        ASKED ALREADY for 1h30m: ar-0123456789abcdefghjkmnpqrs; to have it for 1m instead, take that back first: hallpass withdraw ar-0123456789abcdefghjkmnpqrs
          prod-db-admin: ASKED ALREADY, waiting for approval: needs 1 security
        WILL ASK (1 owner of data-owners)
          prod-db-admin: ASKED, waiting for approval: needs 1 security
        WILL ACTIVATE
          prod-db-admin: ACTIVATED, active: until 13:40:00 (in 1h30m)
        ");
    }
}
