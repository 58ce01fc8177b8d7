//! Watching one request: Temporal's long poll wakes us, a consistent look tells what changed.

use std::sync::Arc;

use hallpass_identity::VerifiedToken;
use hallpass_proto::v1;
use hallpass_types::AccessRequestId;
use tonic::Status;

use super::super::streams::{Parts, while_valid};
use super::super::{Api, beyond, errors};
use crate::requests::RequestsError;

pub(crate) type Changes = Parts<v1::WatchAccessRequestResponse>;

struct Watch {
    api: Arc<Api>,
    token: VerifiedToken,
    id: AccessRequestId,
    seen: i64,
    position: Vec<u8>,
    /// Whether the history can still grow; one last look follows when it cannot.
    open: bool,
    over: bool,
}

/// The request as it is, when newer than `after`, and each change until it is final.
pub(super) fn changes(
    api: Arc<Api>,
    token: VerifiedToken,
    id: AccessRequestId,
    after: i64,
) -> Changes {
    let expires_at = token.expires_at;
    let watch = Watch {
        api,
        token,
        id,
        seen: after,
        position: Vec::new(),
        open: true,
        over: false,
    };
    let changes = futures::stream::unfold(watch, |mut watch| async move {
        let change = watch.next().await?;
        Some((change, watch))
    });
    while_valid(expires_at, changes)
}

impl Watch {
    async fn next(&mut self) -> Option<Result<v1::WatchAccessRequestResponse, Status>> {
        loop {
            if self.over {
                return None;
            }
            match self.look().await {
                Ok(Some(change)) => return Some(Ok(change)),
                Ok(None) if !self.open => return None,
                Ok(None) => {}
                Err(status) => {
                    self.over = true;
                    return Some(Err(status));
                }
            }
            match self
                .api
                .requests
                .changed(&self.id, &mut self.position)
                .await
            {
                Ok(open) => self.open = open,
                Err(error) => {
                    self.over = true;
                    return Some(Err(errors::from_requests(error, &self.id.name())));
                }
            }
        }
    }

    async fn look(&mut self) -> Result<Option<v1::WatchAccessRequestResponse>, Status> {
        // Looked at through the gate each time: who loses the right to view stops seeing.
        let look = self.api.requests.look(&self.id, None).await;
        if matches!(look, Err(RequestsError::NotFound)) {
            return self.last_word().await.map(Some);
        }
        let look = std::future::ready(look);
        let (_, snapshot) = self
            .api
            .visible(&self.token.principal, &self.id, look)
            .await?;
        let request = self.api.shown(&snapshot);
        if request.revision <= self.seen {
            return Ok(None);
        }
        self.seen = request.revision;
        self.over = snapshot.state.phase().is_final();
        Ok(Some(v1::WatchAccessRequestResponse {
            access_request: Some(request),
        }))
    }

    /// What only the archive still has changes no more, and has no revision to resume from.
    async fn last_word(&mut self) -> Result<v1::WatchAccessRequestResponse, Status> {
        let archived = beyond::one(&self.api, &self.id).await?;
        let snapshot = archived.and_then(|archived| archived.snapshot);
        let name = self.id.name();
        let snapshot = self.api.viewed(&self.token.principal, &name, snapshot)?;
        self.over = true;
        Ok(v1::WatchAccessRequestResponse {
            access_request: Some(self.api.shown(&snapshot)),
        })
    }
}
