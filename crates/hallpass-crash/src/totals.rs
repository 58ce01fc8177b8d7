//! What came of runs, one by one and counted.

use std::fmt;
use std::time::Duration;

use hallpass_faults::Recorded;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Access or a role is left after the end.
    Leaked(String),
    /// A role, a session, a decision or a run came twice.
    Doubled(String),
    /// A request that was acknowledged is not there.
    Lost(String),
    /// A request, or whoever plays, gets no further.
    Stuck(String),
    /// It ended as it should not.
    Wrong(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, words) = match self {
            Self::Leaked(words) => ("leaked", words),
            Self::Doubled(words) => ("doubled", words),
            Self::Lost(words) => ("lost", words),
            Self::Stuck(words) => ("stuck", words),
            Self::Wrong(words) => ("wrong", words),
        };
        write!(f, "{kind}: {words}")
    }
}

/// What came of one run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What must not be; empty when all is well.
    pub faults: Vec<Fault>,
    /// Whether the moment of the kill came.
    pub reached: bool,
    /// How many events the first request's history had in the end.
    pub events: usize,
    /// The calls to AWS.
    pub calls: Vec<Recorded>,
    /// The first request's id.
    pub id: String,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    pub(crate) fn broken(words: String) -> Self {
        Self {
            faults: vec![Fault::Stuck(words)],
            reached: false,
            events: 0,
            calls: Vec::new(),
            id: String::new(),
            took: Duration::ZERO,
        }
    }
}

/// Counts over many runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Runs.
    pub runs: u32,
    /// Runs whose kill never came, since the history or the calls ended earlier.
    pub not_reached: u32,
    /// What was left of access or roles.
    pub leaked: u32,
    /// What came twice.
    pub doubled: u32,
    /// Requests that were lost.
    pub lost: u32,
    /// Requests that got no further.
    pub stuck: u32,
    /// Requests that ended as they should not.
    pub wrong: u32,
}

impl Totals {
    /// Counts one run in.
    pub fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.not_reached += u32::from(!outcome.reached);
        self.add_faults(&outcome.faults);
    }

    pub(crate) fn add_faults(&mut self, faults: &[Fault]) {
        for fault in faults {
            let count = match fault {
                Fault::Leaked(_) => &mut self.leaked,
                Fault::Doubled(_) => &mut self.doubled,
                Fault::Lost(_) => &mut self.lost,
                Fault::Stuck(_) => &mut self.stuck,
                Fault::Wrong(_) => &mut self.wrong,
            };
            *count += 1;
        }
    }

    /// Whether nothing was that must not be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.leaked + self.doubled + self.lost + self.stuck + self.wrong == 0
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "runs {}  leaked {}  doubled {}  lost {}  stuck {}  wrong {}  (kill not reached: {})",
            self.runs,
            self.leaked,
            self.doubled,
            self.lost,
            self.stuck,
            self.wrong,
            self.not_reached
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_counted_where_it_belongs() {
        let mut totals = Totals::default();
        assert!(totals.is_clean());
        let words = || "x".to_owned();
        let faults = [
            Fault::Leaked(words()),
            Fault::Doubled(words()),
            Fault::Lost(words()),
            Fault::Stuck(words()),
            Fault::Wrong(words()),
        ];
        for fault in faults {
            let mut outcome = Outcome::broken(words());
            outcome.faults = vec![fault];
            totals.add(&outcome);
            assert!(!totals.is_clean());
        }
        let shown = "runs 5  leaked 1  doubled 1  lost 1  stuck 1  wrong 1  (kill not reached: 5)";
        assert_eq!(totals.to_string(), shown);
    }
}
