//! What processes cost, read from the kernel.

use std::collections::BTreeMap;
use std::fs;

/// The kernel counts CPU in hundredths of a second, on every Linux that we know.
const MS_PER_TICK: f64 = 10.0;

/// The processes of a run, by what they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes(BTreeMap<&'static str, u32>);

impl Processes {
    pub(crate) fn with(mut self, name: &'static str, id: Option<u32>) -> Self {
        if let Some(id) = id {
            self.0.insert(name, id);
        }
        self
    }

    /// CPU so far, in milliseconds.
    pub(crate) fn cpu(&self) -> BTreeMap<&'static str, f64> {
        let cpu = |(name, id): (&&'static str, &u32)| Some((*name, cpu_ms(*id)?));
        self.0.iter().filter_map(cpu).collect()
    }

    /// CPU since `before`, in milliseconds.
    pub(crate) fn since(
        &self,
        before: &BTreeMap<&'static str, f64>,
    ) -> BTreeMap<&'static str, f64> {
        let mut now = self.cpu();
        for (name, ms) in &mut now {
            *ms -= before.get(name).copied().unwrap_or_default();
        }
        now
    }

    /// Resident memory now, in MiB.
    pub(crate) fn memory(&self) -> BTreeMap<&'static str, f64> {
        let memory = |(name, id): (&&'static str, &u32)| Some((*name, memory_mib(*id)?));
        self.0.iter().filter_map(memory).collect()
    }
}

/// Resident memory of a process, in MiB.
pub(crate) fn memory_mib(id: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

fn cpu_ms(id: u32) -> Option<f64> {
    ticks(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?).map(|ticks| ticks * MS_PER_TICK)
}

/// User and system time out of a stat line; the name before them may contain anything.
fn ticks(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_read_whatever_the_process_is_called() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0";
        assert_eq!(ticks(stat), Some(42.0));
        assert_eq!(ticks("7 (a"), None);
        let me = Processes::default().with("me", Some(std::process::id()));
        assert!(me.memory()["me"] > 0.5);
        assert_eq!(me.since(&me.cpu()).len(), 1);
    }
}
