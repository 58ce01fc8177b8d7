//! Making a grant, and moving its fence.

use std::collections::BTreeMap;

use aws_sdk_iam::operation::RequestId as _;
use aws_sdk_iam::types::{Role, Tag};
use hallpass_types::{AccessMode, Grant, PolicyArn, RoleArn};

use crate::connection::{Aws, Connection};
use crate::documents;
use crate::errors::{AwsError, ErrorClass};
use crate::limits::created_role_seconds;
use crate::names;
use crate::orders::Order;

impl Aws {
    /// Makes what the grant needs. Safe to run again after any interruption.
    ///
    /// In assume mode nothing is called: the role is there.
    ///
    /// # Errors
    /// [`AwsError`]; of class Refused when the role's name is taken by a role that is not ours.
    pub async fn provision(&self, order: &Order) -> Result<Grant, AwsError> {
        let grant = planned(order)?;
        let AccessMode::Create {
            permissions,
            permissions_boundary,
        } = &order.entitlement.access
        else {
            return Ok(grant);
        };
        let account = self.account(&order.entitlement.account)?;
        account.precedence().give().await?;
        let made = make(account, order, (permissions, permissions_boundary), grant).await;
        account.precedence().watch(made)
    }

    /// Moves a created role's fence to `order.end`; in assume mode the next session carries it.
    ///
    /// Returns the AWS request ids.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn move_fence(&self, order: &Order, grant: &Grant) -> Result<Vec<String>, AwsError> {
        let AccessMode::Create { permissions, .. } = &order.entitlement.access else {
            return Ok(Vec::new());
        };
        let account = self.account(&order.entitlement.account)?;
        account.precedence().give().await?;
        let moved = move_fence(account, order, permissions, grant).await;
        account.precedence().watch(moved)
    }
}

async fn make(
    account: &Connection,
    order: &Order,
    (permissions, boundary): (&str, &PolicyArn),
    mut grant: Grant,
) -> Result<Grant, AwsError> {
    let role = NewRole {
        order,
        name: names::role_name(&order.request),
        boundary,
        trust: trust(account, order).await?,
    };
    let made = match role.create(account).await {
        Err(error) if error.class == ErrorClass::AlreadyExists => role.adopt(account).await,
        other => other,
    }?;
    grant.role_arn = made.arn;
    grant.role_unique_id = Some(made.unique_id);
    grant.aws_request_ids.extend(made.request_ids);
    let id = put_permissions(account, &role.name, permissions, order).await?;
    grant.aws_request_ids.extend(id);
    Ok(grant)
}

async fn move_fence(
    account: &Connection,
    order: &Order,
    permissions: &str,
    grant: &Grant,
) -> Result<Vec<String>, AwsError> {
    let name = grant.role_arn.role_name();
    require_ours(account, name, order).await?;
    let trust = trust(account, order).await?;
    let mut ids = Vec::new();
    ids.extend(put_permissions(account, name, permissions, order).await?);
    ids.extend(put_trust(account, name, trust).await?);
    let tagged = account
        .iam()
        .tag_role()
        .role_name(name)
        .tags(tag(names::TAG_END, &documents::aws_time(order.end))?)
        .send()
        .await
        .map_err(|e| AwsError::sdk("TagRole", e))?;
    ids.extend(tagged.request_id().map(str::to_owned));
    Ok(ids)
}

async fn trust(account: &Connection, order: &Order) -> Result<String, AwsError> {
    let principal = account.principal().await?;
    let conditions = &order.entitlement.conditions;
    Ok(documents::trust(principal, &order.request, order.end, conditions).to_json())
}

pub(crate) fn planned(order: &Order) -> Result<Grant, AwsError> {
    order
        .planned_grant()
        .map_err(|e| AwsError::found("entitlement", ErrorClass::Refused, e.to_string()))
}

struct NewRole<'a> {
    order: &'a Order,
    name: String,
    boundary: &'a PolicyArn,
    trust: String,
}

struct MadeRole {
    arn: RoleArn,
    unique_id: String,
    request_ids: Vec<String>,
}

impl NewRole<'_> {
    async fn create(&self, account: &Connection) -> Result<MadeRole, AwsError> {
        let Order {
            request,
            requester,
            entitlement,
            end,
        } = self.order;
        let answer = account
            .iam()
            .create_role()
            .role_name(&self.name)
            .path(names::ROLE_PATH)
            .assume_role_policy_document(&self.trust)
            .permissions_boundary(self.boundary.as_str())
            .description(format!(
                "hallpass {request}, until {}",
                documents::aws_time(*end)
            ))
            .max_session_duration(created_role_seconds(entitlement).cast_signed())
            .set_tags(Some(tags(&names::role_tags(
                request,
                requester,
                entitlement,
                *end,
            ))?))
            .send()
            .await
            .map_err(|e| AwsError::sdk("CreateRole", e))?;
        let ids = answer.request_id().map(str::to_owned).into_iter().collect();
        made("CreateRole", answer.role(), ids)
    }

    /// Takes over the role that an earlier attempt made, whose answer was lost.
    async fn adopt(&self, account: &Connection) -> Result<MadeRole, AwsError> {
        let operation = "GetRole";
        // The name may have been freed again since CreateRole said that it is taken.
        let role = get_role(account, &self.name).await?.ok_or_else(|| {
            AwsError::found(operation, ErrorClass::Retry, "the role is gone again")
        })?;
        let found = made(operation, Some(&role), Vec::new())?;
        let boundary = role
            .permissions_boundary()
            .and_then(|b| b.permissions_boundary_arn());
        if !is_ours(account, &role, self.order).await? || boundary != Some(self.boundary.as_str()) {
            let message = format!("role {} exists and is not of this request", self.name);
            return Err(AwsError::found(operation, ErrorClass::Refused, message));
        }
        let ids = put_trust(account, &self.name, self.trust.clone())
            .await
            .map_err(|e| e.when(ErrorClass::Gone, ErrorClass::NotYetVisible))?;
        Ok(MadeRole {
            request_ids: ids.into_iter().collect(),
            ..found
        })
    }
}

fn made(
    operation: &'static str,
    role: Option<&Role>,
    request_ids: Vec<String>,
) -> Result<MadeRole, AwsError> {
    let unreadable = || AwsError::found(operation, ErrorClass::Alarm, "an answer without a role");
    let role = role.ok_or_else(unreadable)?;
    Ok(MadeRole {
        arn: RoleArn::parse(role.arn()).map_err(|_| unreadable())?,
        unique_id: role.role_id().to_owned(),
        request_ids,
    })
}

/// The role of that name, or nothing.
pub(crate) async fn get_role(account: &Connection, name: &str) -> Result<Option<Role>, AwsError> {
    let answer = account.iam().get_role().role_name(name).send().await;
    match answer.map_err(|e| AwsError::sdk("GetRole", e)) {
        Ok(answer) => Ok(answer.role),
        Err(error) if error.class == ErrorClass::Gone => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a role carries this request's tag.
pub(crate) async fn is_ours(
    account: &Connection,
    role: &Role,
    order: &Order,
) -> Result<bool, AwsError> {
    let carries = |tags: &[Tag]| {
        tags.iter()
            .any(|t| t.key() == names::TAG_REQUEST && t.value() == order.request.as_str())
    };
    if !role.tags().is_empty() {
        return Ok(carries(role.tags()));
    }
    let answer = account
        .iam()
        .list_role_tags()
        .role_name(role.role_name())
        .send()
        .await
        .map_err(|e| AwsError::sdk("ListRoleTags", e))?;
    Ok(carries(answer.tags()))
}

async fn require_ours(account: &Connection, name: &str, order: &Order) -> Result<(), AwsError> {
    let role = get_role(account, name)
        .await?
        .ok_or_else(|| AwsError::found("GetRole", ErrorClass::Gone, "the role is gone"))?;
    if is_ours(account, &role, order).await? {
        Ok(())
    } else {
        Err(not_ours(name))
    }
}

pub(crate) fn not_ours(name: &str) -> AwsError {
    let message = format!("role {name} does not carry this request's tag");
    AwsError::found("GetRole", ErrorClass::Refused, message)
}

async fn put_permissions(
    account: &Connection,
    role_name: &str,
    permissions: &str,
    order: &Order,
) -> Result<Option<String>, AwsError> {
    let policy = documents::permissions(permissions, order.end, &order.entitlement.conditions)
        .map_err(|e| AwsError::found("entitlement", ErrorClass::Refused, e.to_string()))?;
    put_role_policy(account, role_name, names::GRANT_POLICY, policy.to_json())
        .await
        // A role that was just made may not be visible everywhere yet.
        .map_err(|e| e.when(ErrorClass::Gone, ErrorClass::NotYetVisible))
}

pub(crate) async fn put_role_policy(
    account: &Connection,
    role_name: &str,
    policy_name: &str,
    document: String,
) -> Result<Option<String>, AwsError> {
    let answer = account
        .iam()
        .put_role_policy()
        .role_name(role_name)
        .policy_name(policy_name)
        .policy_document(document)
        .send()
        .await
        .map_err(|e| AwsError::sdk("PutRolePolicy", e))?;
    Ok(answer.request_id().map(str::to_owned))
}

async fn put_trust(
    account: &Connection,
    role_name: &str,
    document: String,
) -> Result<Option<String>, AwsError> {
    let answer = account
        .iam()
        .update_assume_role_policy()
        .role_name(role_name)
        .policy_document(document)
        .send()
        .await
        .map_err(|e| AwsError::sdk("UpdateAssumeRolePolicy", e))?;
    Ok(answer.request_id().map(str::to_owned))
}

fn tags(tags: &BTreeMap<String, String>) -> Result<Vec<Tag>, AwsError> {
    tags.iter().map(|(key, value)| tag(key, value)).collect()
}

fn tag(key: &str, value: &str) -> Result<Tag, AwsError> {
    let tag = Tag::builder().key(key).value(value).build();
    tag.map_err(|e| AwsError::found("tag", ErrorClass::Refused, e.to_string()))
}
