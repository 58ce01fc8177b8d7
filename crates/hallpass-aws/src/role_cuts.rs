//! Writing cuts into a shared role's policy: read, merge, write, read back.

use aws_sdk_iam::operation::RequestId as _;
use hallpass_types::{AccessRequestId, Cut, Sha256Digest, SharedRole};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::connection::{Aws, Connection};
use crate::cuts::{CutEntry, CutsPolicy};
use crate::end::{delete_policy, unless_gone};
use crate::errors::{AwsError, ErrorClass};
use crate::limits::{INLINE_POLICY_CHARS, without_space};
use crate::names::CUTS_POLICY;
use crate::policy::PolicyDocument;
use crate::provision::{get_role, put_role_policy};

/// What stands on a shared role after a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutsWritten {
    /// Whether the role does not exist: nobody can use it, and nothing had to be written.
    pub role_gone: bool,
    /// Digest of the policy as it was read back; `None` when the role carries none.
    pub policy_digest: Option<Sha256Digest>,
    /// Requests whose cuts did not fit into the role's inline policies.
    pub no_room: Vec<AccessRequestId>,
    /// Characters that the role's other inline policies leave to the cuts.
    pub room: usize,
    /// When the next cut may be lifted; `None` when none stands.
    pub lift_at: Option<Timestamp>,
    /// AWS request ids of the calls that wrote and read back.
    pub aws_request_ids: Vec<String>,
}

/// The policy as it was read.
struct Read {
    text: String,
    request_id: Option<String>,
}

impl Aws {
    /// Adds cuts to a shared role, lifts those whose time is over, and reads back what stands. With
    /// nothing to add it only lifts. Exactly one caller at a time may write for a role.
    ///
    /// # Errors
    /// [`AwsError`]; what was written before may stand, and the same call again finds it.
    pub async fn write_cuts(
        &self,
        role: &SharedRole,
        add: &[Cut],
        now: Timestamp,
    ) -> Result<CutsWritten, AwsError> {
        let account = self.account(&role.account)?;
        let turn = account.precedence().end();
        turn.watch(write(account, &role.role_name, add, now).await)
    }

    /// The cuts that stand on a shared role: until when, and how many.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn read_cuts(&self, role: &SharedRole) -> Result<Vec<(Timestamp, usize)>, AwsError> {
        let account = self.account(&role.account)?;
        let read = read(account, &role.role_name, CUTS_POLICY).await?;
        let policy = read.map(|r| parse(&r.text)).transpose()?;
        Ok(policy.unwrap_or_default().groups().collect())
    }
}

async fn write(
    account: &Connection,
    role_name: &str,
    add: &[Cut],
    now: Timestamp,
) -> Result<CutsWritten, AwsError> {
    // Looked up each time: a deny must name the role's present id, whatever it was before.
    let Some(found) = get_role(account, role_name).await? else {
        return Ok(CutsWritten {
            role_gone: true,
            policy_digest: None,
            no_room: Vec::new(),
            room: 0,
            lift_at: None,
            aws_request_ids: Vec::new(),
        });
    };
    let before = read(account, role_name, CUTS_POLICY).await?;
    let known = match &before {
        Some(read) => parse(&read.text)?,
        None => CutsPolicy::default(),
    };
    let mut policy = known.clone();
    policy.lift(now);
    let mut no_room = Vec::new();
    let mut room = INLINE_POLICY_CHARS;
    if !add.is_empty() {
        room = INLINE_POLICY_CHARS.saturating_sub(others(account, role_name).await?);
        for cut in add {
            if !policy.add(&CutEntry::new(found.role_id(), cut), room) {
                no_room.push(cut.request.clone());
            }
        }
    }
    let mut ids = Vec::new();
    let digest = match policy.document() {
        _ if policy == known => before.map(|read| {
            ids.extend(read.request_id);
            Sha256Digest::of(read.text.as_bytes())
        }),
        None => {
            ids.extend(delete_policy(account, role_name, CUTS_POLICY).await?);
            None
        }
        Some(document) => Some(put(account, role_name, &document, &mut ids).await?),
    };
    Ok(CutsWritten {
        role_gone: false,
        policy_digest: digest,
        no_room,
        room,
        lift_at: policy.lift_at(),
        aws_request_ids: ids,
    })
}

/// Writes the policy and reads it back.
async fn put(
    account: &Connection,
    role_name: &str,
    document: &PolicyDocument,
    ids: &mut Vec<String>,
) -> Result<Sha256Digest, AwsError> {
    let not_yet = |e: AwsError| e.when(ErrorClass::Gone, ErrorClass::NotYetVisible);
    let id = put_role_policy(account, role_name, CUTS_POLICY, document.to_json()).await;
    ids.extend(id.map_err(not_yet)?);
    let back = read(account, role_name, CUTS_POLICY).await?;
    let back = back.filter(|b| PolicyDocument::parse(&b.text).as_ref() == Ok(document));
    let Some(back) = back else {
        let message = "the cuts that were read back are not those that were written";
        let class = ErrorClass::NotYetVisible;
        return Err(AwsError::found("GetRolePolicy", class, message));
    };
    ids.extend(back.request_id);
    Ok(Sha256Digest::of(back.text.as_bytes()))
}

/// Characters of the role's other inline policies: AWS counts all of them together.
async fn others(account: &Connection, role_name: &str) -> Result<usize, AwsError> {
    let names = account
        .iam()
        .list_role_policies()
        .role_name(role_name)
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<String>, _>>()
        .await
        .map_err(|e| AwsError::sdk("ListRolePolicies", e))?;
    let mut size = 0;
    for name in names.iter().filter(|name| *name != CUTS_POLICY) {
        let read = read(account, role_name, name).await?;
        size += read.map_or(0, |read| without_space(&read.text));
    }
    Ok(size)
}

async fn read(
    account: &Connection,
    role_name: &str,
    policy_name: &str,
) -> Result<Option<Read>, AwsError> {
    let call = account.iam().get_role_policy();
    let answer = call
        .role_name(role_name)
        .policy_name(policy_name)
        .send()
        .await;
    let answer = unless_gone(answer.map_err(|e| AwsError::sdk("GetRolePolicy", e)))?;
    Ok(answer.map(|answer| {
        let text = percent_encoding::percent_decode_str(answer.policy_document());
        Read {
            text: text.decode_utf8_lossy().into_owned(),
            request_id: answer.request_id().map(str::to_owned),
        }
    }))
}

/// Overwriting what cannot be read could give somebody's access back.
fn parse(text: &str) -> Result<CutsPolicy, AwsError> {
    let document = PolicyDocument::parse(text).map_err(|why| {
        let message = format!("{CUTS_POLICY} on the role is not as hallpass writes it: {why}");
        AwsError::found("GetRolePolicy", ErrorClass::Alarm, message)
    })?;
    Ok(CutsPolicy::read(&document))
}
