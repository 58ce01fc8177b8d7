//! How an order becomes durable: gate, signature, signal, and a consistent look at what came of it.

use base64::Engine as _;
use hallpass_evidence::{Envelope, Order, Statement};
use hallpass_proto::{convert, v1};
use hallpass_types::{AccessRequestId, Principal, Reason, RequestId, RequestSnapshot};
use hallpass_workflows::wire::Look;
use jiff::Timestamp;
use tonic::Status;

use super::Api;
use super::errors::{self, BadFields};

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
    /// Signs an order about `snapshot`'s request, for the run that `look` saw.
    pub(super) fn sign(
        &self,
        caller: &Principal,
        (look, snapshot): (&Look, &RequestSnapshot),
        request_id: &RequestId,
        order: Order,
    ) -> Result<(Statement, Envelope), Status> {
        let statement = Statement {
            deployment: self.deployment.clone(),
            access_request: snapshot.spec.id.clone(),
            run: Some(look.run.clone()),
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
        let look = self.requests.look(&id, Some(&request_id));
        let (look, snapshot) = self.visible(caller, &id, look).await?;
        let (statement, envelope) = self.sign(caller, (&look, &snapshot), &request_id, order)?;
        if let Some(answer) = answered(&look, &statement, &name)? {
            return Ok(answer);
        }
        gate(&snapshot)?;
        let sent = self
            .requests
            .signal(&id, &statement.order, &request_id, &envelope)
            .await;
        sent.map_err(|e| match e {
            // The workflow has closed between the look and the signal.
            crate::requests::RequestsError::NotFound => {
                errors::precondition("STATE", &name, "the request is over")
            }
            e => errors::from_requests(e, &name),
        })?;
        let look = self
            .requests
            .settle(&id, Some(&request_id), |l| {
                l.receipt.is_some() && settled(l)
            })
            .await
            .map_err(|e| errors::from_requests(e, &name))?;
        match answered(&look, &statement, &name)? {
            Some(answer) => Ok(answer),
            None => Err(errors::unavailable(
                "the order is recorded but no worker has taken it up yet; look again",
                std::time::Duration::from_secs(2),
            )),
        }
    }
}

/// What is known of an order already: the request as it is, or what the order was refused for.
fn answered(
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
        (None, Some(snapshot)) => Ok(Some(convert::access_request(snapshot))),
        (None, None) => Ok(None),
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
