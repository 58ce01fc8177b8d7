//! What this process uses: CPU since an instant, and memory on the way.

use std::time::{Duration, Instant};

use crate::procs::{Processes, memory_mib};
use crate::stats::{Row, Samples};

const ME: &str = "bench";

/// Resident memory now, in MiB.
pub(crate) fn memory() -> f64 {
    memory_mib(std::process::id()).unwrap_or_default()
}

/// A run of so many operations, watched.
pub(crate) struct Watch {
    me: Processes,
    count: usize,
    samples: Samples,
    wall: Duration,
    cpu_ms: f64,
    memory: Vec<(&'static str, f64)>,
}

/// CPU and wall clock where something begins.
pub(crate) struct Begun(Instant, f64);

impl Watch {
    pub(crate) fn over(count: usize) -> Self {
        Self {
            me: Processes::default().with(ME, Some(std::process::id())),
            count,
            samples: Samples::default(),
            wall: Duration::ZERO,
            cpu_ms: 0.0,
            memory: Vec::new(),
        }
    }

    pub(crate) fn begin(&self) -> Begun {
        Begun(Instant::now(), self.cpu())
    }

    /// So many operations are done since `begun`.
    pub(crate) fn done(&mut self, begun: &Begun, operations: usize) {
        let took = begun.0.elapsed();
        self.wall += took;
        self.cpu_ms += self.cpu() - begun.1;
        for _ in 0..operations {
            let shares = u32::try_from(operations).unwrap_or(u32::MAX);
            self.samples.add(took / shares);
        }
        let share = 100 * self.samples.len() / self.count.max(1);
        let marks = [
            (10, "MiB at 10 %"),
            (50, "MiB at 50 %"),
            (100, "MiB at the end"),
        ];
        for (at, name) in marks {
            if share >= at && self.memory.iter().all(|(known, _)| *known != name) {
                self.memory.push((name, memory()));
            }
        }
    }

    /// The row of a table: rates by the wall clock and by the CPU.
    pub(crate) fn row(self, name: &str) -> Row {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let count = self.samples.len() as f64;
        let row = Row::of(name, &self.samples)
            .over(self.wall)
            .using([(ME, self.cpu_ms)].into())
            .counting("a core and second", count * 1e3 / self.cpu_ms.max(1.0));
        let memory = self.memory.into_iter();
        memory.fold(row, |row, (name, mib)| row.counting(name, mib))
    }

    fn cpu(&self) -> f64 {
        self.me.cpu().get(ME).copied().unwrap_or_default()
    }
}
