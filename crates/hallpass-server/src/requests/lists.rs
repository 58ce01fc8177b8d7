//! What Temporal's visibility answers about many requests at once.

use hallpass_types::{AccessRequestId, Phase};
use hallpass_workflows::names::{SA_END, access_request_of};
use jiff::{SignedDuration, Timestamp};
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    CountWorkflowExecutionsRequest, ListWorkflowExecutionsRequest,
};

use super::filter::{Filter, query_key};
use super::{CALL, Requests, RequestsError, unavailable};

/// How long after its end a grant that is not proved to be over counts as overdue.
const OVERDUE: SignedDuration = SignedDuration::from_secs(60);

impl Requests {
    /// One page of request ids, newest first, and the next page's token.
    pub(crate) async fn list(
        &self,
        filter: &Filter,
        page_size: i32,
        page_token: &[u8],
    ) -> Result<(Vec<AccessRequestId>, Vec<u8>), RequestsError> {
        let query = filter.query();
        let token = if page_token.is_empty() {
            Vec::new()
        } else {
            // A token belongs to its query: with another filter it would skip or repeat.
            let parts = page_token.split_at_checked(16);
            let (key, token) = parts.ok_or(RequestsError::PageToken)?;
            if key != query_key(&query) {
                return Err(RequestsError::PageToken);
            }
            token.to_vec()
        };
        let request = ListWorkflowExecutionsRequest {
            namespace: self.client.options().namespace.clone(),
            page_size,
            next_page_token: token,
            query: query.clone(),
        };
        let mut request = tonic::Request::new(request);
        request.set_timeout(CALL);
        let mut service = self.client.connection().workflow_service();
        let answer = service.list_workflow_executions(request).await;
        let answer = match answer {
            Ok(answer) => answer.into_inner(),
            Err(status)
                if status.code() == tonic::Code::InvalidArgument && !page_token.is_empty() =>
            {
                return Err(RequestsError::PageToken);
            }
            Err(status) => return Err(unavailable("list requests", status)),
        };
        let ids = answer
            .executions
            .iter()
            .filter_map(|e| access_request_of(&e.execution.as_ref()?.workflow_id))
            .collect();
        let next = match answer.next_page_token {
            token if token.is_empty() => token,
            token => [query_key(&query).to_vec(), token].concat(),
        };
        Ok((ids, next))
    }

    /// Whether Temporal answers for the namespace.
    pub(crate) async fn ping(&self) -> Result<(), RequestsError> {
        self.count("WorkflowType = 'none'".to_owned())
            .await
            .map(|_| ())
    }

    /// How many requests stand in a phase.
    pub(crate) async fn count_open(&self, phase: Phase) -> Result<u32, RequestsError> {
        let filter = Filter {
            phases: vec![phase],
            running: true,
            ..Filter::default()
        };
        self.count(filter.query()).await
    }

    /// How many grants should be over for a minute and are not proved to be.
    pub(crate) async fn count_overdue(&self, now: Timestamp) -> Result<u32, RequestsError> {
        let filter = Filter {
            phases: vec![Phase::Active, Phase::Ending, Phase::Stuck],
            ..Filter::default()
        };
        let due = now - OVERDUE;
        self.count(format!("{} AND {SA_END} < '{due}'", filter.query()))
            .await
    }

    async fn count(&self, query: String) -> Result<u32, RequestsError> {
        let mut request = tonic::Request::new(CountWorkflowExecutionsRequest {
            namespace: self.client.options().namespace.clone(),
            query,
        });
        request.set_timeout(CALL);
        let mut service = self.client.connection().workflow_service();
        let answer = service.count_workflow_executions(request).await;
        let answer = answer.map_err(|status| unavailable("count requests", status))?;
        Ok(u32::try_from(answer.into_inner().count).unwrap_or(u32::MAX))
    }
}
