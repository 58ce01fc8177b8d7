//! The sweep's activity: AWS is looked at, histories are asked, judgements are carried out.

use std::collections::BTreeSet;

use hallpass_aws::names::CUTS_POLICY;
use hallpass_aws::{Aws, AwsError, FoundCuts, FoundRole, Judgement, Known, judge_cuts, judge_role};
use hallpass_types::{AccessMode, AccessRequestId, AwsAccountId, RoleArn};
use hallpass_workflows::wire::{SweepFinding, SweepReport};
use jiff::Timestamp;

use super::writers::Writers;
use crate::bundle::Bundles;
use crate::figures;
use crate::requests::{Requests, RequestsError};

/// What a sweep needs.
pub(crate) struct Sweeper<'a> {
    pub(crate) aws: &'a Aws,
    pub(crate) bundles: &'a Bundles,
    pub(crate) requests: &'a Requests,
    pub(crate) writers: &'a Writers,
    pub(crate) dry_run: bool,
}

/// Something that was found, of either kind.
enum Found {
    Role(FoundRole),
    Cuts(FoundCuts),
}

impl Sweeper<'_> {
    /// Sweeps every configured account; one that fails does not keep the others.
    pub(crate) async fn sweep(&self) -> SweepReport {
        let mut report = SweepReport::default();
        for account in self.aws.elsewhere() {
            match self.requests.ends_are_polled(account).await {
                Ok(true) => report.elsewhere.push(account.clone()),
                Ok(false) => report.errors.push(format!(
                    "account {account}: its own workers are away: hallpassd serve --account {account}"
                )),
                Err(error) => report.errors.push(format!("account {account}: {error}")),
            }
        }
        for account in self.aws.account_ids() {
            match self.find(&account).await {
                Ok(found) => {
                    for thing in found {
                        report.findings.push(self.settle(thing).await);
                    }
                }
                Err(error) => report.errors.push(format!("account {account}: {error}")),
            }
        }
        let ended = report
            .findings
            .iter()
            .filter(|f| f.done && f.judgement == "end")
            .count();
        figures::swept(
            report.errors.len(),
            report.findings.iter().map(|f| f.judgement.clone()),
        );
        tracing::info!(
            found = report.findings.len(),
            ended,
            errors = report.errors.len(),
            dry_run = self.dry_run,
            "swept"
        );
        report
    }

    async fn find(&self, account: &AwsAccountId) -> Result<Vec<Found>, AwsError> {
        let mut found: Vec<Found> = self
            .aws
            .find_roles(account)
            .await?
            .into_iter()
            .map(Found::Role)
            .collect();
        for role_arn in self.shared_roles(account) {
            let cuts = self.aws.find_cuts(account, &role_arn).await?;
            found.extend(cuts.into_iter().map(Found::Cuts));
        }
        Ok(found)
    }

    /// The roles of an account that entitlements share.
    fn shared_roles(&self, account: &AwsAccountId) -> BTreeSet<RoleArn> {
        let bundle = self.bundles.current();
        let of_account = bundle.entitlements().filter(|e| e.account == *account);
        of_account
            .filter_map(|e| match &e.access {
                AccessMode::Assume { role_arn, .. } => Some(role_arn.clone()),
                AccessMode::Create { .. } => None,
            })
            .collect()
    }

    async fn settle(&self, found: Found) -> SweepFinding {
        let now = Timestamp::now();
        let mut finding = finding(&found);
        let judgement = match &found {
            Found::Cuts(cuts) => judge_cuts(cuts, now),
            Found::Role(role) => {
                let known = match self.known(role.request.as_ref()).await {
                    Ok(known) => known,
                    Err(error) => {
                        finding.error = Some(format!("the histories could not be asked: {error}"));
                        return finding;
                    }
                };
                finding.known = word(&known);
                judge_role(role, known, now)
            }
        };
        finding.judgement = word(&judgement);
        if self.dry_run {
            return finding;
        }
        let done = match (&found, judgement) {
            (_, Judgement::NotOurs | Judgement::Leave) => return finding,
            (Found::Role(role), Judgement::Report) => {
                tracing::warn!(role = %role.role_arn, "a role of ours that no history knows");
                self.aws.mark_reported(role, now).await
            }
            (Found::Role(role), Judgement::End) => self.aws.end_role(role).await.map(|_| ()),
            // Whoever writes that policy is the role's one writer, and nobody else.
            (Found::Cuts(cuts), _) => self.writers.lift(&cuts.role).await,
        };
        finding.done = done.is_ok();
        finding.error = done.err().map(|e| e.to_string());
        finding
    }

    async fn known(&self, request: Option<&AccessRequestId>) -> Result<Known, RequestsError> {
        let Some(request) = request else {
            return Ok(Known::Unknown);
        };
        match self.requests.is_open(request).await {
            Ok(true) => Ok(Known::Open),
            Ok(false) => Ok(Known::Closed),
            Err(RequestsError::NotFound) => Ok(Known::Unknown),
            Err(error) => Err(error),
        }
    }
}

fn finding(found: &Found) -> SweepFinding {
    let (account, what, request) = match found {
        Found::Role(role) => (
            &role.account,
            role.role_arn.to_string(),
            role.request.as_ref().map(ToString::to_string),
        ),
        Found::Cuts(cuts) => {
            let (role, until) = (&cuts.role_arn, cuts.until);
            let what = format!("{role} {CUTS_POLICY} until {until}");
            (&cuts.role.account, what, None)
        }
    };
    SweepFinding {
        account: account.to_string(),
        what,
        request,
        known: String::new(),
        judgement: word(&Judgement::Leave),
        done: false,
        error: None,
    }
}

/// The serde name of a fieldless variant.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).ok();
    value
        .as_ref()
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
