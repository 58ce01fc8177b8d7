//! History to an ordered trail in people's words.

use std::collections::{BTreeMap, HashMap};

use hallpass_evidence::{Envelope, Keyring, Order, Statement};
use hallpass_types::grant::ReadBack;
use hallpass_types::{
    EndCause, Grant, PolicyAnswer, ProofOfEnd, SealedCredentials, Sha256Digest, Verdict,
};
use hallpass_workflows::wire::{
    Admission, EndInput, ExtendReply, IssueReply, Outcome, Reply, Weighing,
};
use jiff::Timestamp;
use prost::Message as _;
use serde::de::DeserializeOwned;
use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads};
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::history::v1::{History, HistoryEvent};
use temporalio_common::protos::temporal::api::update::v1::outcome::Value as UpdateValue;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When Temporal recorded it.
    pub time: Timestamp,
    /// The event in the history.
    pub event_id: i64,
    /// A principal, `policy`, `hallpass`, `aws` or `unknown`.
    pub actor: String,
    /// Stable code, for instance `decision.approve`.
    pub kind: &'static str,
    /// One line for people.
    pub summary: String,
    /// Facts by name.
    pub details: BTreeMap<String, String>,
}

/// Digest of a history in its protobuf form.
pub fn digest(history: &History) -> Sha256Digest {
    Sha256Digest::of(&history.encode_to_vec())
}

/// The trail of a history: every order that arrived, every gate's answer, everything AWS was told
/// to do, and the proof. Steps of the engine itself are left out.
pub fn timeline(history: &History) -> Vec<Entry> {
    let mut reader = Reader::default();
    history
        .events
        .iter()
        .flat_map(|event| reader.read(event))
        .collect()
}

/// What earlier events say about later ones.
#[derive(Default)]
struct Reader {
    activities: HashMap<i64, (String, Option<Payload>)>,
    updates: HashMap<String, String>,
    trust: Option<(Keyring, String)>,
}

/// A step before it is stamped.
struct Step {
    actor: String,
    kind: &'static str,
    summary: String,
    details: Vec<(&'static str, String)>,
}

fn step(actor: impl Into<String>, kind: &'static str, summary: impl Into<String>) -> Step {
    Step {
        actor: actor.into(),
        kind,
        summary: summary.into(),
        details: Vec::new(),
    }
}

impl Step {
    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.details.push((name, value.to_string()));
        self
    }
}

impl Reader {
    fn read(&mut self, event: &HistoryEvent) -> Vec<Entry> {
        let time = event
            .event_time
            .as_ref()
            .and_then(|t| Timestamp::new(t.seconds, t.nanos).ok())
            .unwrap_or(Timestamp::UNIX_EPOCH);
        let steps = event
            .attributes
            .as_ref()
            .map(|a| self.steps(event.event_id, a));
        let stamp = |s: Step| Entry {
            time,
            event_id: event.event_id,
            actor: s.actor,
            kind: s.kind,
            summary: s.summary,
            details: s
                .details
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect(),
        };
        steps.unwrap_or_default().into_iter().map(stamp).collect()
    }

    fn steps(&mut self, event_id: i64, attributes: &Attributes) -> Vec<Step> {
        match attributes {
            Attributes::WorkflowExecutionStartedEventAttributes(a) => {
                vec![requested(first::<serde_json::Value>(a.input.as_ref()))]
            }
            Attributes::WorkflowExecutionSignaledEventAttributes(a) => {
                vec![self.ordered(first(a.input.as_ref()), &a.signal_name)]
            }
            Attributes::ActivityTaskScheduledEventAttributes(a) => {
                let name = a
                    .activity_type
                    .as_ref()
                    .map(|t| t.name.clone())
                    .unwrap_or_default();
                let input = a.input.as_ref().and_then(|p| p.payloads.first().cloned());
                let steps = scheduled(&name, input.as_ref());
                self.activities.insert(event_id, (name, input));
                steps
            }
            Attributes::ActivityTaskCompletedEventAttributes(a) => {
                let known = self.activities.get(&a.scheduled_event_id).cloned();
                let (name, input) = known.unwrap_or_default();
                self.completed(&name, input.as_ref(), a.result.as_ref())
            }
            Attributes::ActivityTaskFailedEventAttributes(a) => {
                let known = self.activities.get(&a.scheduled_event_id);
                let name = known.map(|(name, _)| name.clone()).unwrap_or_default();
                let why = a
                    .failure
                    .as_ref()
                    .map(|f| f.message.clone())
                    .unwrap_or_default();
                vec![step(
                    "hallpass",
                    "activity.failed",
                    format!("{name} failed: {why}"),
                )]
            }
            Attributes::WorkflowExecutionUpdateAcceptedEventAttributes(a) => {
                let request = a.accepted_request.as_ref();
                let input = request.and_then(|r| r.input.as_ref());
                let name = input.map(|i| i.name.clone()).unwrap_or_default();
                let order = self.ordered(first(input.and_then(|i| i.args.as_ref())), &name);
                self.updates.insert(a.protocol_instance_id.clone(), name);
                vec![order]
            }
            Attributes::WorkflowExecutionUpdateCompletedEventAttributes(a) => {
                let id = a
                    .meta
                    .as_ref()
                    .map(|m| m.update_id.clone())
                    .unwrap_or_default();
                let name = self.updates.get(&id).cloned().unwrap_or_default();
                let value = a.outcome.as_ref().and_then(|o| o.value.as_ref());
                updated(&name, value)
            }
            Attributes::WorkflowExecutionCompletedEventAttributes(a) => {
                first::<Outcome>(a.result.as_ref())
                    .map(closed)
                    .into_iter()
                    .collect()
            }
            Attributes::WorkflowExecutionTerminatedEventAttributes(a) => {
                let why = format!("the workflow was terminated in Temporal: {}", a.reason);
                vec![step("unknown", "workflow.terminated", why)]
            }
            Attributes::WorkflowExecutionCancelRequestedEventAttributes(_) => {
                vec![step(
                    "unknown",
                    "workflow.cancel",
                    "the workflow was cancelled in Temporal",
                )]
            }
            _ => Vec::new(),
        }
    }

    /// An order as it arrived, and whether its signature holds.
    fn ordered(&self, payload: Option<serde_json::Value>, door: &str) -> Step {
        let envelope = payload.and_then(|p| serde_json::from_value::<Envelope>(p).ok());
        let verified = envelope
            .as_ref()
            .zip(self.trust.as_ref())
            .map(|(e, (ring, deployment))| {
                e.verify(ring, deployment)
                    .map_err(|error| error.to_string())
            });
        match (envelope, verified) {
            (Some(envelope), Some(Ok(statement))) => {
                spoken(&statement).with("statement_digest", envelope.digest())
            }
            (Some(_), Some(Err(why))) => step(
                "unknown",
                "order.refused",
                format!("an order to {door} was refused: {why}"),
            ),
            (Some(_), None) => step(
                "unknown",
                "order.early",
                format!("an order to {door}, before admission"),
            ),
            (None, _) => {
                let why = format!("something unsigned came as an order to {door}: refused");
                step("unknown", "order.refused", why)
            }
        }
    }

    fn completed(
        &mut self,
        name: &str,
        input: Option<&Payload>,
        result: Option<&Payloads>,
    ) -> Vec<Step> {
        match name {
            "hallpass.admit" => match first::<Admission>(result) {
                Some(Admission::Answered(admitted)) => {
                    self.trust = Some((admitted.keyring.clone(), admitted.deployment.clone()));
                    let mut steps = vec![answered(&admitted.request)];
                    if let Some(required) = admitted.required.filter(|t| t.distinct > 0) {
                        let words = format!(
                            "needs {} approval(s): {} as owner, {} for security",
                            required.distinct, required.owner, required.security
                        );
                        steps.push(step("policy", "approvals.needed", words));
                    } else if admitted.required.is_some() {
                        steps.push(answered(&admitted.activate));
                    }
                    steps
                }
                Some(Admission::Refused { code, why }) => {
                    vec![step("hallpass", "start.refused", why).with("code", code)]
                }
                None => Vec::new(),
            },
            "hallpass.weigh" => first::<Weighing>(result).map(weighed).unwrap_or_default(),
            "hallpass.provision" => first::<Grant>(result).map(made).into_iter().collect(),
            "hallpass.move_fence" => vec![step("aws", "fence.moved", "the fence was moved")],
            "hallpass.end_access" => first::<ProofOfEnd>(result)
                .map(|proof| proved(&proof, input.and_then(decode::<EndInput>)))
                .into_iter()
                .collect(),
            "hallpass.tidy" => {
                vec![step(
                    "aws",
                    "cut.removed",
                    "the deny was removed: the fence alone holds",
                )]
            }
            _ => Vec::new(),
        }
    }
}

fn requested(payload: Option<serde_json::Value>) -> Step {
    // The admission that follows says whether the signature holds.
    let statement = payload
        .and_then(|p| serde_json::from_value::<Envelope>(p).ok())
        .and_then(|e| e.claimed());
    match statement.as_ref().map(|s| (&s.actor, &s.order)) {
        Some((actor, Order::RequestAccess { spec })) => {
            let what = format!(
                "asked for {} for {}: {}",
                spec.entitlement, spec.duration, spec.reason
            );
            let step = step(actor.id.to_string(), "request", what)
                .with("entitlement", &spec.entitlement)
                .with("duration", spec.duration)
                .with("reason", &spec.reason)
                .with("request_id", &spec.request_id);
            match &spec.ticket {
                Some(ticket) => step.with("ticket", ticket),
                None => step,
            }
        }
        _ => step(
            "unknown",
            "request.unsigned",
            "started with something that is no signed request",
        ),
    }
}

fn spoken(statement: &Statement) -> Step {
    let because = |reason: &Option<_>| match reason {
        Some(reason) => format!(": {reason}"),
        None => String::new(),
    };
    let who = statement.actor.id.to_string();
    let step = match &statement.order {
        Order::Decide {
            verdict: Verdict::Approve,
            reason,
        } => step(
            who,
            "decision.approve",
            format!("approved{}", because(reason)),
        ),
        Order::Decide {
            verdict: Verdict::Deny,
            reason,
        } => step(who, "decision.deny", format!("denied{}", because(reason))),
        Order::Withdraw { reason } => step(
            who,
            "order.withdraw",
            format!("withdrew the request{}", because(reason)),
        ),
        Order::Return { reason } => step(
            who,
            "order.return",
            format!("gave access back{}", because(reason)),
        ),
        Order::Revoke { reason } => {
            step(who, "order.revoke", format!("took access back: {reason}"))
        }
        Order::Extend { by_seconds, reason } => step(
            who,
            "order.extend",
            format!("asked for {by_seconds} s more: {reason}"),
        ),
        Order::IssueCredentials { .. } => step(
            who,
            "order.issue",
            "asked for credentials, sealed to a key of their own",
        ),
        Order::RequestAccess { .. } => step(who, "order.refused", "a request inside a request"),
    };
    step.with("request_id", &statement.request_id)
        .with("signed_at", statement.signed_at)
        .with("mfa", statement.actor.auth.mfa)
}

fn answered(answer: &PolicyAnswer) -> Step {
    let (kind, word) = if answer.allows() {
        ("policy.allow", "opened")
    } else {
        ("policy.deny", "stayed shut")
    };
    let summary = format!("the {} gate {word}. {}", answer.gate, answer.explain());
    step("policy", kind, summary)
        .with("policy_ids", answer.policy_ids.join(", "))
        .with("policy_digest", &answer.policy_digest)
}

fn weighed(weighing: Weighing) -> Vec<Step> {
    let tally = weighing.tally;
    let mut steps: Vec<Step> = weighing
        .not_counted
        .iter()
        .map(|(who, answer)| {
            step(
                "policy",
                "decision.not_counted",
                format!("{who} does not count. {}", answer.explain()),
            )
        })
        .collect();
    if let Some(who) = &weighing.denied_by {
        steps.push(step(
            "policy",
            "decision.final",
            format!("{who} may deny: the request is over"),
        ));
        return steps;
    }
    steps.extend(weighing.answers.iter().map(|answer| {
        answered(answer)
            .with("owner", tally.owner)
            .with("security", tally.security)
            .with("distinct", tally.distinct)
    }));
    steps
}

fn scheduled(name: &str, input: Option<&Payload>) -> Vec<Step> {
    match name {
        "hallpass.provision" => {
            vec![step(
                "hallpass",
                "provision.ordered",
                "ordered to make the role; its end is fixed",
            )]
        }
        "hallpass.end_access" => {
            let Some(input) = input.and_then(decode::<EndInput>) else {
                return Vec::new();
            };
            let words = match input.cause {
                EndCause::Expired => "the end has come",
                EndCause::Returned => "access was given back: cutting sessions",
                EndCause::Revoked => "access was taken back: cutting sessions",
                EndCause::ProvisioningFailed => "provisioning failed: taking back what was made",
            };
            vec![step("hallpass", "end.ordered", words).with("end", input.end)]
        }
        _ => Vec::new(),
    }
}

fn made(grant: Grant) -> Step {
    step(
        "aws",
        "role.made",
        format!("made {} with its fence", grant.role_arn),
    )
    .with("role_arn", &grant.role_arn)
    .with("aws_request_ids", grant.aws_request_ids.join(", "))
}

fn updated(name: &str, value: Option<&UpdateValue>) -> Vec<Step> {
    let payloads = match value {
        Some(UpdateValue::Success(payloads)) => Some(payloads),
        Some(UpdateValue::Failure(failure)) => {
            return vec![step("hallpass", "order.refused", failure.message.clone())];
        }
        None => None,
    };
    let refused = |why: String| step("hallpass", "order.refused", format!("refused: {why}"));
    match name {
        "issue" => match first::<IssueReply>(payloads) {
            Some(Reply::Done(sealed)) => vec![issued(&sealed)],
            Some(Reply::Refused(refusal)) => vec![refused(refusal.why)],
            None => Vec::new(),
        },
        "extend" => match first::<ExtendReply>(payloads) {
            Some(Reply::Done(end)) => {
                vec![step("hallpass", "extended", format!("the end is now {end}")).with("end", end)]
            }
            Some(Reply::Refused(refusal)) => vec![refused(refusal.why)],
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn issued(sealed: &SealedCredentials) -> Step {
    let c = &sealed.credential;
    let summary = format!(
        "issued session {} ({}), sealed; refused from {} on",
        c.serial, c.access_key_id, c.end
    );
    step("aws", "session.issued", summary)
        .with("access_key_id", &c.access_key_id)
        .with("session_expires_at", c.session_expires_at)
        .with("end", c.end)
        .with("aws_userid", &c.assumed_role_id)
        .with("recipient_key_digest", &c.recipient_key_digest)
        .with("aws_request_id", c.aws_request_id.as_deref().unwrap_or("-"))
}

fn proved(proof: &ProofOfEnd, input: Option<EndInput>) -> Step {
    let read_back = match &proof.read_back {
        ReadBack::RoleGone { role_arn } => format!("role {role_arn} is gone"),
        ReadBack::DenyInPlace { policy_name, .. } => format!("deny {policy_name} stands"),
        ReadBack::FencePassed { end } => format!("the fence's instant {end} has passed"),
    };
    let canary = proof
        .canary
        .as_ref()
        .map(|c| format!("; {} was refused: {}", c.call, c.code));
    let summary = format!("proved over: {read_back}{}", canary.unwrap_or_default());
    let mut step = step("aws", "end.proved", summary)
        .with("proved_at", proof.proved_at)
        .with("aws_request_ids", proof.aws_request_ids.join(", "));
    if let Some(EndInput {
        cause: EndCause::Expired,
        end,
        ..
    }) = input
    {
        let lag = proof.proved_at.duration_since(end.timestamp());
        step = step.with("lag_ms", lag.as_millis());
    }
    step
}

fn closed(outcome: Outcome) -> Step {
    let phase = outcome.state.phase();
    let lag = outcome.state.lag();
    let step = step("hallpass", "closed", format!("{phase}"))
        .with("sessions", outcome.issued)
        .with("decisions", outcome.decisions)
        .with("refused_messages", outcome.refused);
    match lag {
        Some(lag) => step.with("lag_ms", lag.as_millis()),
        None => step,
    }
}

fn first<T: DeserializeOwned>(payloads: Option<&Payloads>) -> Option<T> {
    decode(payloads?.payloads.first()?)
}

fn decode<T: DeserializeOwned>(payload: &Payload) -> Option<T> {
    serde_json::from_slice(&payload.data).ok()
}
