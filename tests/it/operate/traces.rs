//! One trace covers a request, from the call that asks to the calls that AWS executes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use hallpass_proto::v1::Verdict;
use hallpass_proto::v1::access_request::State;
use harness::{Private, issue};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};

/// What a collector was sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ResourceSpans>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner().resource_spans;
        self.0.lock().unwrap().extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Starts on loopback; ends with the runtime of the test.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = TraceServiceServer::new(collector.clone());
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(incoming));
        (collector, format!("http://{address}"))
    }

    /// Every span, with the process that made it.
    fn spans(&self) -> Vec<(i64, Span)> {
        let all = self.0.lock().unwrap();
        let mut spans = Vec::new();
        for process in all.iter() {
            let of = process.resource.clone().unwrap_or_default();
            let pid = of.attributes.iter().find(|a| a.key == "process.pid");
            let pid = pid.and_then(|a| a.value.as_ref()?.value.clone());
            let Some(Value::IntValue(pid)) = pid else {
                panic!("no process: {of:?}");
            };
            let of_process = process.scope_spans.iter().flat_map(|s| s.spans.clone());
            spans.extend(of_process.map(|span| (pid, span)));
        }
        spans
    }

    fn text(&self) -> String {
        format!("{:?}", self.0.lock().unwrap())
    }
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|a| a.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        other => Some(format!("{other:?}")),
    }
}

/// The phases of a request in their order, each of which begins when the one before it ends, inside
/// the life of the workflow and under the trace's first span.
fn phases(spans: &[(i64, Span)], name: &str, root: &Span) -> Vec<String> {
    let id = name.rsplit('/').next().unwrap();
    let is_its = |span: &&Span| {
        span.name.starts_with("AccessRequest")
            && attribute(span, "hallpass.access_request").as_deref() == Some(id)
    };
    let mut its: Vec<_> = spans.iter().map(|(_, span)| span).filter(is_its).collect();
    let parents = its.iter().map(|s| (&s.trace_id, &s.parent_span_id));
    assert!(
        parents
            .clone()
            .all(|p| p == (&root.trace_id, &root.span_id)),
        "{its:?}"
    );
    its.sort_by_key(|span| (span.start_time_unix_nano, span.name.len()));
    let life = its.remove(0);
    assert_eq!(life.name, "AccessRequest");
    assert_eq!(its[0].start_time_unix_nano, life.start_time_unix_nano);
    for (phase, next) in its.iter().zip(&its[1..]) {
        assert_eq!(phase.end_time_unix_nano, next.start_time_unix_nano);
    }
    let end = its.last().map(|last| last.end_time_unix_nano);
    assert!(end <= Some(life.end_time_unix_nano), "{its:?}");
    let word = |span: &&Span| span.name.rsplit(' ').next().unwrap().to_owned();
    its.iter().map(word).collect()
}

#[tokio::test]
async fn one_trace_covers_a_request_over_every_process() {
    let (collector, endpoint) = Collector::start().await;
    let mut world = Private::start().await;
    world.set_environment("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
    let mut services = Vec::new();
    for role in ["worker", "ends", "api"] {
        services.push(world.serve(role).await);
    }
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let asked = alice.ask("sandbox-scratch", 300).await.unwrap();
    alice.watch_until(&asked.name, State::Active).await;
    let other = alice.ask("prod-reports", 300).await.unwrap();
    alice
        .watch_until(&other.name, State::AwaitingApproval)
        .await;
    // Another worker replays what the first one has told.
    assert!(services.remove(0).terminate().await.success());
    services.push(world.serve("worker").await);
    bob.decide(&other.name, Verdict::Approve).await.unwrap();
    alice.watch_until(&other.name, State::Active).await;
    let session = issue(&alice, &asked.name).await.unwrap();
    for name in [&asked.name, &other.name] {
        alice.give_back(name).await.unwrap();
        alice.watch_until(name, State::Ended).await;
    }
    let stranger = world.client_with("Bearer nonsense".to_owned()).await;
    stranger.ask("sandbox-reports", 60).await.unwrap_err();
    // Whoever drains exports what is left.
    for service in services {
        assert!(service.terminate().await.success());
    }

    let id = asked.name.rsplit('/').next().unwrap();
    let spans = collector.spans();
    let named = |name: &str| {
        let is_it = |span: &&Span| {
            span.name == name && attribute(span, "hallpass.access_request").is_none_or(|a| a == id)
        };
        let found = spans.iter().map(|(_, span)| span).find(is_it);
        let all: BTreeSet<_> = spans.iter().map(|(_, s)| s.name.as_str()).collect();
        found.unwrap_or_else(|| panic!("no span {name}, but {all:?}"))
    };
    let root = named("AccessService/CreateAccessRequest");
    assert!(root.parent_span_id.is_empty(), "{root:?}");
    let trace = &root.trace_id;
    let of_trace: Vec<_> = spans.iter().filter(|(_, s)| s.trace_id == *trace).collect();
    let by_id: BTreeMap<_, _> = of_trace.iter().map(|(_, s)| (&s.span_id, s)).collect();
    assert_eq!(by_id.len(), of_trace.len(), "span ids are unique");
    for (_, span) in &of_trace {
        let is_root = span.span_id == root.span_id;
        assert!(
            is_root || by_id.contains_key(&span.parent_span_id),
            "{span:?} hangs in the air"
        );
    }
    let processes: BTreeSet<_> = of_trace.iter().map(|(pid, _)| pid).collect();
    assert_eq!(processes.len(), 4, "api, two workers and ends");

    for (call, activity) in [
        ("IAM.CreateRole", "Provision"),
        ("STS.AssumeRole", "Issue"),
        ("IAM.DeleteRole", "End"),
    ] {
        let under = |(_, span): &&&(i64, Span)| {
            let parent = by_id.get(&span.parent_span_id);
            span.name == call
                && parent.is_some_and(|p| p.name.to_lowercase().contains(&activity.to_lowercase()))
        };
        let (_, call) = of_trace.iter().find(under).unwrap_or_else(|| {
            let names: Vec<_> = of_trace.iter().map(|(_, s)| &s.name).collect();
            panic!("no {call} in an activity {activity}: {names:?}")
        });
        let parent = by_id[&call.parent_span_id];
        assert_eq!(
            parent.parent_span_id, root.span_id,
            "{activity} hangs from the request"
        );
        assert_eq!(
            attribute(parent, "hallpass.access_request").as_deref(),
            Some(id)
        );
    }
    let back = named("AccessService/ReturnAccessRequest");
    assert_eq!(
        (&back.trace_id, &back.parent_span_id),
        (trace, &root.span_id)
    );

    // Without people, no time passes before the role is made; in assume mode, none is made.
    let of_asked = ["Checking", "Provisioning", "Active", "Ending"];
    assert_eq!(phases(&spans, &asked.name, root), of_asked);
    let other_id = other.name.rsplit('/').next().unwrap();
    let is_others = |span: &&Span| {
        span.name == root.name
            && attribute(span, "hallpass.access_request").as_deref() == Some(other_id)
    };
    let others_root = spans.iter().map(|(_, span)| span).find(is_others).unwrap();
    let of_other = ["Checking", "AwaitingApproval", "Active", "Ending"];
    assert_eq!(phases(&spans, &other.name, others_root), of_other);
    let about_other =
        |span: &Span| attribute(span, "hallpass.access_request").as_deref() == Some(other_id);
    assert!(spans.iter().any(|(_, s)| about_other(s)));
    assert!(
        of_trace.iter().all(|(_, s)| !about_other(s)),
        "each has a trace of its own"
    );
    let text = collector.text();
    let (secret, token) = (
        session.secret.secret_access_key(),
        session.secret.session_token(),
    );
    for hidden in [secret, token, world.service_secret(), "alice", "nonsense"] {
        assert!(!text.contains(hidden), "a span holds {hidden}");
    }
}
