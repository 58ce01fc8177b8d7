//! What is counted, and under which names. Dashboards and alerts lean on the names.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use hallpass_aws::ErrorClass;
use hallpass_proto::code_name;
use hallpass_types::AwsAccountId;
use hallpass_types::machine::EndCause;
use jiff::Timestamp;
use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use temporalio_common::telemetry::METRIC_PREFIX;

/// Seconds, from a quick call to an end that is late by an hour.
const SECONDS: [f64; 14] = [
    0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0,
];

pub(crate) const BUILD_INFO: &str = "hallpass_build_info";
pub(crate) const POLICY_INFO: &str = "hallpass_policy_info";
pub(crate) const POLICY_RELOADS: &str = "hallpass_policy_reloads_total";
pub(crate) const RPCS: &str = "hallpass_rpcs_total";
pub(crate) const RPC_SECONDS: &str = "hallpass_rpc_seconds";
pub(crate) const TOKEN_REFUSALS: &str = "hallpass_token_refusals_total";
pub(crate) const THROTTLED_CALLERS: &str = "hallpass_throttled_callers_total";
pub(crate) const GATES: &str = "hallpass_gate_answers_total";
pub(crate) const SESSIONS: &str = "hallpass_sessions_issued_total";
pub(crate) const ENDS: &str = "hallpass_ends_total";
pub(crate) const END_FAILURES: &str = "hallpass_end_failures_total";
pub(crate) const END_LAG: &str = "hallpass_end_lag_seconds";
pub(crate) const AWS_ERRORS: &str = "hallpass_aws_errors_total";
pub(crate) const SWEEPS: &str = "hallpass_sweeps_total";
pub(crate) const SWEEP_FINDINGS: &str = "hallpass_sweep_findings_total";
pub(crate) const ARCHIVE_WHOLE: &str = "hallpass_archive_whole_timestamp_seconds";
pub(crate) const OPEN_REQUESTS: &str = "hallpass_open_requests";
pub(crate) const OVERDUE: &str = "hallpass_ends_overdue";
pub(crate) const TEMPORAL_UP: &str = "hallpass_temporal_up";

/// Kind, name and meaning of every metric.
pub(crate) const METRICS: [(Kind, &str, &str); 19] = [
    (
        Kind::Gauge,
        BUILD_INFO,
        "1, labelled with version, role, and the one account that is served, if it is one",
    ),
    (
        Kind::Gauge,
        POLICY_INFO,
        "1, labelled with the digest of the policy bundle in force",
    ),
    (
        Kind::Counter,
        POLICY_RELOADS,
        "Reads of the policy folder, by result",
    ),
    (
        Kind::Counter,
        RPCS,
        "Calls answered, by method and gRPC code",
    ),
    (
        Kind::Histogram,
        RPC_SECONDS,
        "Seconds to answer a call, by method; streams to their first answer",
    ),
    (Kind::Counter, TOKEN_REFUSALS, "Tokens refused, by reason"),
    (
        Kind::Counter,
        THROTTLED_CALLERS,
        "Calls refused because their caller made too many",
    ),
    (
        Kind::Counter,
        GATES,
        "Answers of policy gates in the worker, by gate and outcome",
    ),
    (Kind::Counter, SESSIONS, "AWS sessions issued, by mode"),
    (
        Kind::Counter,
        ENDS,
        "Grants proved to be over, by mode and cause",
    ),
    (
        Kind::Counter,
        END_FAILURES,
        "Attempts to end a grant that failed, by class of error",
    ),
    (
        Kind::Histogram,
        END_LAG,
        "Seconds from the end, or the order to end, to its proof, by cause",
    ),
    (
        Kind::Counter,
        AWS_ERRORS,
        "Errors of AWS, by operation and class",
    ),
    (Kind::Counter, SWEEPS, "Sweeps of an account, by result"),
    (
        Kind::Counter,
        SWEEP_FINDINGS,
        "What sweeps found, by judgement",
    ),
    (
        Kind::Gauge,
        ARCHIVE_WHOLE,
        "Until when the archive is known to have all that was over; 0 before the first pass",
    ),
    (Kind::Gauge, OPEN_REQUESTS, "Open access requests, by phase"),
    (
        Kind::Gauge,
        OVERDUE,
        "Grants whose end is more than a minute ago and not proved",
    ),
    (
        Kind::Gauge,
        TEMPORAL_UP,
        "Whether Temporal answered when last asked, 1 or 0",
    ),
];

/// What kind of figure a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Starts counting. Until then, and without it, counting costs nothing and keeps nothing.
pub(crate) fn start() -> Result<PrometheusHandle, BuildError> {
    let temporal = Matcher::Prefix(METRIC_PREFIX.to_owned());
    let mut builder = PrometheusBuilder::new().set_buckets_for_metric(temporal, &SECONDS)?;
    for (kind, name, _) in METRICS {
        if kind == Kind::Histogram {
            builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), &SECONDS)?;
        }
    }
    let handle = builder.install_recorder()?;
    for (kind, name, meaning) in METRICS {
        match kind {
            Kind::Counter => metrics::describe_counter!(name, meaning),
            Kind::Gauge => metrics::describe_gauge!(name, meaning),
            Kind::Histogram => metrics::describe_histogram!(name, meaning),
        }
    }
    Ok(handle)
}

/// Kind, name and meaning of every figure, a line for each.
pub(crate) fn listed() -> String {
    let ours = METRICS
        .iter()
        .map(|(kind, name, meaning)| (format!("{kind:?}").to_lowercase(), name, meaning));
    let some = crate::meter::SOME
        .iter()
        .map(|(kind, name, meaning)| ((*kind).to_owned(), name, meaning));
    ours.chain(some)
        .map(|(kind, name, meaning)| format!("{kind:<10} {name:<34} {meaning}\n"))
        .collect()
}

/// Which build this is, and what runs in it.
pub(crate) fn build(role: &str, account: Option<&AwsAccountId>) {
    let account = account.map(AwsAccountId::to_string).unwrap_or_default();
    let (version, role) = (env!("CARGO_PKG_VERSION"), role.to_owned());
    gauge!(BUILD_INFO, "version" => version, "role" => role, "account" => account).set(1.0);
}

/// Which policy is in force; the one before it goes to 0.
pub(crate) fn policy(old: Option<&str>, new: &str) {
    if let Some(old) = old {
        gauge!(POLICY_INFO, "digest" => old.to_owned()).set(0.0);
    }
    gauge!(POLICY_INFO, "digest" => new.to_owned()).set(1.0);
}

/// The policy folder was read.
pub(crate) fn policy_reload(taken: bool) {
    let result = if taken { "taken" } else { "refused" };
    counter!(POLICY_RELOADS, "result" => result).increment(1);
}

/// A call was answered. Unknown methods share one name, so that callers cannot make up series.
pub(crate) fn rpc(path: &str, code: tonic::Code, took: Duration) {
    let method = method(path).unwrap_or("other");
    counter!(RPCS, "method" => method, "code" => code_name(code)).increment(1);
    histogram!(RPC_SECONDS, "method" => method).record(took.as_secs_f64());
}

/// A token was refused.
pub(crate) fn token_refused(reason: &'static str) {
    counter!(TOKEN_REFUSALS, "reason" => reason).increment(1);
}

/// A caller made too many calls.
pub(crate) fn caller_throttled() {
    counter!(THROTTLED_CALLERS).increment(1);
}

/// A gate was asked by the worker.
pub(crate) fn gate(gate: &'static str, allows: bool) {
    let outcome = if allows { "allow" } else { "deny" };
    counter!(GATES, "gate" => gate, "outcome" => outcome).increment(1);
}

/// A session was issued.
pub(crate) fn session(created: bool) {
    counter!(SESSIONS, "mode" => mode(created)).increment(1);
}

/// A grant is proved to be over, so long after its end or the order to end it.
pub(crate) fn ended(created: bool, cause: EndCause, lag: Duration) {
    let cause = cause_name(cause);
    counter!(ENDS, "mode" => mode(created), "cause" => cause).increment(1);
    histogram!(END_LAG, "cause" => cause).record(lag.as_secs_f64());
}

/// An attempt to end a grant failed.
pub(crate) fn end_failed(class: ErrorClass) {
    counter!(END_FAILURES, "class" => class_name(class)).increment(1);
}

/// AWS answered with an error.
pub(crate) fn aws_error(operation: &str, class: ErrorClass) {
    let operation = operation.to_owned();
    counter!(AWS_ERRORS, "operation" => operation, "class" => class_name(class)).increment(1);
}

/// Until then, all that was over is in the archive, as this process knows.
pub(crate) fn archive_whole(until: Timestamp) {
    gauge!(ARCHIVE_WHOLE).set(until.as_duration().as_secs_f64());
}

/// A sweep of all accounts ended.
pub(crate) fn swept(errors: usize, findings: impl Iterator<Item = String>) {
    let result = if errors == 0 { "ok" } else { "error" };
    counter!(SWEEPS, "result" => result).increment(1);
    for judgement in findings {
        counter!(SWEEP_FINDINGS, "judgement" => judgement).increment(1);
    }
}

fn mode(created: bool) -> &'static str {
    if created { "create" } else { "assume" }
}

fn cause_name(cause: EndCause) -> &'static str {
    match cause {
        EndCause::Expired => "expired",
        EndCause::Returned => "returned",
        EndCause::Revoked => "revoked",
        EndCause::ProvisioningFailed => "provisioning_failed",
    }
}

fn class_name(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Retry => "retry",
        ErrorClass::Throttled => "throttled",
        ErrorClass::NotYetVisible => "not_yet_visible",
        ErrorClass::Gone => "gone",
        ErrorClass::AlreadyExists => "already_exists",
        ErrorClass::LimitReached => "limit_reached",
        ErrorClass::Refused => "refused",
        ErrorClass::Alarm => "alarm",
    }
}

/// The name of the method that is called by this path, if it is one of ours.
pub(crate) fn method(path: &str) -> Option<&'static str> {
    methods().get(path).map(String::as_str)
}

fn methods() -> &'static HashMap<String, String> {
    static METHODS: OnceLock<HashMap<String, String>> = OnceLock::new();
    METHODS.get_or_init(|| {
        let files = FileDescriptorSet::decode(hallpass_proto::DESCRIPTORS).unwrap_or_default();
        let mut methods = HashMap::new();
        for file in &files.file {
            for service in &file.service {
                for method in &service.method {
                    let (service, method) = (service.name(), method.name());
                    methods.insert(
                        format!("/{}.{service}/{method}", file.package()),
                        format!("{service}/{method}"),
                    );
                }
            }
        }
        methods
    })
}
