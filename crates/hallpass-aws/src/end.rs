//! Ending a grant: cut, delete, prove.

use aws_sdk_iam::operation::RequestId as _;
use hallpass_types::{CanaryFence, Control, Cut, DeniedCall, ProofOfEnd, ReadBack};
use jiff::Timestamp;

use crate::canary::Canary;
use crate::connection::{Aws, Connection};
use crate::documents;
use crate::errors::{AwsError, ErrorClass};
use crate::names::{DENY_ALL_POLICY, GRANT_POLICY};
use crate::orders::{EndOrder, Order};
use crate::provision::{get_role, is_ours, not_ours, put_role_policy};

/// Why there is no positive control of an end that came by itself.
const END_HAD_COME: &str = "the end had already come";

/// A canary of a shared role after the end of its grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its call, refused.
    pub canary: DeniedCall,
    /// Whose fence its session carried.
    pub fence: CanaryFence,
    /// When the refusal came in.
    pub at: Timestamp,
    /// AWS request ids of the calls that made it.
    pub aws_request_ids: Vec<String>,
}

impl Aws {
    /// Ends a grant and proves it. Safe to run again after any interruption.
    ///
    /// `now` is asked when something depends on the end having come, and after the last evidence.
    /// `cut` ends the sessions of a shared role early, and tells what was read back.
    ///
    /// # Errors
    /// [`AwsError`] as long as there is no proof: NotYetVisible while AWS still allows.
    pub async fn end<F>(
        &self,
        order: &EndOrder,
        now: impl Fn() -> Timestamp + Send + Sync,
        cut: impl FnOnce(Cut) -> F,
    ) -> Result<ProofOfEnd, AwsError>
    where
        F: Future<Output = Result<(ReadBack, Vec<String>), AwsError>>,
    {
        let account = self.account(&order.order.entitlement.account)?;
        let turn = account.precedence().end();
        let proof = if order.grant.created {
            self.end_created(account, order, now).await
        } else if order.order.end.has_come(now()) {
            let refused = self.after_the_end(order, &now).await;
            refused.map(|refused| proof_by_fence(order, refused))
        } else {
            self.end_shared(order, now, cut).await
        };
        turn.watch(proof)
    }

    /// Makes a session of a shared role's grant whose end has come, and wants its probe refused.
    ///
    /// # Errors
    /// [`AwsError`] as long as there is no proof.
    pub async fn after_the_end(
        &self,
        order: &EndOrder,
        now: impl Fn() -> Timestamp + Send + Sync,
    ) -> Result<Refused, AwsError> {
        let account = self.account(&order.order.entitlement.account)?;
        let turn = account.precedence().end();
        let made = self.canary_session(&order.order, &order.grant).await;
        let session = turn.watch(made)?;
        let canary = self.refused(&order.order, &session).await?;
        Ok(Refused {
            canary,
            fence: fence_of(&order.order),
            at: now(),
            aws_request_ids: session.request_id.into_iter().collect(),
        })
    }

    /// Cut and control run side by side: the cut waits for nothing.
    async fn end_shared<F>(
        &self,
        order: &EndOrder,
        now: impl Fn() -> Timestamp + Send + Sync,
        cut: impl FnOnce(Cut) -> F,
    ) -> Result<ProofOfEnd, AwsError>
    where
        F: Future<Output = Result<(ReadBack, Vec<String>), AwsError>>,
    {
        let (grant, facts) = (&order.grant, &order.order);
        let cut = cut(Cut {
            request: facts.request.clone(),
            session_name: grant.session_name.clone(),
            end: facts.end,
        });
        let (cut, canary) = tokio::join!(cut, self.control(facts, grant));
        let (read_back, mut aws_request_ids) = cut?;
        let Canary { session, control } = canary;
        if let ReadBack::RoleGone { .. } = read_back {
            let canary = self.no_session(order).await?;
            return Ok(ProofOfEnd {
                proved_at: now(),
                read_back,
                control,
                canary,
                canary_fence: None,
                aws_request_ids,
            });
        }
        let session = match session {
            Some(session) => session,
            None => self.canary_session(facts, grant).await?,
        };
        let canary = self.refused(facts, &session).await?;
        aws_request_ids.extend(session.request_id);
        Ok(ProofOfEnd {
            proved_at: now(),
            read_back,
            control,
            canary,
            canary_fence: Some(fence_of(facts)),
            aws_request_ids,
        })
    }

    /// AWS refuses first, then the role goes: what IAM says of a deleted role tells nothing about its
    /// sessions, and none can be made any more to see it.
    async fn end_created(
        &self,
        account: &Connection,
        order: &EndOrder,
        now: impl Fn() -> Timestamp + Send + Sync,
    ) -> Result<ProofOfEnd, AwsError> {
        let (grant, facts) = (&order.grant, &order.order);
        let name = grant.role_arn.role_name();
        let role = get_role(account, name).await?;
        if let Some(role) = &role
            && !is_ours(account, role, facts).await?
        {
            return Err(not_ours(name));
        }
        let end_has_come = facts.end.has_come(now());
        let by_itself = match (&role, end_has_come) {
            (None, _) => Some(self.no_session(order).await?),
            (Some(_), true) => self.refused_by_fence(order).await?,
            (Some(_), false) => None,
        };
        let fence_holds = by_itself.is_some();
        let mut ids = Vec::new();
        let seen = match by_itself {
            Some(canary) => RefusedRole {
                control: Control::Missing {
                    why: match end_has_come {
                        true => END_HAD_COME.to_owned(),
                        false => "the role was gone already".to_owned(),
                    },
                },
                canary,
                fence: None,
            },
            None => self.denied_early(account, order, &mut ids).await?,
        };
        if role.is_some() {
            delete_role(account, name, fence_holds, &mut ids).await?;
        }
        if seen.fence.is_some() {
            let call = self.no_session(order).await?;
            ids.extend(call.aws_request_id);
        }
        let role_arn = grant.role_arn.clone();
        Ok(ProofOfEnd {
            proved_at: now(),
            read_back: ReadBack::RoleGone { role_arn },
            control: seen.control,
            canary: seen.canary,
            canary_fence: seen.fence,
            aws_request_ids: ids,
        })
    }

    /// The refusal to assume a role whose end has come; `None` where AWS still lets in: its clock is
    /// behind ours, or somebody has changed the role.
    async fn refused_by_fence(&self, order: &EndOrder) -> Result<Option<DeniedCall>, AwsError> {
        match self.ask_for_session(order).await {
            Ok(call) => Ok(Some(call)),
            Err(error) if error.class == ErrorClass::NotYetVisible => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Denies all on the role and waits until a session of it is refused. Deny and control run side
    /// by side: the deny waits for nothing.
    async fn denied_early(
        &self,
        account: &Connection,
        order: &EndOrder,
        ids: &mut Vec<String>,
    ) -> Result<RefusedRole, AwsError> {
        let (grant, facts) = (&order.grant, &order.order);
        let deny = documents::deny_all().to_json();
        let name = grant.role_arn.role_name();
        let deny = put_role_policy(account, name, DENY_ALL_POLICY, deny);
        let (denied, canary) = tokio::join!(deny, self.control(facts, grant));
        ids.extend(denied?);
        let Canary { session, control } = canary;
        let (canary, fence) = match session {
            Some(session) => {
                let canary = self.refused(facts, &session).await?;
                ids.extend(session.request_id);
                (canary, Some(fence_of(facts)))
            }
            // A role that lets nobody in, for instance one that was made half-way.
            None => (self.no_session(order).await?, None),
        };
        Ok(RefusedRole {
            control,
            canary,
            fence,
        })
    }
}

/// What showed that a created role gives no access, while it still stood.
struct RefusedRole {
    control: Control,
    canary: DeniedCall,
    fence: Option<CanaryFence>,
}

/// The proof of a grant on a shared role whose end has come: the fence did it, a canary shows it.
pub fn proof_by_fence(order: &EndOrder, refused: Refused) -> ProofOfEnd {
    ProofOfEnd {
        proved_at: refused.at,
        read_back: ReadBack::FencePassed {
            end: order.order.end,
        },
        control: Control::Missing {
            why: END_HAD_COME.to_owned(),
        },
        canary: refused.canary,
        canary_fence: Some(refused.fence),
        aws_request_ids: refused.aws_request_ids,
    }
}

fn fence_of(order: &Order) -> CanaryFence {
    CanaryFence {
        request: order.request.clone(),
        end: order.end,
    }
}

/// Deletes a role that gives no access any more, and reads back that it is gone.
async fn delete_role(
    account: &Connection,
    name: &str,
    fence_holds: bool,
    ids: &mut Vec<String>,
) -> Result<(), AwsError> {
    let deleted = if fence_holds {
        delete_fenced(account, name, ids).await
    } else {
        strip_and_delete(account, name, true, ids).await
    };
    match deleted {
        // Somebody else, or an earlier attempt of ours, was quicker.
        Err(error) if error.class == ErrorClass::Gone => {}
        other => other?,
    }
    match get_role(account, name).await? {
        None => Ok(()),
        Some(_) => Err(AwsError::found(
            "GetRole",
            ErrorClass::NotYetVisible,
            "the deleted role is still there",
        )),
    }
}

/// Deletes a role whose fence holds already: nothing can open again meanwhile, so that only what is
/// known to be there is deleted, and the rest is looked for when AWS says that there is more.
async fn delete_fenced(
    account: &Connection,
    name: &str,
    ids: &mut Vec<String>,
) -> Result<(), AwsError> {
    ids.extend(delete_policy(account, name, GRANT_POLICY).await?);
    match delete(account, name, ids).await {
        Err(error) if error.code.as_deref() == Some("DeleteConflict") => {
            strip_and_delete(account, name, true, ids).await
        }
        other => other,
    }
}

/// Takes a role apart and deletes it; denies all first unless it is known to give no access.
pub(crate) async fn strip_and_delete(
    account: &Connection,
    name: &str,
    gives_nothing: bool,
    ids: &mut Vec<String>,
) -> Result<(), AwsError> {
    let iam = account.iam();
    if !gives_nothing {
        let deny = documents::deny_all().to_json();
        ids.extend(put_role_policy(account, name, DENY_ALL_POLICY, deny).await?);
    }
    let inline = iam
        .list_role_policies()
        .role_name(name)
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<String>, _>>()
        .await
        .map_err(|e| AwsError::sdk("ListRolePolicies", e))?;
    for policy in inline.iter().filter(|p| *p != DENY_ALL_POLICY) {
        ids.extend(delete_policy(account, name, policy).await?);
    }
    let attached = iam
        .list_attached_role_policies()
        .role_name(name)
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<_>, _>>()
        .await
        .map_err(|e| AwsError::sdk("ListAttachedRolePolicies", e))?;
    for arn in attached.iter().filter_map(|p| p.policy_arn()) {
        let detach = iam.detach_role_policy().role_name(name).policy_arn(arn);
        let detached = detach
            .send()
            .await
            .map_err(|e| AwsError::sdk("DetachRolePolicy", e));
        if let Some(answer) = unless_gone(detached)? {
            ids.extend(answer.request_id().map(str::to_owned));
        }
    }
    // The deny goes last: until then nothing that is left allows anything.
    ids.extend(delete_policy(account, name, DENY_ALL_POLICY).await?);
    delete(account, name, ids).await
}

async fn delete(account: &Connection, name: &str, ids: &mut Vec<String>) -> Result<(), AwsError> {
    let deleted = account.iam().delete_role().role_name(name).send().await;
    let answer = deleted.map_err(|e| AwsError::sdk("DeleteRole", e))?;
    ids.extend(answer.request_id().map(str::to_owned));
    Ok(())
}

pub(crate) async fn delete_policy(
    account: &Connection,
    role_name: &str,
    policy_name: &str,
) -> Result<Option<String>, AwsError> {
    let delete = account.iam().delete_role_policy();
    let answer = delete
        .role_name(role_name)
        .policy_name(policy_name)
        .send()
        .await;
    let answer = unless_gone(answer.map_err(|e| AwsError::sdk("DeleteRolePolicy", e)))?;
    Ok(answer.and_then(|a| a.request_id().map(str::to_owned)))
}

pub(crate) fn unless_gone<T>(result: Result<T, AwsError>) -> Result<Option<T>, AwsError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.class == ErrorClass::Gone => Ok(None),
        Err(error) => Err(error),
    }
}
