//! Lists, page by page, each request as its workflow sees it now.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::{StreamExt as _, TryStreamExt as _};
use hallpass_types::RequestSnapshot;
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

/// One page of requests, each as its workflow sees it now.
pub(super) async fn snapshots(
    api: &Api,
    filter: &Filter,
    page: Page,
) -> Result<(Vec<RequestSnapshot>, String), Status> {
    let unavailable = |e| errors::from_requests(e, "accessRequests/-");
    let (ids, next) = api
        .requests
        .list(filter, page.size, &page.token)
        .await
        .map_err(unavailable)?;
    let looks: Vec<Option<RequestSnapshot>> = futures::stream::iter(ids)
        .map(|id| async move {
            match api.requests.look(&id, None).await {
                Ok(look) => Ok(look.snapshot.map(|s| *s)),
                // Deleted by retention between the list and the look.
                Err(RequestsError::NotFound) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .buffered(8)
        .try_collect()
        .await
        .map_err(unavailable)?;
    Ok((
        looks.into_iter().flatten().collect(),
        URL_SAFE_NO_PAD.encode(next),
    ))
}

/// As [`snapshots`], and behind those that Temporal has come those that only the archive has.
pub(super) async fn recorded(
    api: &Api,
    filter: &Filter,
    page: Page,
) -> Result<(Vec<RequestSnapshot>, String), Status> {
    if beyond::is_beyond(&page.token) {
        let size = usize::try_from(page.size).unwrap_or_default();
        let (found, next) = beyond::page(api, filter, size, &page.token).await?;
        let found = found.into_iter().map(|beyond| beyond.snapshot);
        return Ok((found.collect(), URL_SAFE_NO_PAD.encode(next)));
    }
    match snapshots(api, filter, page).await? {
        (found, next) if next.is_empty() => {
            let next = beyond::begin(api).await?;
            Ok((found, URL_SAFE_NO_PAD.encode(next)))
        }
        page => Ok(page),
    }
}
