//! Temporal as an operator or an attacker sees it: its own command line, and raw histories.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use hallpass_workflows::names::SWEEP_ID;
use serde_json::Value;
use temporalio_client::{Connection, ConnectionOptions};
use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads, WorkflowExecution};
use temporalio_common::protos::temporal::api::history::v1::History;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::workflowservice::v1::GetWorkflowExecutionHistoryRequest;

/// Temporal's front end, with nothing of hallpass between.
#[derive(Clone, Debug)]
pub struct Engine {
    cli: PathBuf,
    address: SocketAddr,
    namespace: String,
}

impl Engine {
    pub(crate) fn new(cli: PathBuf, address: SocketAddr, namespace: &str) -> Self {
        Self {
            cli,
            address,
            namespace: namespace.to_owned(),
        }
    }

    /// Runs `temporal workflow ...` and returns how it went.
    ///
    /// # Panics
    /// When it cannot be run.
    pub async fn run(&self, args: &[&str]) -> Output {
        self.command("workflow", args).await
    }

    async fn command(&self, about: &str, args: &[&str]) -> Output {
        let address = self.address.to_string();
        tokio::process::Command::new(&self.cli)
            .arg(about)
            .args(args)
            .args(["--address", &address, "--namespace", &self.namespace])
            .stdin(Stdio::null())
            .output()
            .await
            .expect("the temporal command runs")
    }

    /// Runs `temporal workflow ...`, which must work; returns its output.
    ///
    /// # Panics
    /// When it does not work.
    pub async fn must(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "temporal workflow {args:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Sweeps no more by schedule, and waits for one that is under way: whoever counts calls to
    /// AWS would count a sweep's.
    ///
    /// # Panics
    /// When Temporal does not delete the schedule.
    pub async fn no_more_sweeps(&self) {
        let args = ["delete", "--schedule-id", SWEEP_ID];
        let output = self.command("schedule", &args).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "temporal schedule {args:?}: {error}"
        );
        let running =
            format!("ExecutionStatus = 'Running' AND WorkflowId STARTS_WITH '{SWEEP_ID}'");
        crate::until("no sweep is under way", || async {
            let list = self
                .must(&["list", "--query", &running, "-o", "json"])
                .await;
            let list: Value = serde_json::from_str(&list).expect("a list");
            (list.as_array().map(Vec::len) == Some(0)).then_some(())
        })
        .await;
    }

    /// Sends JSON as a signal.
    ///
    /// # Panics
    /// When Temporal does not take it.
    pub async fn signal(&self, workflow_id: &str, name: &str, input: &Value) {
        let input = input.to_string();
        let args = ["signal", "-w", workflow_id, "--name", name, "-i", &input];
        self.must(&args).await;
    }

    /// Starts a workflow of the access request's type by hand.
    ///
    /// # Panics
    /// When Temporal does not take it.
    pub async fn start(&self, workflow_id: &str, input: &Value) {
        use hallpass_workflows::names::{ACCESS_REQUEST_WORKFLOW, TASK_QUEUE};
        let input = input.to_string();
        let mut args = vec![
            "start",
            "-w",
            workflow_id,
            "--type",
            ACCESS_REQUEST_WORKFLOW,
        ];
        args.extend(["--task-queue", TASK_QUEUE, "-i", &input]);
        self.must(&args).await;
    }

    /// Executes an update with JSON; whether Temporal called it a success, and what it printed.
    pub async fn update(&self, workflow_id: &str, name: &str, input: &Value) -> (bool, String) {
        let input = input.to_string();
        let args = [
            "update",
            "execute",
            "-w",
            workflow_id,
            "--name",
            name,
            "-i",
            &input,
        ];
        let output = self.run(&args).await;
        let both = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&both).into_owned(),
        )
    }

    /// The newest run's history so far.
    ///
    /// # Panics
    /// When Temporal has none.
    pub async fn history(&self, workflow_id: &str) -> History {
        self.try_history(workflow_id).await.expect("a history")
    }

    /// The newest run's history so far, if there is such a workflow.
    ///
    /// # Panics
    /// When Temporal does not answer.
    pub async fn try_history(&self, workflow_id: &str) -> Option<History> {
        let target = format!("http://{}", self.address);
        let target = url::Url::parse(&target).expect("a URL");
        let connection = Connection::connect(ConnectionOptions::new(target).build())
            .await
            .expect("Temporal answers");
        let mut service = connection.workflow_service();
        let mut events = Vec::new();
        let mut next_page_token = Vec::new();
        loop {
            let request = GetWorkflowExecutionHistoryRequest {
                namespace: self.namespace.clone(),
                execution: Some(WorkflowExecution {
                    workflow_id: workflow_id.to_owned(),
                    run_id: String::new(),
                }),
                next_page_token,
                ..Default::default()
            };
            let answer = service
                .get_workflow_execution_history(tonic::Request::new(request))
                .await;
            let answer = match answer {
                Err(status) if status.code() == tonic::Code::NotFound => return None,
                answer => answer.expect("Temporal answers").into_inner(),
            };
            events.extend(answer.history.unwrap_or_default().events);
            next_page_token = answer.next_page_token;
            if next_page_token.is_empty() {
                return Some(History { events });
            }
        }
    }

    /// Waits until the newest run's history has so many events, also while Temporal is away or has
    /// no such workflow yet. Returns how many there are; fewer when the workflow has closed.
    pub async fn until_events(&self, workflow_id: &str, count: usize) -> usize {
        loop {
            if let Some(seen) = self.follow(workflow_id, count).await {
                return seen;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Follows a history by long polls; nothing when Temporal breaks off.
    async fn follow(&self, workflow_id: &str, count: usize) -> Option<usize> {
        let target = url::Url::parse(&format!("http://{}", self.address)).ok()?;
        let options = ConnectionOptions::new(target).build();
        let mut service = Connection::connect(options).await.ok()?.workflow_service();
        let mut seen = 0;
        let mut next_page_token = Vec::new();
        loop {
            let request = GetWorkflowExecutionHistoryRequest {
                namespace: self.namespace.clone(),
                execution: Some(WorkflowExecution {
                    workflow_id: workflow_id.to_owned(),
                    run_id: String::new(),
                }),
                wait_new_event: true,
                next_page_token,
                ..Default::default()
            };
            let answer = service
                .get_workflow_execution_history(tonic::Request::new(request))
                .await;
            let answer = answer.ok()?.into_inner();
            seen += answer.history.unwrap_or_default().events.len();
            next_page_token = answer.next_page_token;
            if seen >= count || next_page_token.is_empty() {
                return Some(seen);
            }
        }
    }

    /// How many runs a workflow has had, as visibility has it.
    ///
    /// # Panics
    /// When Temporal does not answer.
    pub async fn runs(&self, workflow_id: &str) -> usize {
        let query = format!("WorkflowId='{workflow_id}'");
        let listed = self
            .must(&["list", "--query", &query, "--output", "json"])
            .await;
        serde_json::from_str::<Vec<Value>>(&listed).map_or(0, |runs| runs.len())
    }

    /// How many workflows of this type are open, as visibility has it.
    ///
    /// # Panics
    /// When Temporal does not answer.
    pub async fn open(&self, workflow_type: &str) -> usize {
        let query = format!("WorkflowType='{workflow_type}' AND ExecutionStatus='Running'");
        let listed = self
            .must(&["list", "--query", &query, "--output", "json"])
            .await;
        serde_json::from_str::<Vec<Value>>(&listed).map_or(0, |runs| runs.len())
    }
}

/// What a workflow was started with, as Temporal keeps it.
///
/// # Panics
/// When the history does not begin with a start.
pub fn start_payload(history: &History) -> Payload {
    let first = history.events.first().and_then(|e| e.attributes.as_ref());
    let Some(Attributes::WorkflowExecutionStartedEventAttributes(start)) = first else {
        panic!("the first event is no start");
    };
    let payloads = &start.input.as_ref().expect("an input").payloads;
    payloads.first().expect("an input").clone()
}

/// The workflow of a request's resource name.
///
/// # Panics
/// When it is no name.
pub fn workflow_of(request_name: &str) -> String {
    let id = hallpass_types::AccessRequestId::parse_name(request_name).expect("a name");
    hallpass_workflows::names::workflow_id(&id)
}

/// The first argument of every message that a history holds, with its door: `start`, then signals
/// and accepted updates by name.
pub fn messages(history: &History) -> Vec<(String, Value)> {
    let read = |payloads: Option<&Payloads>| {
        let payload = payloads.and_then(|p| p.payloads.first());
        payload
            .and_then(|p| serde_json::from_slice(&p.data).ok())
            .unwrap_or(Value::Null)
    };
    let message = |attributes: &Attributes| match attributes {
        Attributes::WorkflowExecutionStartedEventAttributes(a) => {
            Some(("start".to_owned(), read(a.input.as_ref())))
        }
        Attributes::WorkflowExecutionSignaledEventAttributes(a) => {
            Some((a.signal_name.clone(), read(a.input.as_ref())))
        }
        Attributes::WorkflowExecutionUpdateAcceptedEventAttributes(a) => {
            let input = a.accepted_request.as_ref()?.input.as_ref()?;
            Some((input.name.clone(), read(input.args.as_ref())))
        }
        _ => None,
    };
    let attributes = history.events.iter().filter_map(|e| e.attributes.as_ref());
    attributes.filter_map(message).collect()
}

/// The first message that came through `door`.
///
/// # Panics
/// When none did.
pub fn message(history: &History, door: &str) -> Value {
    let found = messages(history).into_iter().find(|(d, _)| d == door);
    found.expect("a message through that door").1
}

/// The run that orders about a request are signed for: the workflow's first.
///
/// # Panics
/// When the history does not begin with its start.
pub fn run_of(history: &History) -> String {
    match history.events.first().and_then(|e| e.attributes.as_ref()) {
        Some(Attributes::WorkflowExecutionStartedEventAttributes(a)) => {
            a.first_execution_run_id.clone()
        }
        other => panic!("a history begins with its start, not {other:?}"),
    }
}

/// Names of the activities that were scheduled, in order.
pub fn activities(history: &History) -> Vec<String> {
    let attributes = history.events.iter().filter_map(|e| e.attributes.as_ref());
    let name = |a: &Attributes| match a {
        Attributes::ActivityTaskScheduledEventAttributes(a) => {
            Some(a.activity_type.clone().unwrap_or_default().name)
        }
        _ => None,
    };
    attributes.filter_map(name).collect()
}
