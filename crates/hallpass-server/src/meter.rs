//! The figures of Temporal's SDK among ours: pollers, task slots, cached workflows, failed tasks,
//! requests to Temporal.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::Label;
use temporalio_common::telemetry::metrics::{
    CoreMeter, Counter, CounterBase, Gauge, GaugeBase, GaugeF64, GaugeF64Base, Histogram,
    HistogramBase, HistogramDuration, HistogramDurationBase, HistogramF64, HistogramF64Base,
    MetricAttributable, MetricAttributes, MetricParameters, NewAttributes, TemporalMeter,
    UpDownCounter, UpDownCounterBase,
};
use temporalio_common::telemetry::{METRIC_PREFIX, TaskQueueLabelStrategy, TelemetryOptions};

/// Those that dashboards and alerts use; the SDK's reference lists the others.
pub(crate) const SOME: [(&str, &str, &str); 7] = [
    (
        "gauge",
        "temporal_num_pollers",
        "Pollers of the SDK, by task queue and poller_type",
    ),
    (
        "gauge",
        "temporal_worker_task_slots_available",
        "Tasks that a worker could take at once, by task queue and worker_type",
    ),
    (
        "gauge",
        "temporal_worker_task_slots_used",
        "Tasks under way in a worker, by task queue and worker_type",
    ),
    (
        "counter",
        "temporal_workflow_task_execution_failed",
        "Workflow tasks that failed, by workflow_type and failure_reason",
    ),
    (
        "histogram",
        "temporal_activity_schedule_to_start_latency_seconds",
        "Seconds that activities waited for a worker, by task queue",
    ),
    (
        "counter",
        "temporal_request",
        "Requests to Temporal, by operation",
    ),
    (
        "counter",
        "temporal_request_failure",
        "Requests to Temporal that failed, by operation and status_code",
    ),
];

/// Counts what the SDK tells into the figures that `/metrics` serves.
#[derive(Clone, Copy, Debug)]
struct Meter {
    /// What the SDK does not put before the names itself.
    prefix: &'static str,
}

/// For workers, before whose names the SDK puts [`METRIC_PREFIX`].
pub(crate) fn telemetry() -> TelemetryOptions {
    let meter: Arc<dyn CoreMeter> = Arc::new(Meter { prefix: "" });
    TelemetryOptions::builder()
        .metrics(meter)
        .attach_service_name(false)
        .build()
}

/// For the connection to Temporal, whose names the SDK leaves as they are.
pub(crate) fn connection() -> TemporalMeter {
    let meter = Arc::new(Meter {
        prefix: METRIC_PREFIX,
    });
    let none = NewAttributes::default();
    TemporalMeter::new(meter, none, TaskQueueLabelStrategy::UseNormal)
}

/// A metric without labels yet.
struct Instrument {
    name: String,
}

impl Instrument {
    fn new(meter: Meter, params: &MetricParameters, unit: &str) -> Arc<Self> {
        Arc::new(Self {
            name: format!("{}{}{unit}", meter.prefix, params.name),
        })
    }

    fn labels(attributes: &MetricAttributes) -> Vec<Label> {
        let MetricAttributes::NoOp(labels) = attributes else {
            return Vec::new();
        };
        let mut labels: Vec<_> = labels
            .iter()
            .map(|(key, value)| Label::new(key.clone(), value.clone()))
            .collect();
        labels.sort();
        labels
    }
}

/// A metric with its labels.
struct Bound<T>(T);

macro_rules! attributable {
    ($base:ident, $kind:ident) => {
        impl MetricAttributable<Box<dyn $base>> for Instrument {
            fn with_attributes(
                &self,
                attributes: &MetricAttributes,
            ) -> Result<Box<dyn $base>, Box<dyn std::error::Error>> {
                let labels = Self::labels(attributes);
                Ok(Box::new(Bound(metrics::$kind!(self.name.clone(), labels))))
            }
        }
    };
}

attributable!(CounterBase, counter);
attributable!(GaugeBase, gauge);
attributable!(GaugeF64Base, gauge);
attributable!(UpDownCounterBase, gauge);
attributable!(HistogramBase, histogram);
attributable!(HistogramF64Base, histogram);
attributable!(HistogramDurationBase, histogram);

impl CounterBase for Bound<metrics::Counter> {
    fn adds(&self, value: u64) {
        self.0.increment(value);
    }
}

impl GaugeBase for Bound<metrics::Gauge> {
    fn records(&self, value: u64) {
        self.0.set(as_figure(value));
    }
}

impl GaugeF64Base for Bound<metrics::Gauge> {
    fn records(&self, value: f64) {
        self.0.set(value);
    }
}

impl UpDownCounterBase for Bound<metrics::Gauge> {
    fn adds(&self, value: i64) {
        let size = as_figure(value.unsigned_abs());
        match value < 0 {
            true => self.0.decrement(size),
            false => self.0.increment(size),
        }
    }
}

impl HistogramBase for Bound<metrics::Histogram> {
    fn records(&self, value: u64) {
        self.0.record(as_figure(value));
    }
}

impl HistogramF64Base for Bound<metrics::Histogram> {
    fn records(&self, value: f64) {
        self.0.record(value);
    }
}

impl HistogramDurationBase for Bound<metrics::Histogram> {
    fn records(&self, value: Duration) {
        self.0.record(value.as_secs_f64());
    }
}

/// Figures are floating; what does not fit 32 bits is no count of ours.
fn as_figure(value: u64) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}

/// The labels travel in the variant that keeps them: the SDK reads its own heartbeats' figures from
/// it as well.
impl CoreMeter for Meter {
    fn new_attributes(&self, attribs: NewAttributes) -> MetricAttributes {
        MetricAttributes::NoOp(Arc::new(attribs.into()))
    }

    fn extend_attributes(
        &self,
        existing: MetricAttributes,
        attribs: NewAttributes,
    ) -> MetricAttributes {
        let mut labels = match existing {
            MetricAttributes::NoOp(labels) => (*labels).clone(),
            _ => HashMap::new(),
        };
        labels.extend::<HashMap<String, String>>(attribs.into());
        MetricAttributes::NoOp(Arc::new(labels))
    }

    fn counter(&self, params: MetricParameters) -> Counter {
        Counter::new(Instrument::new(*self, &params, ""))
    }

    fn histogram(&self, params: MetricParameters) -> Histogram {
        Histogram::new(Instrument::new(*self, &params, ""))
    }

    fn histogram_f64(&self, params: MetricParameters) -> HistogramF64 {
        HistogramF64::new(Instrument::new(*self, &params, ""))
    }

    fn histogram_duration(&self, params: MetricParameters) -> HistogramDuration {
        HistogramDuration::new(Instrument::new(*self, &params, "_seconds"))
    }

    fn gauge(&self, params: MetricParameters) -> Gauge {
        Gauge::new(Instrument::new(*self, &params, ""))
    }

    fn gauge_f64(&self, params: MetricParameters) -> GaugeF64 {
        GaugeF64::new(Instrument::new(*self, &params, ""))
    }

    fn up_down_counter(&self, params: MetricParameters) -> UpDownCounter {
        UpDownCounter::new(Instrument::new(*self, &params, ""))
    }
}
