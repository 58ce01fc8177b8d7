//! How an order becomes durable: gate, signature, signal, and a consistent look at what came of it.

use base64::Engine as _;
use hallpass_evidence::{Envelope, Order, Statement};
use hallpass_proto::v1;
use hallpass_types::{
    AccessRequestId, AccessRequestSpec, ApprovalsNeeded, DeniedBy, EndCause, EndInstant,
    Entitlement, Exception, Phase, Principal, Reason, RequestId, RequestSnapshot, Review, State,
};
use hallpass_workflows::names::workflow_id;
use hallpass_workflows::wire::Look;
use jiff::Timestamp;
use tokio::time::Instant;
use tonic::Status;

use super::Api;
use super::errors::{self, BadFields};
use crate::requests::{Recorded, RequestsError, Started};

/// The address of an order: which request, under which idempotency key.
pub(super) struct Address {
    pub(super) id: AccessRequestId,
    pub(super) request_id: RequestId,
}

impl Address {
    /// Reads name and request id, noting what is wrong.
    pub(super) fn read(bad: &mut BadFields, name: &str, request_id: &str) -> Option<Self> {
        let id = bad.take("name", AccessRequestId::parse_name(name));
        let request_id = bad.take("request_id", RequestId::parse(request_id));
        Some(Self {
            id: id?,
            request_id: request_id?,
        })
    }
}

/// Reads words that may be left out.
pub(super) fn optional_reason(bad: &mut BadFields, text: &str) -> Option<Reason> {
    if text.trim().is_empty() {
        None
    } else {
        bad.take("reason", Reason::parse(text))
    }
}

impl Api {
    /// Signs an order about `snapshot`'s request, for its run.
    pub(super) fn sign(
        &self,
        caller: &Principal,
        (run, snapshot): (&str, &RequestSnapshot),
        request_id: &RequestId,
        order: Order,
    ) -> Result<(Statement, Envelope), Status> {
        let statement = Statement {
            deployment: self.deployment.clone(),
            access_request: snapshot.spec.id.clone(),
            run: Some(run.to_owned()),
            request_digest: snapshot.spec.body_digest(),
            request_id: request_id.clone(),
            actor: caller.clone(),
            order,
            signed_at: Timestamp::now(),
        };
        let envelope = self
            .signer
            .sign(&statement)
            .map_err(|e| errors::internal(&e))?;
        Ok((statement, envelope))
    }

    /// Carries an order out by signal. `gate` answers for a caller who may not; `settled` says when
    /// enough has come of it.
    pub(super) async fn order(
        &self,
        caller: &Principal,
        address: Address,
        order: Order,
        gate: impl FnOnce(&RequestSnapshot) -> Result<(), Status>,
        settled: impl Fn(&Look) -> bool,
    ) -> Result<v1::AccessRequest, Status> {
        let Address { id, request_id } = address;
        let name = id.name();
        let look = async {
            match self.requests.look(&id, Some(&request_id)).await {
                // No worker answers: an order must not wait for one to be recorded.
                Err(RequestsError::Unavailable { .. }) => self.look_at_record(&id).await,
                look => look,
            }
        };
        let (look, snapshot) = self.visible(caller, &id, look).await?;
        let (statement, envelope) =
            self.sign(caller, (&look.run, &snapshot), &request_id, order)?;
        if let Some(answer) = self.answered(&look, &statement, &name)? {
            return Ok(answer);
        }
        gate(&snapshot)?;
        let sent = self
            .requests
            .signal(&id, &statement.order, &request_id, &envelope)
            .await;
        sent.map_err(|e| match e {
            // The workflow has closed between the look and the signal.
            RequestsError::NotFound => errors::precondition("STATE", &name, "the request is over"),
            e => errors::from_requests(e, &name),
        })?;
        let about = (Started::Existing, Some(&request_id));
        let look = self.requests.settle(&id, about, Instant::now(), |l| {
            l.receipt.is_some() && settled(l)
        });
        let look = match look.await {
            Err(RequestsError::Unavailable { .. }) => return Err(errors::recorded()),
            look => look.map_err(|e| errors::from_requests(e, &name))?,
        };
        self.answered(&look, &statement, &name)?
            .ok_or_else(errors::recorded)
    }

    /// What is known of an order already: the request as it is, or what the order was refused for.
    fn answered(
        &self,
        look: &Look,
        statement: &Statement,
        name: &str,
    ) -> Result<Option<v1::AccessRequest>, Status> {
        let Some(receipt) = &look.receipt else {
            return Ok(None);
        };
        must_be_same(look, statement)?;
        match (&receipt.refusal, &look.snapshot) {
            (Some(refusal), _) => Err(errors::from_refusal(refusal, name)),
            (None, Some(snapshot)) => Ok(Some(self.shown(snapshot))),
            (None, None) => Ok(None),
        }
    }

    /// A request as its record shows it: enough to tell who may order what. The worker verifies and
    /// weighs again.
    async fn look_at_record(&self, id: &AccessRequestId) -> Result<Look, RequestsError> {
        let recorded = self.requests.recorded(id).await?;
        let started = self
            .trust
            .start(&recorded.start, &workflow_id(id), recorded.started_at);
        let snapshot = match started {
            Ok((spec, _)) => {
                let bundle = self.bundles.current();
                let entitlement = bundle.fill(&spec.entitlement, &spec.parameters);
                Some(Box::new(as_recorded(&recorded, spec, entitlement.ok())))
            }
            Err(_) => None,
        };
        Ok(Look {
            run: recorded.run,
            snapshot,
            refused_start: None,
            body_digest: None,
            receipt: None,
            busy: true,
        })
    }
}

/// What the gates ask of a request. It is shown to nobody: instants stand for some that only the
/// workflow knows.
fn as_recorded(
    recorded: &Recorded,
    spec: AccessRequestSpec,
    entitlement: Option<Entitlement>,
) -> RequestSnapshot {
    let at = recorded.started_at;
    let end = recorded
        .end
        .unwrap_or_else(|| EndInstant::after(at, spec.duration));
    let (cause, since, proved_at) = (EndCause::Expired, at, at);
    let state = match recorded.phase {
        Phase::AwaitingApproval => State::AwaitingApproval { lapses_at: at },
        Phase::Scheduled => State::Scheduled {
            start: spec.start.unwrap_or(at),
        },
        Phase::Provisioning | Phase::Active => State::Active { end },
        Phase::Ending | Phase::Stuck => State::Ending { end, cause, since },
        Phase::Ended => State::Ended {
            cause,
            since,
            proved_at,
        },
        Phase::Failed => State::Failed { proved_at },
        Phase::Denied => State::Denied {
            by: DeniedBy::Policy,
        },
        Phase::Lapsed => State::Lapsed,
        Phase::Withdrawn => State::Withdrawn,
        Phase::Checking => State::Checking,
    };
    // Whether one is open, only the workflow knows: it refuses where none is.
    let review = state.phase().is_final().then(|| Review {
        exception: Exception::default(),
        since: at,
        closed: None,
    });
    RequestSnapshot {
        revision: 0,
        spec,
        created_at: at,
        changed_at: at,
        state,
        end: recorded.end,
        entitlement,
        approvals: ApprovalsNeeded::default(),
        decisions: Vec::new(),
        answers: Vec::new(),
        grant: None,
        credentials: Vec::new(),
        proof: None,
        note: None,
        end_order: None,
        refusals: Vec::new(),
        refused_count: 0,
        granted: None,
        asked: Vec::new(),
        review,
        activated_at: None,
    }
}

/// Refuses an order whose request id was used for another one.
pub(super) fn must_be_same(look: &Look, statement: &Statement) -> Result<(), Status> {
    let digest = statement.body_digest().map_err(|e| errors::internal(&e))?;
    match &look.receipt {
        Some(receipt) if receipt.body_digest != digest => Err(errors::request_id_reused()),
        _ => Ok(()),
    }
}

/// An X25519 public key as signed orders carry it.
pub(super) fn key_text(key: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(key)
}
