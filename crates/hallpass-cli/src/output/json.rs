//! The JSON that programs read: proto3 JSON in spirit, stable by these types.
//!
//! Every field is always there; what is absent is `null` or empty. `int64` is a number.

use std::collections::BTreeMap;
use std::io;

use hallpass_proto::v1;
use serde::Serialize;

use super::clean::is_hostile;
use super::words;

/// One line of JSON that no terminal takes for anything but text.
pub(crate) fn line(object: &impl Serialize) -> String {
    // Credentials pass through here: room enough that growing leaves no copy behind.
    let mut bytes = Vec::with_capacity(8 * 1024);
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Escaping);
    match object.serialize(&mut serializer) {
        Ok(()) => String::from_utf8(bytes).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// Compact, and hostile characters escaped; serde_json escapes only those below U+0020.
struct Escaping;

impl serde_json::ser::Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for c in fragment.chars() {
            if is_hostile(c) {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            } else {
                write!(writer, "{c}")?;
            }
        }
        Ok(())
    }
}

fn instant(at: Option<&prost_types::Timestamp>) -> Option<String> {
    words::instant(at).map(|t| t.to_string())
}

fn span(d: Option<&prost_types::Duration>) -> Option<String> {
    words::span(d).map(|d| match d.subsec_millis() {
        0 => format!("{}s", d.as_secs()),
        ms => format!("{}.{ms:03}s", d.as_secs()),
    })
}

fn list<'a, W, T: From<&'a W>>(wire: &'a [W]) -> Vec<T> {
    wire.iter().map(T::from).collect()
}

macro_rules! shape {
    ($(#[$doc:meta])* $name:ident from $wire:ident as $w:ident {
        $($field:ident: $type:ty = $value:expr,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub(crate) struct $name { $(pub(crate) $field: $type,)* }

        impl From<&v1::$wire> for $name {
            fn from($w: &v1::$wire) -> Self {
                Self { $($field: $value,)* }
            }
        }
    };
}

shape!(
    /// A caller.
    Principal from Principal as w {
        id: String = w.id.clone(),
        kind: &'static str = w.kind().as_str_name(),
        display_name: String = w.display_name.clone(),
        groups: Vec<String> = w.groups.clone(),
        acting_for: String = w.acting_for.clone(),
        mfa: bool = w.mfa,
        authenticated_time: Option<String> = instant(w.authenticated_time.as_ref()),
    }
);

shape!(
    /// What `whoami` prints.
    WhoAmI from WhoAmIResponse as w {
        principal: Option<Principal> = w.principal.as_ref().map(Principal::from),
        may_view_all: bool = w.may_view_all,
        policy_digest: String = w.policy_digest.clone(),
        token_expire_time: Option<String> = instant(w.token_expire_time.as_ref()),
        may_ask_for: Option<Vec<String>> = None,
    }
);

/// The resource names of entitlements.
pub(crate) fn entitlement_names(list: &[v1::Entitlement]) -> Vec<String> {
    list.iter().map(|e| e.name.clone()).collect()
}

shape!(
    /// What can be asked for.
    Entitlement from Entitlement as w {
        name: String = w.name.clone(),
        title: String = w.title.clone(),
        account: String = w.account.clone(),
        account_name: String = w.account_name.clone(),
        environment: String = w.environment.clone(),
        mode: &'static str = w.mode().as_str_name(),
        role_arn: String = w.role_arn.clone(),
        risk: i32 = w.risk,
        max_duration: Option<String> = span(w.max_duration.as_ref()),
        owners: Vec<String> = w.owners.clone(),
        allowed_duration: Option<String> = span(w.allowed_duration.as_ref()),
        region: String = w.region.clone(),
        parameters: Vec<Parameter> = list(&w.parameters),
        source_ips: Vec<String> = w.source_ips.clone(),
        source_vpces: Vec<String> = w.source_vpces.clone(),
        org_id: String = w.org_id.clone(),
        max_session: Option<String> = span(w.max_session.as_ref()),
    }
);

shape!(
    /// What a request may say.
    Parameter from Parameter as w {
        name: String = w.name.clone(),
        title: String = w.title.clone(),
        kind: &'static str = w.kind().as_str_name(),
        choices: Vec<String> = w.choices.clone(),
        default_value: String = w.default_value.clone(),
    }
);

shape!(
    /// An access request.
    AccessRequest from AccessRequest as w {
        name: Option<String> = Some(w.name.clone()).filter(|name| !name.is_empty()),
        entitlement: String = w.entitlement.clone(),
        duration: Option<String> = span(w.duration.as_ref()),
        reason: String = w.reason.clone(),
        ticket: String = w.ticket.clone(),
        requester: Option<Principal> = w.requester.as_ref().map(Principal::from),
        state: &'static str = w.state().as_str_name(),
        create_time: Option<String> = instant(w.create_time.as_ref()),
        update_time: Option<String> = instant(w.update_time.as_ref()),
        lapse_time: Option<String> = instant(w.lapse_time.as_ref()),
        end_time: Option<String> = instant(w.end_time.as_ref()),
        approvals: Approvals = Approvals::from(&w.approvals.unwrap_or_default()),
        decisions: Vec<Decision> = list(&w.decisions),
        policy_answers: Vec<PolicyAnswer> = list(&w.policy_answers),
        role_arn: String = w.role_arn.clone(),
        issued_credentials: Vec<IssuedCredential> = list(&w.issued_credentials),
        end_cause: &'static str = w.end_cause().as_str_name(),
        proof: Option<ProofOfEnd> = w.proof.as_ref().map(ProofOfEnd::from),
        lag: Option<String> = span(w.lag.as_ref()),
        leftovers: Vec<Leftover> = list(&w.leftovers),
        note: String = w.note.clone(),
        refusals: Vec<Refusal> = list(&w.refusals),
        revision: i64 = w.revision,
        entitlement_details: Option<Entitlement> =
            w.entitlement_details.as_ref().map(Entitlement::from),
        granted_duration: Option<String> = span(w.granted_duration.as_ref()),
        break_glass: bool = w.break_glass,
        asked: Vec<Asked> = list(&w.asked),
        review: Option<Review> = w.review.as_ref().map(Review::from),
        parameters: BTreeMap<String, String> = w.parameters.clone().into_iter().collect(),
        start_time: Option<String> = instant(w.start_time.as_ref()),
        uri: String = w.uri.clone(),
    }
);

shape!(
    /// Groups that a request was put to.
    Asked from Asked as w {
        time: Option<String> = instant(w.time.as_ref()),
        groups: Vec<String> = w.groups.clone(),
    }
);

shape!(
    /// A review that is owed, or was.
    Review from Review as w {
        break_glass: bool = w.break_glass,
        paged: Vec<String> = w.paged.clone(),
        reviewers: Vec<String> = w.reviewers.clone(),
        since_time: Option<String> = instant(w.since_time.as_ref()),
        closed_by: Option<Principal> = w.closed_by.as_ref().map(Principal::from),
        reason: String = w.reason.clone(),
        close_time: Option<String> = instant(w.close_time.as_ref()),
    }
);

shape!(
    /// Approvals needed and counted.
    Approvals from Approvals as w {
        required: Tally = Tally::from(&w.required.unwrap_or_default()),
        counted: Tally = Tally::from(&w.counted.unwrap_or_default()),
    }
);

shape!(
    /// Approvals by capacity.
    Tally from ApprovalTally as w {
        owner: i32 = w.owner,
        security: i32 = w.security,
        distinct: i32 = w.distinct,
    }
);

shape!(
    /// A signed decision.
    Decision from Decision as w {
        request_id: String = w.request_id.clone(),
        approver: Option<Principal> = w.approver.as_ref().map(Principal::from),
        verdict: &'static str = w.verdict().as_str_name(),
        reason: String = w.reason.clone(),
        sign_time: Option<String> = instant(w.sign_time.as_ref()),
        statement_digest: String = w.statement_digest.clone(),
        evidence: &'static str = w.evidence().as_str_name(),
        at_most: Option<String> = span(w.at_most.as_ref()),
    }
);

shape!(
    /// A gate's answer.
    PolicyAnswer from PolicyAnswer as w {
        gate: String = w.gate.clone(),
        allowed: bool = w.allowed,
        policy_ids: Vec<String> = w.policy_ids.clone(),
        messages: Vec<String> = w.messages.clone(),
        errors: Vec<String> = w.errors.clone(),
        policy_digest: String = w.policy_digest.clone(),
    }
);

shape!(
    /// Public facts of an issued session.
    IssuedCredential from IssuedCredential as w {
        access_key_id: String = w.access_key_id.clone(),
        session_expire_time: Option<String> = instant(w.session_expire_time.as_ref()),
        end_time: Option<String> = instant(w.end_time.as_ref()),
        assumed_role_id: String = w.assumed_role_id.clone(),
        serial: i32 = w.serial,
        recipient_key_digest: String = w.recipient_key_digest.clone(),
    }
);

shape!(
    /// The proof that it is over.
    ProofOfEnd from ProofOfEnd as w {
        prove_time: Option<String> = instant(w.prove_time.as_ref()),
        read_back: String = w.read_back.clone(),
        denied_call: String = w.denied_call.clone(),
        denied_code: String = w.denied_code.clone(),
        aws_request_ids: Vec<String> = w.aws_request_ids.clone(),
        allowed_call: String = w.allowed_call.clone(),
        no_allowed_call: String = w.no_allowed_call.clone(),
        canary_access_request: String = w.canary_access_request.clone(),
        canary_fence_time: Option<String> = instant(w.canary_fence_time.as_ref()),
    }
);

shape!(
    /// What AWS still holds.
    Leftover from Leftover as w {
        what: String = w.what.clone(),
        error: String = w.error.clone(),
        cure: String = w.cure.clone(),
    }
);

shape!(
    /// A refused message.
    Refusal from Refusal as w {
        time: Option<String> = instant(w.time.as_ref()),
        door: String = w.door.clone(),
        code: String = w.code.clone(),
        why: String = w.why.clone(),
    }
);

shape!(
    /// One step of a trail.
    TimelineEntry from TimelineEntry as w {
        time: Option<String> = instant(w.time.as_ref()),
        event_id: i64 = w.event_id,
        actor: String = w.actor.clone(),
        kind: String = w.kind.clone(),
        summary: String = w.summary.clone(),
        details: BTreeMap<String, String> = w.details.clone().into_iter().collect(),
    }
);

shape!(
    /// What `timeline` prints.
    Timeline from GetTimelineResponse as w {
        entries: Vec<TimelineEntry> = list(&w.entries),
        run_id: String = w.run_id.clone(),
        event_count: i64 = w.event_count,
        history_digest: String = w.history_digest.clone(),
    }
);

shape!(
    /// Something that a sweep found.
    SweepFinding from SweepFinding as w {
        account: String = w.account.clone(),
        what: String = w.what.clone(),
        access_request: String = w.access_request.clone(),
        known: String = w.known.clone(),
        judgement: String = w.judgement.clone(),
        done: bool = w.done,
        error: String = w.error.clone(),
    }
);

shape!(
    /// What `admin sweep` prints.
    Sweep from SweepResponse as w {
        findings: Vec<SweepFinding> = list(&w.findings),
        errors: Vec<String> = w.errors.clone(),
    }
);

/// What `logout` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoggedOut {
    pub(crate) server: String,
    pub(crate) was_logged_in: bool,
}

/// What `ls` and `queue` print.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccessRequests {
    access_requests: Vec<AccessRequest>,
}

impl From<&[v1::AccessRequest]> for AccessRequests {
    fn from(wire: &[v1::AccessRequest]) -> Self {
        Self {
            access_requests: list(wire),
        }
    }
}

/// What `entitlements` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entitlements {
    entitlements: Vec<Entitlement>,
}

impl From<&[v1::Entitlement]> for Entitlements {
    fn from(wire: &[v1::Entitlement]) -> Self {
        Self {
            entitlements: list(wire),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_escaped_and_comes_back() {
        let text = "a\u{9b}31m\u{202e}\u{7f}\u{1b}é\"\n\u{e0041}";
        let json = line(&text);
        assert!(!json.chars().any(is_hostile), "{json:?}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn durations_keep_milliseconds() {
        let d = |seconds, nanos| span(Some(&prost_types::Duration { seconds, nanos })).unwrap();
        assert_eq!([d(3_600, 0), d(0, 412_300_000)], ["3600s", "0.412s"]);
    }

    #[test]
    fn programs_read_what_sessions_are_bound_to() {
        let bound = serde_json::to_value(Entitlement::from(&crate::output::samples::bound()));
        let bound = bound.unwrap();
        assert_eq!(bound["sourceIps"], serde_json::json!(["203.0.113.0/24"]));
        assert_eq!(bound["sourceVpces"], serde_json::json!(["vpce-1a2b3c4d"]));
        assert_eq!(bound["orgId"], "o-a1b2c3d4e5");
        assert_eq!(bound["maxSession"], "900s");
    }

    #[test]
    fn an_access_request_keeps_its_shape() {
        let shape = |r| serde_json::to_string_pretty(&AccessRequest::from(&r)).unwrap();
        let mut ended = crate::output::samples::ended();
        ended.reason = "stuck migration".to_owned();
        insta::assert_snapshot!("an_access_request", shape(ended));
        let empty: serde_json::Value =
            serde_json::from_str(&shape(v1::AccessRequest::default())).unwrap();
        let full: serde_json::Value =
            serde_json::from_str(&shape(crate::output::samples::ended())).unwrap();
        let keys = |v: &serde_json::Value| -> Vec<String> {
            v.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(keys(&empty), keys(&full));
    }
}
