//! Lists, page by page, each request as its workflow sees it now.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::StreamExt as _;
use hallpass_types::{AccessRequestId, RequestSnapshot};
use tonic::Status;

use super::errors::{self, BadFields};
use super::{Api, beyond};
use crate::requests::{Filter, RequestsError};

/// One page of a list.
pub(super) struct Page {
    size: i32,
    token: Vec<u8>,
}

impl Page {
    pub(super) fn read(size: i32, token: &str) -> Result<Self, Status> {
        let mut bad = BadFields::default();
        if !(0..=200).contains(&size) {
            bad.add("page_size", "must be 0 to 200");
        }
        let token = bad
            .take("page_token", URL_SAFE_NO_PAD.decode(token))
            .unwrap_or_default();
        bad.finish()?;
        Ok(Self {
            size: if size == 0 { 50 } else { size },
            token,
        })
    }
}

/// One page of a list.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    pub(super) requests: Vec<RequestSnapshot>,
    /// Names of those that could not be read.
    pub(super) unreachable: Vec<String>,
    pub(super) next_page_token: String,
}

/// One page of requests, each as its workflow sees it now.
pub(super) async fn snapshots(api: &Api, filter: &Filter, page: Page) -> Result<Found, Status> {
    let unavailable = |e| errors::from_requests(e, "accessRequests/-");
    let (ids, next) = api
        .requests
        .list(filter, page.size, &page.token)
        .await
        .map_err(unavailable)?;
    let looks: Vec<Looked> = futures::stream::iter(ids)
        .map(|id| async move {
            let looked = match api.requests.look(&id, None).await {
                Ok(look) => Ok(look.snapshot.map(|s| *s)),
                // Deleted by retention between the list and the look.
                Err(RequestsError::NotFound) => Ok(None),
                Err(error) => Err(error),
            };
            (id, looked)
        })
        .buffered(8)
        .collect()
        .await;
    let mut found = readable(looks).map_err(unavailable)?;
    found.next_page_token = URL_SAFE_NO_PAD.encode(next);
    Ok(found)
}

/// A request of a list, and what it is now.
type Looked = (
    AccessRequestId,
    Result<Option<RequestSnapshot>, RequestsError>,
);

/// Those that can be read: one request that does not go on hides no other. Where nobody answers for
/// any, it is not the requests'.
fn readable(looks: Vec<Looked>) -> Result<Found, RequestsError> {
    let (all, mut read, mut left_out) = (looks.len(), Vec::new(), Vec::new());
    for (id, looked) in looks {
        match looked {
            Ok(snapshot) => read.push(snapshot),
            Err(error) => left_out.push((id, error)),
        }
    }
    if let Some((first, error)) = left_out.first() {
        let count = left_out.len();
        let error = error as &dyn std::error::Error;
        tracing::warn!(%first, count, all, error, "requests of a list cannot be read");
    }
    let unreachable = left_out.iter().map(|(id, _)| id.name()).collect();
    let is_elsewhere = |(_, error): &(_, RequestsError)| !error.is_of_one_workflow();
    match left_out.into_iter().find(is_elsewhere) {
        Some((_, error)) if read.is_empty() => Err(error),
        _ => Ok(Found {
            requests: read.into_iter().flatten().collect(),
            unreachable,
            next_page_token: String::new(),
        }),
    }
}

/// As [`snapshots`], and behind those that Temporal has come those that only the archive has.
pub(super) async fn recorded(api: &Api, filter: &Filter, page: Page) -> Result<Found, Status> {
    if beyond::is_beyond(&page.token) {
        let size = usize::try_from(page.size).unwrap_or_default();
        let (found, next) = beyond::page(api, filter, size, &page.token).await?;
        let found = found.into_iter().map(|beyond| beyond.snapshot);
        return Ok(Found {
            requests: found.collect(),
            next_page_token: URL_SAFE_NO_PAD.encode(next),
            ..Default::default()
        });
    }
    let mut found = snapshots(api, filter, page).await?;
    if found.next_page_token.is_empty() {
        found.next_page_token = URL_SAFE_NO_PAD.encode(beyond::begin(api).await?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use temporalio_client::errors::WorkflowQueryError;

    use super::*;

    fn id(n: u8) -> AccessRequestId {
        AccessRequestId::parse(&format!("ar-{n}123456789abcdefghjkmnpqrs")).unwrap()
    }

    fn failed(code: tonic::Code, message: &str) -> RequestsError {
        RequestsError::Unavailable {
            doing: "look at a request",
            source: WorkflowQueryError::Rpc(Status::new(code, message)).into(),
        }
    }

    fn stuck() -> RequestsError {
        let message = "Cannot query workflow due to Workflow Task in failed state.";
        failed(tonic::Code::FailedPrecondition, message)
    }

    fn silent() -> RequestsError {
        failed(tonic::Code::Cancelled, "Timeout expired")
    }

    #[test]
    fn a_request_that_cannot_be_read_hides_no_other() {
        let gone = || (id(0), Ok(None));
        let told = Found {
            unreachable: vec![id(1).name()],
            ..Default::default()
        };
        for error in [stuck(), silent()] {
            assert_eq!(readable(vec![gone(), (id(1), Err(error))]).unwrap(), told);
        }
        assert_eq!(readable(vec![(id(1), Err(stuck()))]).unwrap(), told);
        assert_eq!(readable(vec![]).unwrap(), Found::default());
        let nobody = vec![(id(1), Err(stuck())), (id(2), Err(silent()))];
        assert!(
            readable(nobody)
                .unwrap_err()
                .to_string()
                .contains("do not answer")
        );
    }
}
