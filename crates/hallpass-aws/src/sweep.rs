//! What AWS holds that carries our names: found, judged by pure rules, ended.
//!
//! The sweep works without any record of ours: a role says in its tags which request it was made
//! for and when its access ends; cuts say in their `Sid` until when they must stand.

use aws_sdk_iam::types::Tag;
use hallpass_types::{AccessRequestId, AwsAccountId, EndInstant, RoleArn, SharedRole};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::connection::{Aws, Connection};
use crate::cuts::{self, LIFT_MARGIN};
use crate::end::strip_and_delete;
use crate::errors::{AwsError, ErrorClass};
use crate::names::{self, ROLE_PATH, TAG_END, TAG_REQUEST};
use crate::provision::get_role;

/// Role tag: when a sweep first reported a role that no history knows.
pub(crate) const TAG_REPORTED: &str = "hallpass:reported";
/// How long a reported role is left for people to look at before a sweep ends it.
pub(crate) const REPORT_FIRST: SignedDuration = SignedDuration::from_secs(60);

/// A role under our path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundRole {
    /// Its account.
    pub account: AwsAccountId,
    /// Its ARN.
    pub role_arn: RoleArn,
    /// The request that its name and its tag agree on; `None` for what only looks like ours.
    pub request: Option<AccessRequestId>,
    /// The end that its tag tells.
    pub end: Option<EndInstant>,
    /// When a sweep first reported it.
    pub reported_at: Option<Timestamp>,
}

/// Cuts on a shared role that may be lifted together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundCuts {
    /// The shared role.
    pub role: SharedRole,
    /// Its ARN.
    pub role_arn: RoleArn,
    /// Until when they must stand.
    pub until: Timestamp,
    /// How many grants they cut.
    pub grants: usize,
}

/// What the histories know of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// Its workflow runs and will end it.
    Open,
    /// Its workflow has closed.
    Closed,
    /// No history knows it.
    Unknown,
}

/// What a sweep does about something it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Not ours: never touched.
    NotOurs,
    /// A workflow takes care of it, or it is not over yet.
    Leave,
    /// Unknown to every history: people are told before anything is done.
    Report,
    /// Over: ended now.
    End,
}

/// Judges a role.
pub fn judge_role(role: &FoundRole, known: Known, now: Timestamp) -> Judgement {
    if role.request.is_none() {
        return Judgement::NotOurs;
    }
    match (known, role.end, role.reported_at) {
        (Known::Open, ..) => Judgement::Leave,
        (Known::Closed, ..) => Judgement::End,
        (Known::Unknown, _, None) => Judgement::Report,
        (Known::Unknown, Some(end), Some(reported))
            if over(end, now) && now.duration_since(reported) >= REPORT_FIRST =>
        {
            Judgement::End
        }
        // Its fence holds; without an end in its tags a person has to look.
        (Known::Unknown, ..) => Judgement::Leave,
    }
}

/// Judges cuts: they may be lifted once the fence alone holds what they cut, whoever knows of it.
pub fn judge_cuts(cuts: &FoundCuts, now: Timestamp) -> Judgement {
    if cuts::is_over(cuts.until, now) {
        Judgement::End
    } else {
        Judgement::Leave
    }
}

fn over(end: EndInstant, now: Timestamp) -> bool {
    now.duration_since(end.timestamp()) >= LIFT_MARGIN
}

impl Aws {
    /// The accounts that are configured.
    pub fn account_ids(&self) -> Vec<AwsAccountId> {
        self.configured().cloned().collect()
    }

    /// Every role under our path in an account, with what its tags say.
    ///
    /// # Errors
    /// [`AwsError`]; nothing was changed.
    pub async fn find_roles(&self, account: &AwsAccountId) -> Result<Vec<FoundRole>, AwsError> {
        let connection = self.account(account)?;
        let roles = connection
            .iam()
            .list_roles()
            .path_prefix(ROLE_PATH)
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await
            .map_err(|e| AwsError::sdk("ListRoles", e))?;
        let mut found = Vec::new();
        for role in roles.iter().filter(|r| r.path() == ROLE_PATH) {
            let Ok(role_arn) = RoleArn::parse(role.arn()) else {
                continue;
            };
            let tags = role_tags(connection, role.role_name()).await?;
            let tag = |key: &str| tags.iter().find(|t| t.key() == key).map(Tag::value);
            let named = names::role_request(role.role_name());
            let tagged = tag(TAG_REQUEST).and_then(|id| AccessRequestId::parse(id).ok());
            found.push(FoundRole {
                account: account.clone(),
                role_arn,
                request: named.filter(|id| tagged.as_ref() == Some(id)),
                end: tag(TAG_END)
                    .and_then(|t| t.parse::<Timestamp>().ok())
                    .map(Into::into),
                reported_at: tag(TAG_REPORTED).and_then(|t| t.parse().ok()),
            });
        }
        Ok(found)
    }

    /// Every cut of ours on one shared role.
    ///
    /// # Errors
    /// [`AwsError`]; nothing was changed.
    pub async fn find_cuts(
        &self,
        account: &AwsAccountId,
        role_arn: &RoleArn,
    ) -> Result<Vec<FoundCuts>, AwsError> {
        let role = SharedRole {
            account: account.clone(),
            role_name: role_arn.role_name().to_owned(),
        };
        let found = self.read_cuts(&role).await?.into_iter();
        let cuts = found.map(|(until, grants)| FoundCuts {
            role: role.clone(),
            role_arn: role_arn.clone(),
            until,
            grants,
        });
        Ok(cuts.collect())
    }

    /// Marks a role as reported, so that a later sweep may end it.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn mark_reported(&self, role: &FoundRole, now: Timestamp) -> Result<(), AwsError> {
        let tag = Tag::builder()
            .key(TAG_REPORTED)
            .value(now.to_string())
            .build();
        let tag = tag.map_err(|e| AwsError::found("TagRole", ErrorClass::Alarm, e.to_string()))?;
        let call = self.account(&role.account)?.iam().tag_role();
        let call = call.role_name(role.role_arn.role_name()).tags(tag);
        call.send()
            .await
            .map(|_| ())
            .map_err(|e| AwsError::sdk("TagRole", e))
    }

    /// Deletes a role that a sweep judged over, when it still is what was found.
    ///
    /// # Errors
    /// [`AwsError`]; of class Refused when the role is another by now.
    pub async fn end_role(&self, role: &FoundRole) -> Result<Vec<String>, AwsError> {
        let connection = self.account(&role.account)?;
        let name = role.role_arn.role_name();
        if get_role(connection, name).await?.is_none() {
            return Ok(Vec::new());
        }
        let tags = role_tags(connection, name).await?;
        let ours = role.request.as_ref().is_some_and(|id| {
            tags.iter()
                .any(|t| t.key() == TAG_REQUEST && t.value() == id.as_str())
        });
        if !ours {
            let message = format!("role {name} does not carry this request's tag");
            return Err(AwsError::found("DeleteRole", ErrorClass::Refused, message));
        }
        let mut ids = Vec::new();
        match strip_and_delete(connection, name, false, &mut ids).await {
            Err(error) if error.class == ErrorClass::Gone => Ok(ids),
            other => other.map(|()| ids),
        }
    }
}

async fn role_tags(account: &Connection, role_name: &str) -> Result<Vec<Tag>, AwsError> {
    let tags = account
        .iam()
        .list_role_tags()
        .role_name(role_name)
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<_>, _>>()
        .await
        .map_err(|e| AwsError::sdk("ListRoleTags", e));
    match tags {
        // Deleted between the list and this call.
        Err(error) if error.class == ErrorClass::Gone => Ok(Vec::new()),
        tags => tags,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn role(request: bool, end: Option<i64>, reported: Option<i64>) -> FoundRole {
        let at = |s: i64| Timestamp::from_second(s).unwrap();
        FoundRole {
            account: AwsAccountId::parse("111122223333").unwrap(),
            role_arn: RoleArn::parse("arn:aws:iam::111122223333:role/hallpass/x").unwrap(),
            request: request.then(fixtures::request),
            end: end.map(|s| at(s).into()),
            reported_at: reported.map(at),
        }
    }

    #[test]
    fn roles_are_ended_only_when_they_are_ours_and_over() {
        let now = Timestamp::from_second(1000).unwrap();
        let judge = |r: &FoundRole, k| judge_role(r, k, now);
        for known in [Known::Open, Known::Closed, Known::Unknown] {
            assert_eq!(
                judge(&role(false, Some(1), Some(1)), known),
                Judgement::NotOurs
            );
        }
        assert_eq!(
            judge(&role(true, Some(1), Some(1)), Known::Open),
            Judgement::Leave
        );
        assert_eq!(
            judge(&role(true, Some(5000), None), Known::Closed),
            Judgement::End
        );
        assert_eq!(
            judge(&role(true, Some(1), None), Known::Unknown),
            Judgement::Report
        );
        assert_eq!(
            judge(&role(true, None, Some(1)), Known::Unknown),
            Judgement::Leave
        );
        assert_eq!(
            judge(&role(true, Some(1), Some(1)), Known::Unknown),
            Judgement::End
        );
        assert_eq!(
            judge(&role(true, Some(1), Some(990)), Known::Unknown),
            Judgement::Leave
        );
        assert_eq!(
            judge(&role(true, Some(990), Some(1)), Known::Unknown),
            Judgement::Leave
        );
    }

    #[test]
    fn cuts_stand_until_the_fence_alone_holds() {
        let cuts = |until: i64| FoundCuts {
            role: SharedRole {
                account: AwsAccountId::parse("111122223333").unwrap(),
                role_name: "Reader".to_owned(),
            },
            role_arn: RoleArn::parse("arn:aws:iam::111122223333:role/Reader").unwrap(),
            until: Timestamp::from_second(until).unwrap(),
            grants: 1,
        };
        let now = Timestamp::from_second(1000).unwrap();
        assert_eq!(judge_cuts(&cuts(941), now), Judgement::Leave);
        assert_eq!(judge_cuts(&cuts(940), now), Judgement::End);
    }
}
