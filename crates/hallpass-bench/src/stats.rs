//! Samples and what is told of them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// Durations of one kind of operation, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, took: Duration) {
        self.add_ms(took.as_secs_f64() * 1e3);
    }

    pub(crate) fn add_ms(&mut self, ms: f64) {
        self.0.push(ms);
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest sample that at least `share` of all do not exceed; 0 without samples.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank among few samples"
        )]
        let rank = (share * sorted.len() as f64).ceil() as usize;
        let index = rank.clamp(1, sorted.len().max(1)) - 1;
        sorted.get(index).copied().unwrap_or_default()
    }
}

/// One line of a table.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) count: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// Operations in a second; absent where they were not run for a rate.
    pub(crate) rate: Option<f64>,
    /// Milliseconds of CPU for one operation, by process.
    pub(crate) cpu_ms: BTreeMap<&'static str, f64>,
    /// Whatever else was counted.
    pub(crate) counts: BTreeMap<&'static str, f64>,
}

impl Row {
    pub(crate) fn of(name: impl Into<String>, samples: &Samples) -> Self {
        Self {
            name: name.into(),
            count: samples.len(),
            p50_ms: samples.quantile(0.5),
            p90_ms: samples.quantile(0.9),
            p99_ms: samples.quantile(0.99),
            max_ms: samples.quantile(1.0),
            rate: None,
            cpu_ms: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    #[must_use]
    pub(crate) fn counting(mut self, what: &'static str, count: f64) -> Self {
        self.counts.insert(what, count);
        self
    }

    /// With the rate of its samples over `wall`.
    #[must_use]
    pub(crate) fn over(mut self, wall: Duration) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let count = self.count as f64;
        self.rate = Some(count / wall.as_secs_f64().max(1e-9));
        self
    }

    #[must_use]
    pub(crate) fn using(mut self, cpu_ms: BTreeMap<&'static str, f64>) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let count = self.count.max(1) as f64;
        self.cpu_ms = cpu_ms.into_iter().map(|(p, ms)| (p, ms / count)).collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples_and_the_last_is_the_largest() {
        let mut samples = Samples::default();
        assert!(samples.quantile(0.5).abs() < f64::EPSILON);
        (1..=100).rev().for_each(|n| samples.add_ms(f64::from(n)));
        let at = |share| samples.quantile(share);
        assert_eq!(
            [at(0.5), at(0.9), at(0.99), at(1.0)],
            [50.0, 90.0, 99.0, 100.0]
        );
    }

    #[test]
    fn rates_and_cpu_are_for_one_operation() {
        let mut samples = Samples::default();
        (0..4).for_each(|_| samples.add_ms(1.0));
        let row = Row::of("x", &samples)
            .over(Duration::from_secs(2))
            .using([("worker", 8.0)].into());
        assert_eq!((row.rate, row.cpu_ms["worker"]), (Some(2.0), 2.0));
    }
}
