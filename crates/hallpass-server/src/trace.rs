//! Traces: what became of one access request, over every process that had a part in it.
//!
//! The trace of a request is a function of its id, so that nothing has to be carried through
//! Temporal: no header enters a history, and a replay asks for the same commands as ever. Spans hold
//! ids, names of calls and codes, and nothing about people.

mod phases;

use std::cell::{Cell, RefCell};
use std::sync::OnceLock;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use futures::FutureExt as _;
use hallpass_types::AccessRequestId;
use hallpass_workflows::names::access_request_of;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _,
    TraceFlags, TraceId, TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer, SdkTracerProvider};
use temporalio_sdk::activities::ActivityInfo;
use temporalio_sdk::interceptors::{
    ActivityInboundInterceptor, ExecuteActivityInput, ExecuteActivityOutput, Next,
};
use tracing::{Instrument as _, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets, filter_fn};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

pub(crate) use phases::workflows;

/// Whose spans are exported beside those of AWS's clients. The log leaves them out.
pub(crate) const TARGET: &str = "hallpass_trace";

const SCOPE: &str = "hallpass";
const ACCESS_REQUEST: &str = "hallpass.access_request";

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

thread_local! {
    /// The ids of the next span, where they must not be drawn.
    static FIXED: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

tokio::task_local! {
    static ABOUT: RefCell<Option<About>>;
}

/// Which request a call is about.
#[derive(Clone)]
struct About {
    id: AccessRequestId,
    /// Whether the call made it.
    begins: bool,
}

/// Exports what is left when it is dropped.
pub(crate) struct Exporting {
    provider: SdkTracerProvider,
    /// The exporter's connection lives here.
    _runtime: tokio::runtime::Runtime,
}

impl Drop for Exporting {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown() {
            eprintln!("hallpassd: the last spans were not exported: {error}");
        }
    }
}

/// Exports to an OpenTelemetry collector that takes OTLP over gRPC. Headers, for instance a token,
/// come from `OTEL_EXPORTER_OTLP_HEADERS`.
pub(crate) fn export_to(endpoint: &url::Url) -> anyhow::Result<Exporting> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("traces")
        .enable_all()
        .build()?;
    let inside = runtime.enter();
    let mut exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint.as_str());
    if endpoint.scheme() == "https" {
        let tls = tonic::transport::ClientTlsConfig::new().with_native_roots();
        exporter = exporter.with_tls_config(tls);
    }
    let resource = Resource::builder()
        .with_attribute(KeyValue::new("service.name", "hallpassd"))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("process.pid", i64::from(std::process::id())));
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter.build()?)
        .with_id_generator(Ids)
        .with_resource(resource.build())
        .build();
    drop(inside);
    let _ = TRACER.set(provider.tracer(SCOPE));
    Ok(Exporting {
        provider,
        _runtime: runtime,
    })
}

/// What turns spans of activities, and of AWS's clients inside them, into exported ones. Events are
/// left out: they are the log's.
pub(crate) fn layer<S>() -> Option<impl Layer<S>>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let tracer = TRACER.get()?.clone();
    let spans = Targets::new()
        .with_target(TARGET, LevelFilter::INFO)
        .with_target("aws_sdk_iam", LevelFilter::DEBUG)
        .with_target("aws_sdk_sts", LevelFilter::DEBUG)
        .and(filter_fn(|about| about.is_span()));
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false);
    Some(layer.with_filter(spans))
}

/// The log's filter without our spans.
pub(crate) fn without_spans(filter: &str) -> EnvFilter {
    EnvFilter::builder().parse_lossy(format!("{filter},{TARGET}=off"))
}

/// Draws ids, but for spans whose ids follow from a request's.
#[derive(Debug)]
struct Ids;

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        let fixed = FIXED.get().map(|(trace, _)| trace);
        fixed.unwrap_or_else(|| RandomIdGenerator::default().new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        let fixed = FIXED.get().map(|(_, span)| span);
        fixed.unwrap_or_else(|| RandomIdGenerator::default().new_span_id())
    }
}

/// The trace of a request, and its first span.
fn ids(id: &AccessRequestId) -> (TraceId, SpanId) {
    let digest = digest(&SHA256, format!("hallpass trace of {id}").as_bytes());
    let (mut trace, mut span) = ([0; 16], [0; 8]);
    trace.copy_from_slice(&digest.as_ref()[..16]);
    span.copy_from_slice(&digest.as_ref()[16..24]);
    (TraceId::from_bytes(trace), SpanId::from_bytes(span))
}

/// A span of a request's trace that is made of nothing but the request.
fn span_id(id: &AccessRequestId, name: &str) -> SpanId {
    let digest = digest(&SHA256, format!("hallpass span {name} of {id}").as_bytes());
    let mut span = [0; 8];
    span.copy_from_slice(&digest.as_ref()[..8]);
    SpanId::from_bytes(span)
}

/// What spans about a request hang from.
fn context_of(id: &AccessRequestId) -> Context {
    let (trace, span) = ids(id);
    let first = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::NONE);
    Context::new().with_remote_span_context(first)
}

/// The call under way is about this request.
pub(crate) fn about(id: &AccessRequestId) {
    note(id, false);
}

/// The call under way made this request.
pub(crate) fn begins(id: &AccessRequestId) {
    note(id, true);
}

fn note(id: &AccessRequestId, begins: bool) {
    let about = About {
        id: id.clone(),
        begins,
    };
    // Outside of a call, and without an exporter, there is nothing to note.
    let _ = ABOUT.try_with(|noted| *noted.borrow_mut() = Some(about));
}

/// Runs a call, and exports its span when `name` says that it is one of ours.
pub(crate) async fn call<T>(
    name: Option<&'static str>,
    work: impl Future<Output = T>,
    code: impl FnOnce(&T) -> tonic::Code,
) -> T {
    let (Some(tracer), Some(name)) = (TRACER.get(), name) else {
        return work.await;
    };
    let began = SystemTime::now();
    let (answer, about) = ABOUT
        .scope(RefCell::new(None), async move {
            let answer = work.await;
            (answer, ABOUT.with(RefCell::take))
        })
        .await;
    let code = code(&answer);
    let mut attributes = vec![
        KeyValue::new("rpc.system", "grpc"),
        KeyValue::new("rpc.method", name),
        KeyValue::new("rpc.grpc.status_code", i64::from(code as i32)),
    ];
    let mut parent = Context::new();
    let mut fixed = None;
    if let Some(about) = &about {
        attributes.push(KeyValue::new(ACCESS_REQUEST, about.id.to_string()));
        match about.begins {
            true => fixed = Some(ids(&about.id)),
            false => parent = context_of(&about.id),
        }
    }
    let span = SpanBuilder::from_name(name)
        .with_kind(SpanKind::Server)
        .with_start_time(began)
        .with_attributes(attributes);
    FIXED.set(fixed);
    let mut span = tracer.build_with_context(span, &parent);
    FIXED.set(None);
    if code != tonic::Code::Ok {
        span.set_status(Status::error(hallpass_proto::code_name(code)));
    }
    span.end();
    answer
}

/// Makes a span of each activity, in the trace of the request that it is about.
pub(crate) struct Activities;

impl ActivityInboundInterceptor for Activities {
    fn execute_activity<'a>(
        &'a self,
        input: ExecuteActivityInput,
        next: Next<'a, ExecuteActivityInput, ExecuteActivityOutput<'a>>,
    ) -> ExecuteActivityOutput<'a> {
        if TRACER.get().is_none() {
            return next.run(input);
        }
        let span = activity(input.activity_info());
        let work = next.run(input);
        async move {
            let result = work.instrument(span.clone()).await;
            if result.is_err() {
                span.record("otel.status_code", "ERROR");
            }
            result
        }
        .boxed()
    }
}

fn activity(info: &ActivityInfo) -> tracing::Span {
    let span = tracing::info_span!(
        target: TARGET,
        "activity",
        otel.name = info.activity_type,
        otel.status_code = tracing::field::Empty,
        hallpass.access_request = tracing::field::Empty,
        temporal.task_queue = info.task_queue,
        temporal.attempt = info.attempt,
    );
    let workflow = info.workflow_id.as_deref().unwrap_or_default();
    if let Some(id) = access_request_of(workflow) {
        span.record(ACCESS_REQUEST, tracing::field::display(&id));
        let _ = span.set_parent(context_of(&id));
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_trace_wherever_it_is_asked() {
        let id = AccessRequestId::parse("ar-0123456789abcdefghjkmnpqrs").unwrap();
        let other = AccessRequestId::parse("ar-00000000000000000000000000").unwrap();
        assert_eq!(ids(&id), ids(&id));
        assert_ne!(ids(&id).0, ids(&other).0);
        assert!(context_of(&id).span().span_context().is_valid());
    }

    #[test]
    fn only_the_first_span_has_fixed_ids() {
        let fixed = (TraceId::from_bytes([1; 16]), SpanId::from_bytes([2; 8]));
        FIXED.set(Some(fixed));
        assert_eq!((Ids.new_trace_id(), Ids.new_span_id()), fixed);
        FIXED.set(None);
        assert_ne!(Ids.new_span_id(), fixed.1);
        assert_ne!(Ids.new_span_id(), Ids.new_span_id());
    }
}
