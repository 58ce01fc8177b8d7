//! AWS IAM Identity Center as a directory: a user, whether enabled, and the names of their groups.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use aws_config::Region;
use aws_sdk_identitystore::Client;
use aws_sdk_identitystore::types::{
    AlternateIdentifier, ExternalId, MemberId, UniqueAttribute, UserStatus,
};
use aws_smithy_types::Document;
use hallpass_types::RoleArn;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::accounts::{AccountAccess, AccountWorkers, AwsConfig};
use crate::connection::{Connection, base_config, default_http_client};
use crate::errors::{AwsError, ErrorClass};

/// Where the users are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityStore {
    /// `d-…`.
    pub id: String,
    /// The region that Identity Center is enabled in.
    pub region: String,
    /// The role that reads the store in its account; the service's own credentials when absent.
    #[serde(default)]
    pub role_arn: Option<RoleArn>,
    /// The external id that the role's trust policy asks for.
    #[serde(default)]
    pub external_id: Option<String>,
    /// Where the identity store answers, instead of AWS.
    #[serde(default)]
    pub endpoint_url: Option<String>,
}

/// What of a user is the subject of their tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserKey {
    /// The external id that the issuer gave when it provisioned the user.
    ExternalId,
    /// The user name.
    UserName,
    /// The store's own id.
    Id,
}

/// A user now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundUser {
    /// Whether they may sign in.
    pub active: bool,
    /// The display names of their groups.
    pub groups: BTreeSet<String>,
}

/// A client of one identity store.
pub struct IdentityCenter {
    client: Client,
    store: String,
    key: UserKey,
    /// Group names by id: 20 calls a second is all that AWS gives to everybody together.
    names: Mutex<BTreeMap<String, (String, Instant)>>,
}

/// A group that was given another name is known by it after this.
const NAMES_ARE_KEPT: Duration = Duration::from_mins(5);

impl IdentityCenter {
    /// Prepares the client. Nothing is sent.
    ///
    /// # Errors
    /// [`AwsError`] of class Alarm when the configuration cannot be used.
    pub async fn new(
        config: &AwsConfig,
        store: &IdentityStore,
        key: UserKey,
    ) -> Result<Self, AwsError> {
        let base = base_config(config, default_http_client()).await?;
        let access = AccountAccess {
            provisioner_role_arn: store.role_arn.clone(),
            external_id: store.external_id.clone(),
            previous_external_id: None,
            workers: AccountWorkers::Shared,
        };
        let connection = Connection::new(&base, &access).await;
        let mut sdk = aws_sdk_identitystore::config::Builder::from(connection.sdk())
            .region(Region::new(store.region.clone()));
        if let Some(url) = &store.endpoint_url {
            sdk = sdk.endpoint_url(url);
        }
        Ok(Self {
            client: Client::from_conf(sdk.build()),
            store: store.id.clone(),
            key,
            names: Mutex::default(),
        })
    }

    /// The user with that subject at that issuer; `None` when there is none.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn find(&self, issuer: &str, subject: &str) -> Result<Option<FoundUser>, AwsError> {
        let id = match self.key {
            UserKey::Id => subject.to_owned(),
            key => match self.id_of(key, issuer, subject).await? {
                Some(id) => id,
                None => return Ok(None),
            },
        };
        let user = self
            .client
            .describe_user()
            .identity_store_id(&self.store)
            .user_id(&id)
            .send()
            .await;
        let user = match user {
            Ok(user) => user,
            Err(error) => return gone(AwsError::sdk("DescribeUser", error)),
        };
        // Stores that do not know the status have no disabled users.
        let active = user.user_status() != Some(&UserStatus::Disabled);
        let groups = match active {
            true => self.groups(&id).await?,
            false => BTreeSet::new(),
        };
        Ok(Some(FoundUser { active, groups }))
    }

    async fn id_of(
        &self,
        key: UserKey,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<String>, AwsError> {
        let built = |error: aws_smithy_types::error::operation::BuildError| {
            AwsError::found("GetUserId", ErrorClass::Alarm, error.to_string())
        };
        let identifier = match key {
            UserKey::ExternalId => AlternateIdentifier::ExternalId(
                ExternalId::builder()
                    .issuer(issuer)
                    .id(subject)
                    .build()
                    .map_err(built)?,
            ),
            UserKey::UserName | UserKey::Id => AlternateIdentifier::UniqueAttribute(
                UniqueAttribute::builder()
                    .attribute_path("userName")
                    .attribute_value(Document::from(subject))
                    .build()
                    .map_err(built)?,
            ),
        };
        let found = self
            .client
            .get_user_id()
            .identity_store_id(&self.store)
            .alternate_identifier(identifier)
            .send()
            .await;
        match found {
            Ok(found) => Ok(Some(found.user_id().to_owned())),
            Err(error) => gone(AwsError::sdk("GetUserId", error)),
        }
    }

    async fn groups(&self, user: &str) -> Result<BTreeSet<String>, AwsError> {
        let mut pages = self
            .client
            .list_group_memberships_for_member()
            .identity_store_id(&self.store)
            .member_id(MemberId::UserId(user.to_owned()))
            .into_paginator()
            .send();
        let mut groups = BTreeSet::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| AwsError::sdk("ListGroupMembershipsForMember", e))?;
            for membership in page.group_memberships() {
                if let Some(id) = membership.group_id()
                    && let Some(name) = self.name_of(id).await?
                {
                    groups.insert(name);
                }
            }
        }
        Ok(groups)
    }

    /// A group's name; a group that is gone meanwhile has no members.
    async fn name_of(&self, id: &str) -> Result<Option<String>, AwsError> {
        if let Some((name, read_at)) = self.names.lock().await.get(id)
            && read_at.elapsed() < NAMES_ARE_KEPT
        {
            return Ok(Some(name.clone()));
        }
        let group = self
            .client
            .describe_group()
            .identity_store_id(&self.store)
            .group_id(id)
            .send()
            .await;
        let name = match group {
            Ok(group) => group.display_name().map(str::to_owned),
            Err(error) => return gone(AwsError::sdk("DescribeGroup", error)),
        };
        if let Some(name) = &name {
            let mut names = self.names.lock().await;
            names.insert(id.to_owned(), (name.clone(), Instant::now()));
        }
        Ok(name)
    }
}

/// What does not exist is an answer.
fn gone<T>(error: AwsError) -> Result<Option<T>, AwsError> {
    match error.code.as_deref() {
        Some("ResourceNotFoundException") => Ok(None),
        _ => Err(error),
    }
}
