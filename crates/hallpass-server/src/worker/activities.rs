//! Bodies of the activities that `hallpass-workflows` declares: thin, idempotent, told what time it is.
#![expect(
    dead_code,
    reason = "the macros make constants of the methods that nobody names"
)]

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hallpass_aws::{AssumeOrder, Aws, Order as AwsOrder};
use hallpass_evidence::{Envelope, Order};
use hallpass_policy::{Bundle, FillError, RequestFacts, Weighed};
use hallpass_seal::RecipientPublicKey;
use hallpass_types::{
    AccessRequestSpec, EndInstant, Entitlement, Grant, GrantDuration, SealedCredentials,
};
use hallpass_workflows::activities as ports;
use hallpass_workflows::wire::{
    Admission, AdmitInput, Admitted, Disproved, Evidence, IdentityProof, IssueInput,
    MoveFenceInput, NotifyInput, ProvisionInput, WeighInput, Weighing,
};
use jiff::Timestamp;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use super::decisions::Proofs;
use super::evidence::{SignedDecision, Trust, Unproven, Verified, too_large};
use super::failure::{MOVED, aws_error, fatal, retry, words};
use super::heartbeat::beating;
use super::notify::Notifier;
use super::standing;
use crate::bundle::Bundles;
use crate::directory::Directory;
use crate::figures;

/// A reset runs a recorded request again, with a later end: it may end access, but gives none.
const RESET: &str = "the workflow was reset in Temporal: it gives nothing any more, ask again";

/// What all but the ends need.
pub(crate) struct Bodies {
    pub(crate) trust: Trust,
    pub(crate) bundles: Arc<Bundles>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) proofs: Proofs,
    pub(crate) aws: Aws,
    pub(crate) notifier: Option<Notifier>,
}

/// Decisions, counted.
struct Counted {
    verified: Verified,
    weighed: Weighed,
    /// For how long access was first given, or is to be: an approver may have shortened it.
    granted: GrantDuration,
    /// For how long in all.
    duration: GrantDuration,
    proofs: Vec<IdentityProof>,
    disproved: Vec<Disproved>,
}

#[activities]
impl Bodies {
    #[activity(definition = ports::Admit)]
    pub(crate) async fn admit(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: AdmitInput,
    ) -> Result<Admission, ActivityError> {
        if ctx.info().workflow_run_id.as_ref() != Some(&input.run) {
            return Ok(refused("reset", RESET.to_owned()));
        }
        let started = self
            .trust
            .start(&input.start, &input.workflow_id, input.started_at);
        let (mut spec, start) = match started {
            Ok(verified) => verified,
            Err(Unproven { code, why }) => {
                tracing::warn!(workflow = input.workflow_id, code, "a start was refused");
                return Ok(refused(code, why));
            }
        };
        let bundle = self.bundles.current();
        let entitlement = match bundle.fill(&spec.entitlement, &spec.parameters) {
            Ok(entitlement) => entitlement,
            Err(FillError::UnknownEntitlement(_)) => {
                let why = "there is no such entitlement".to_owned();
                return Ok(refused("unknown_entitlement", why));
            }
            Err(error) => return Ok(refused("parameters", error.to_string())),
        };
        if let Some(why) = too_large(&entitlement) {
            return Ok(refused("too_large", why));
        }
        match standing::requester(&self.directory, &spec.requester).await? {
            Ok(requester) => spec.requester = requester,
            Err(why) => return Ok(refused("unknown_requester", why)),
        }
        self.answer(&bundle, spec, start, entitlement, input.now)
    }

    #[activity(definition = ports::Weigh)]
    pub(crate) async fn weigh(
        self: Arc<Self>,
        _ctx: ActivityContext,
        input: WeighInput,
    ) -> Result<Weighing, ActivityError> {
        let bundle = self.bundles.current();
        let verified = self.trust.verify(&input.evidence, &bundle).map_err(fatal)?;
        let asked = input.extended_duration;
        let Counted {
            verified,
            weighed,
            granted,
            proofs,
            disproved,
            duration,
        } = self.count(&bundle, verified, asked).await?;
        let (spec, entitlement) = (&verified.spec, &verified.entitlement);
        let facts = verified.facts(duration);
        let activate = bundle.activate(&facts, weighed.tally, input.now);
        let exception = bundle.exception(&facts, weighed.tally, &activate, input.now);
        let mut answers = vec![activate];
        if asked.is_some() {
            answers.push(bundle.request_of(spec, entitlement, duration, input.now));
        }
        Ok(Weighing {
            tally: weighed.tally,
            required: bundle.approvals_required(&facts, input.now),
            answers,
            not_counted: weighed.not_counted,
            denied_by: weighed.denied_by,
            shortened: (asked.is_none() && granted < spec.duration).then_some(granted),
            exception,
            proven: proofs,
            disproved,
        })
    }

    #[activity(definition = ports::Notify)]
    pub(crate) async fn notify(
        self: Arc<Self>,
        _ctx: ActivityContext,
        input: NotifyInput,
    ) -> Result<(), ActivityError> {
        let Some(notifier) = &self.notifier else {
            return Ok(());
        };
        let spec = self.trust.request(&input.start).map_err(fatal)?;
        let sent = notifier
            .send(&self.trust.deployment, &spec, &input, Timestamp::now())
            .await;
        sent.map_err(|error| match error.is_final() {
            true => fatal(error),
            false => retry(error),
        })
    }

    #[activity(definition = ports::Provision)]
    pub(crate) async fn provision(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: ProvisionInput,
    ) -> Result<Grant, ActivityError> {
        beating(&ctx, async {
            let verified = self.authorize(&ctx, &input.evidence, input.end).await?;
            let order = aws_order(&verified.spec, &input.evidence.entitlement, input.end);
            self.aws.provision(&order).await.map_err(aws_error)
        })
        .await
    }

    #[activity(definition = ports::MoveFence)]
    pub(crate) async fn move_fence(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: MoveFenceInput,
    ) -> Result<(), ActivityError> {
        beating(&ctx, async {
            let verified = self.authorize(&ctx, &input.evidence, input.end).await?;
            let order = aws_order(&verified.spec, &input.evidence.entitlement, input.end);
            let moved = self.aws.move_fence(&order, &input.grant).await;
            moved.map(|_| ()).map_err(aws_error)
        })
        .await
    }

    #[activity(definition = ports::Issue)]
    pub(crate) async fn issue(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: IssueInput,
    ) -> Result<SealedCredentials, ActivityError> {
        beating(&ctx, self.session(&ctx, input)).await
    }
}

impl Bodies {
    /// Asks the gates about a verified request, and plans its grant.
    fn answer(
        &self,
        bundle: &Bundle,
        spec: AccessRequestSpec,
        start: Envelope,
        entitlement: Entitlement,
        now: Timestamp,
    ) -> Result<Admission, ActivityError> {
        let request = bundle.request_of(&spec, &entitlement, spec.duration, now);
        let facts = RequestFacts {
            id: &spec.id,
            requester: &spec.requester,
            entitlement: &entitlement,
            duration: spec.duration,
            break_glass: spec.break_glass,
        };
        let activate = bundle.activate(&facts, Default::default(), now);
        let required = bundle.approvals_beyond(&activate, &facts, now);
        let exception = bundle.exception(&facts, Default::default(), &activate, now);
        let stages = bundle.stages(&entitlement.id).cloned();
        figures::gate("request", request.allows());
        let settings = bundle.settings();
        let end = EndInstant::after(now, spec.duration);
        let planned = aws_order(&spec, &entitlement, end)
            .planned_grant()
            .map_err(fatal)?;
        Ok(Admission::AnsweredAsForetold(Box::new(Admitted {
            start,
            keyring: self.trust.keyring.clone(),
            deployment: self.trust.deployment.clone(),
            request,
            activate,
            required,
            planned,
            approval_window_seconds: settings.approval_window_seconds,
            max_issues: settings.max_credential_issues,
            stages: stages.unwrap_or_default(),
            exception,
            notifies: self.notifier.is_some(),
            giving_beats: true,
            bounds_decisions: true,
            own_workers: self.aws.elsewhere().contains(&entitlement.account),
            spec,
            entitlement,
        })))
    }

    /// Counts decisions as the directory and policy see their makers now; `asked` is the whole
    /// duration that an extension asks for. An approval for less than an extended grant lasts in
    /// all does not count for it.
    async fn count(
        &self,
        bundle: &Bundle,
        mut verified: Verified,
        asked: Option<GrantDuration>,
    ) -> Result<Counted, ActivityError> {
        let requester = &verified.spec.requester;
        verified.spec.requester = standing::needed_requester(&self.directory, requester).await?;
        let signed = std::mem::take(&mut verified.decisions);
        let proven = self.proofs.prove(signed).await?;
        let decisions = standing::decisions(&self.directory, bundle, proven.decisions).await?;
        let said = || decisions.standing.iter().map(SignedDecision::said);
        let mut weighed = bundle.tally(&verified.facts(verified.spec.duration), said());
        let granted = weighed.at_most.unwrap_or(verified.spec.duration);
        let extended = GrantDuration::from_seconds(verified.longest(granted).as_secs());
        let duration = asked.map_or(extended, Ok).map_err(fatal)?;
        if asked.is_some() || duration > granted {
            weighed = bundle.tally_extension(&verified.facts(duration), said());
        }
        weighed.not_counted.extend(decisions.gone);
        Ok(Counted {
            verified,
            weighed,
            granted,
            duration,
            proofs: proven.proofs,
            disproved: proven.disproved,
        })
    }

    /// A session for the requester, sealed to the key in the signed order.
    async fn session(
        &self,
        ctx: &ActivityContext,
        input: IssueInput,
    ) -> Result<SealedCredentials, ActivityError> {
        let verified = self.authorize(ctx, &input.evidence, input.end).await?;
        let spec = &verified.spec;
        let statement = self
            .trust
            .order(&input.order, spec, &input.evidence.run)
            .map_err(fatal)?;
        let Order::IssueCredentials {
            recipient_public_key,
        } = &statement.order
        else {
            return Err(fatal(words("it is not an order to issue credentials")));
        };
        if statement.actor.id != spec.requester.id {
            return Err(fatal(words("credentials go to the requester only")));
        }
        let key = BASE64.decode(recipient_public_key).map_err(fatal)?;
        let key = RecipientPublicKey::parse(&key).map_err(fatal)?;
        let order = aws_order(
            spec,
            &verified.admitted(&input.evidence.entitlement),
            input.end,
        );
        let planned = order.planned_grant().map_err(fatal)?;
        if planned.role_arn != input.grant.role_arn
            || planned.session_name != input.grant.session_name
        {
            return Err(fatal(words("the grant is not the one that was planned")));
        }
        let order = AssumeOrder {
            order,
            grant: input.grant,
            serial: input.serial,
        };
        let session = self
            .aws
            .assume(&order, Timestamp::now())
            .await
            .map_err(aws_error)?;
        let associated_data = hallpass_seal::associated_data(
            &spec.id,
            &spec.requester.id,
            order.grant.role_arn.as_str(),
            input.end.timestamp(),
            input.serial,
        );
        figures::session(order.grant.created);
        let sealed = hallpass_seal::seal(&key, &session.secret, &associated_data).map_err(retry)?;
        Ok(SealedCredentials {
            credential: session.facts.sealed_to(key.digest()),
            suite: sealed.suite.to_owned(),
            encapsulated_key: BASE64.encode(&sealed.encapsulated_key),
            ciphertext: BASE64.encode(&sealed.ciphertext),
            associated_data,
        })
    }

    /// Whoever gives access asks the activate gate again, over evidence verified here.
    async fn authorize(
        &self,
        ctx: &ActivityContext,
        evidence: &Evidence,
        end: EndInstant,
    ) -> Result<Verified, ActivityError> {
        if ctx.info().workflow_run_id.as_ref() != Some(&evidence.run) {
            return Err(fatal(words(RESET)));
        }
        if self.aws.elsewhere().contains(&evidence.entitlement.account) {
            return Err(fatal(words(MOVED)));
        }
        let bundle = self.bundles.current();
        let verified = self.trust.verify(evidence, &bundle).map_err(fatal)?;
        let Counted {
            verified,
            weighed,
            granted,
            duration,
            proofs: _,
            disproved,
        } = self.count(&bundle, verified, None).await?;
        let facts = verified.facts(duration);
        let now = Timestamp::now();
        let answer = bundle.activate(&facts, weighed.tally, now);
        figures::gate("activate", answer.allows());
        if weighed.denied_by.is_some() || !answer.allows() {
            let mut why = vec![answer.explain()];
            why.extend(disproved.into_iter().map(|d| d.why));
            return Err(fatal(words(&why.join(" "))));
        }
        if let Err(why) = verified.may_end(granted, end, now) {
            return Err(fatal(words(why)));
        }
        Ok(verified)
    }
}

pub(super) fn aws_order(
    spec: &AccessRequestSpec,
    entitlement: &Entitlement,
    end: EndInstant,
) -> AwsOrder {
    AwsOrder {
        request: spec.id.clone(),
        requester: spec.requester.id.clone(),
        entitlement: entitlement.clone(),
        end,
    }
}

fn refused(code: &str, why: String) -> Admission {
    Admission::Refused {
        code: code.to_owned(),
        why,
    }
}
