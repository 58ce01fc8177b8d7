//! Bodies of the activities that end access. They ask nobody, and nothing about an end is final.
#![expect(
    dead_code,
    reason = "the macros make constants of the methods that nobody names"
)]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hallpass_aws::names::CUTS_POLICY;
use hallpass_aws::{Aws, AwsError, EndOrder, ErrorClass, Refused, proof_by_fence};
use hallpass_types::machine::EndCause;
use hallpass_types::{AwsAccountId, ProofOfEnd, SharedRole};
use hallpass_workflows::activities as ports;
use hallpass_workflows::timeouts::{ELSEWHERE, NO_ROOM};
use hallpass_workflows::wire::{
    EndInput, SweepInput, SweepReport, WriteCutsInput, WriteCutsOutput,
};
use jiff::Timestamp;
use temporalio_client::Client;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use super::activities::aws_order;
use super::evidence::with_ids_of;
use super::failure::{retry, typed, typed_fatal, words};
use super::heartbeat::beating;
use super::queues;
use super::sweep::Sweeper;
use super::together::Together;
use super::writers::{Writers, is_no_room};
use crate::bundle::Bundles;
use crate::figures;
use crate::requests::Requests;

/// Canaries of one role and entitlement begin at least so far apart.
const CANARY_PACE: Duration = Duration::from_millis(250);

/// What the ends need: no key and no directory. The sweep reads which roles are shared, and which
/// histories are there.
pub(crate) struct EndBodies {
    aws: Aws,
    bundles: Arc<Bundles>,
    requests: Requests,
    writers: Writers,
    /// Grants on one role whose end has come share a canary.
    canaries: Arc<Together<EndOrder, Result<Refused, AwsError>>>,
}

impl EndBodies {
    /// `account` is the only one that these end access in.
    pub(crate) fn new(
        aws: Aws,
        bundles: Arc<Bundles>,
        client: &Client,
        account: Option<&AwsAccountId>,
    ) -> Self {
        Self {
            aws,
            bundles,
            requests: Requests::new(client.clone()),
            writers: Writers::new(client.clone(), queues(account).cuts),
            canaries: Arc::new(Together::new(CANARY_PACE)),
        }
    }

    async fn end(&self, order: &EndOrder) -> Result<ProofOfEnd, AwsError> {
        if !order.grant.created && order.order.end.has_come(Timestamp::now()) {
            return self.expired(order).await;
        }
        let role = SharedRole {
            account: order.order.entitlement.account.clone(),
            role_name: order.grant.role_arn.role_name().to_owned(),
        };
        let cut = |cut| async { self.writers.cut(&role, &order.grant.role_arn, cut).await };
        self.aws.end(order, Timestamp::now, cut).await
    }

    /// The end has come: one canary shows it for every grant of this role and entitlement that
    /// waits, with the fence of the one that ends last.
    async fn expired(&self, order: &EndOrder) -> Result<ProofOfEnd, AwsError> {
        let aws = self.aws.clone();
        let canary = move |order: EndOrder| {
            let aws = aws.clone();
            async move { aws.after_the_end(&order, Timestamp::now).await }
        };
        let last = |order: &EndOrder| order.order.end;
        let refused = self
            .canaries
            .join(canary_key(order), order.clone(), last, canary)
            .await
            .unwrap_or_else(|| {
                let message = "the canary of this role broke off";
                Err(AwsError::found("probe", ErrorClass::Retry, message))
            });
        refused.map(|refused| proof_by_fence(order, refused))
    }
}

/// Sends whoever asks to the account's own workers, where it has some.
fn is_here(aws: &Aws, account: &AwsAccountId) -> Result<(), ActivityError> {
    if aws.elsewhere().contains(account) {
        let why = format!("account {account} has workers of its own");
        return Err(typed_fatal(ELSEWHERE, words(&why)));
    }
    Ok(())
}

/// From when on the end is late: its instant, or the order to end early.
fn due(ctx: &ActivityContext, order: &EndOrder) -> Option<Timestamp> {
    match order.cause {
        EndCause::Expired => Some(order.order.end.timestamp()),
        _ => Timestamp::try_from(ctx.info().scheduled_time?).ok(),
    }
}

/// What a session is made of, but for whose it is and until when.
fn canary_key(order: &EndOrder) -> String {
    let e = &order.order.entitlement;
    let ids = (&e.external_id, &e.previous_external_id);
    let parts = (&e.account, &e.access, &e.region, ids, &e.tags);
    let how = (&e.probe, &e.conditions.org_id);
    // The parts have text keys only, so writing them cannot fail.
    serde_json::to_string(&(parts, how, &order.grant.role_arn)).unwrap_or_default()
}

#[activities]
impl EndBodies {
    #[activity(definition = ports::EndAccess)]
    pub(crate) async fn end_access(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: EndInput,
    ) -> Result<ProofOfEnd, ActivityError> {
        is_here(&self.aws, &input.entitlement.account)?;
        // The role may ask for another external id by now: it is no right, and ends must not hang on it.
        let bundle = self.bundles.current();
        let current = bundle.fill(&input.spec.entitlement, &input.spec.parameters);
        let entitlement = with_ids_of(&input.entitlement, current.as_ref().ok());
        let order = EndOrder {
            order: aws_order(&input.spec, &entitlement, input.end),
            grant: input.grant,
            cause: input.cause,
        };
        let ended = beating(&ctx, self.end(&order)).await;
        let proof = ended.map_err(|error| {
            figures::end_failed(error.class);
            figures::aws_error(error.operation, error.class);
            tracing::warn!(
                access_request = %order.order.request,
                error = &error as &dyn Error,
                "access could not be taken back yet"
            );
            // Also what AWS refuses is tried again.
            match is_no_room(&error) {
                true => typed(NO_ROOM, error),
                false => retry(error),
            }
        })?;
        let due = due(&ctx, &order).unwrap_or(proof.proved_at);
        let lag = Duration::try_from(proof.proved_at.duration_since(due)).unwrap_or_default();
        figures::ended(order.grant.created, order.cause, lag);
        Ok(proof)
    }

    #[activity(definition = ports::Sweep)]
    pub(crate) async fn sweep(
        self: Arc<Self>,
        _ctx: ActivityContext,
        input: SweepInput,
    ) -> Result<SweepReport, ActivityError> {
        let sweeper = Sweeper {
            aws: &self.aws,
            bundles: &self.bundles,
            requests: &self.requests,
            writers: &self.writers,
            dry_run: input.dry_run,
        };
        Ok(sweeper.sweep().await)
    }
}

/// What the writers of shared roles need.
pub(crate) struct CutBodies {
    pub(crate) aws: Aws,
}

#[activities]
impl CutBodies {
    #[activity(definition = ports::WriteCuts)]
    pub(crate) async fn write_cuts(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: WriteCutsInput,
    ) -> Result<WriteCutsOutput, ActivityError> {
        is_here(&self.aws, &input.role.account)?;
        let write = self
            .aws
            .write_cuts(&input.role, &input.add, Timestamp::now());
        let written = beating(&ctx, write).await.map_err(retry)?;
        let policy = written.policy_digest;
        Ok(WriteCutsOutput {
            role_gone: written.role_gone,
            policy: policy.map(|digest| (CUTS_POLICY.to_owned(), digest)),
            no_room: written.no_room,
            room: u32::try_from(written.room).unwrap_or(u32::MAX),
            lift_at: written.lift_at,
            aws_request_ids: written.aws_request_ids,
        })
    }
}
