//! The pure middle of a shared role's writer: who waits, what is next, what becomes of each.
//!
//! It holds nothing that AWS does not hold: cuts that stand are in the role's policy, and one whose
//! asker was not answered is asked for again.

use std::collections::BTreeMap;

use hallpass_types::Cut;
use jiff::{SignedDuration, Timestamp};

use crate::wire::{CutReply, WriteCutsOutput};

/// Longest pause before cuts are lifted after a failure; the shortest is a minute.
const PAUSE_MAX: SignedDuration = SignedDuration::from_mins(10);
/// After so many failures in a row with nobody waiting, lifting is left to the sweep.
const FAILURES: u32 = 8;

/// What the writer does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Write: somebody waits, or something may be lifted, or it is not known what stands.
    Write,
    /// Wait until then, or for the next asker.
    Wait(Timestamp),
    /// Nothing stands and nobody waits.
    Rest,
}

/// One who asked for cuts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asker {
    ticket: u64,
    cuts: Vec<Cut>,
}

/// What the writer of one role's cuts knows.
#[derive(Clone, Debug)]
pub struct CutsCore {
    tickets: u64,
    waiting: Vec<Asker>,
    writing: Vec<Asker>,
    answers: BTreeMap<u64, CutReply>,
    /// When to write next with nobody waiting; `None` when nothing stands.
    write_at: Option<Timestamp>,
    failures: u32,
}

impl CutsCore {
    /// A writer that does not know yet what stands: it looks at once.
    pub fn new(now: Timestamp) -> Self {
        Self {
            tickets: 0,
            waiting: Vec::new(),
            writing: Vec::new(),
            answers: BTreeMap::new(),
            write_at: Some(now),
            failures: 0,
        }
    }

    /// Takes an order; the ticket leads to its answer. No cuts asks for lifting only.
    pub fn ask(&mut self, cuts: Vec<Cut>) -> u64 {
        self.tickets += 1;
        let ticket = self.tickets;
        self.waiting.push(Asker { ticket, cuts });
        ticket
    }

    /// Whether there is an answer.
    pub fn is_answered(&self, ticket: u64) -> bool {
        self.answers.contains_key(&ticket)
    }

    /// The answer, once.
    pub fn take(&mut self, ticket: u64) -> Option<CutReply> {
        self.answers.remove(&ticket)
    }

    /// Whether somebody waits for the next write.
    pub fn has_askers(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What to do now.
    pub fn next(&self, now: Timestamp) -> Next {
        match self.write_at {
            _ if self.has_askers() => Next::Write,
            Some(at) if at <= now => Next::Write,
            Some(at) => Next::Wait(at),
            None => Next::Rest,
        }
    }

    /// Everybody who waits goes into one write, in the order in which they came.
    pub fn begin(&mut self) -> Vec<Cut> {
        self.writing = std::mem::take(&mut self.waiting);
        let cuts = self.writing.iter().flat_map(|asker| &asker.cuts);
        cuts.cloned().collect()
    }

    /// Answers those whose cuts were written, and those whose did not fit.
    pub fn written(&mut self, output: &WriteCutsOutput, now: Timestamp) {
        self.failures = 0;
        // A lift that is due and was not done waits for the worker's clock.
        let soonest = now.saturating_add(pause(0)).unwrap_or(Timestamp::MAX);
        self.write_at = match output.lift_at {
            Some(at) if at <= now => Some(soonest),
            at => at,
        };
        for asker in std::mem::take(&mut self.writing) {
            let missing = |cut: &Cut| output.no_room.contains(&cut.request);
            let reply = if output.role_gone {
                CutReply::RoleGone
            } else if asker.cuts.iter().any(missing) {
                CutReply::NoRoom { room: output.room }
            } else {
                CutReply::Written {
                    policy: output.policy.clone(),
                    aws_request_ids: output.aws_request_ids.clone(),
                }
            };
            self.answers.insert(asker.ticket, reply);
        }
    }

    /// Others reach the account now: those who waited ask a writer there, and this one is done.
    pub fn moved(&mut self, why: &str, now: Timestamp) {
        self.failed(why, now);
        self.write_at = None;
    }

    /// Tells those who waited that the write failed: they ask again, each at their own pace.
    pub fn failed(&mut self, why: &str, now: Timestamp) {
        let pause = pause(self.failures);
        self.failures += 1;
        self.write_at = match self.write_at {
            Some(_) if self.failures >= FAILURES => None,
            // Somebody asked, and it may have been written all the same.
            _ => Some(now.saturating_add(pause).unwrap_or(Timestamp::MAX)),
        };
        for asker in std::mem::take(&mut self.writing) {
            let why = why.to_owned();
            self.answers.insert(asker.ticket, CutReply::Failed { why });
        }
    }
}

fn pause(failures: u32) -> SignedDuration {
    SignedDuration::from_mins(1_i64 << failures.min(4)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use hallpass_types::{AccessRequestId, PrincipalId, RequestId, Sha256Digest};
    use proptest::prelude::*;

    use super::*;

    fn cut(n: u64) -> Cut {
        let who = PrincipalId::new("https://idp.example", "alice").unwrap();
        let key = RequestId::parse(&format!("00000000-0000-4000-8000-{n:012x}")).unwrap();
        Cut {
            request: AccessRequestId::derive(&who, &key),
            session_name: format!("alice.{n}"),
            end: at(1_000).into(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn output(lift_at: Option<i64>, no_room: &[u64]) -> WriteCutsOutput {
        WriteCutsOutput {
            role_gone: false,
            policy: lift_at.map(|_| ("hallpass-cuts".to_owned(), Sha256Digest::of(b"x"))),
            no_room: no_room.iter().map(|n| cut(*n).request).collect(),
            room: 100,
            lift_at: lift_at.map(at),
            aws_request_ids: vec![],
        }
    }

    #[test]
    fn all_who_wait_go_into_one_write_and_each_gets_an_answer_of_their_own() {
        let mut core = CutsCore::new(at(0));
        let (one, two) = (core.ask(vec![cut(1)]), core.ask(vec![cut(2)]));
        let sweep = core.ask(vec![]);
        assert_eq!(core.next(at(0)), Next::Write);
        assert_eq!(core.begin(), [cut(1), cut(2)]);
        let late = core.ask(vec![cut(3)]);
        assert!(!core.is_answered(one));
        core.written(&output(Some(60), &[2]), at(1));
        assert!(matches!(core.take(one), Some(CutReply::Written { .. })));
        assert_eq!(core.take(two), Some(CutReply::NoRoom { room: 100 }));
        assert!(matches!(core.take(sweep), Some(CutReply::Written { .. })));
        // Who came during the write is in the next one.
        assert!(!core.is_answered(late));
        assert_eq!(core.next(at(1)), Next::Write);
        assert_eq!(core.begin(), [cut(3)]);
    }

    #[test]
    fn it_looks_first_waits_for_what_stands_and_rests_when_nothing_does() {
        let mut core = CutsCore::new(at(0));
        assert_eq!(core.next(at(0)), Next::Write, "AWS may hold something");
        assert_eq!(core.begin(), []);
        core.written(&output(Some(60), &[]), at(0));
        assert_eq!(core.next(at(59)), Next::Wait(at(60)));
        assert_eq!(core.next(at(60)), Next::Write);
        core.begin();
        // The worker's clock is behind: no busy loop.
        core.written(&output(Some(60), &[]), at(61));
        assert_eq!(core.next(at(61)), Next::Wait(at(121)));
        core.begin();
        core.written(&output(None, &[]), at(121));
        assert_eq!(core.next(at(121)), Next::Rest);
        core.ask(vec![cut(1)]);
        assert_eq!(core.next(at(121)), Next::Write);
    }

    #[test]
    fn a_failure_is_told_at_once_and_lifting_is_tried_again_with_growing_pauses() {
        let mut core = CutsCore::new(at(0));
        let mut now = 0;
        for pause in [60, 120, 240, 480, 600, 600, 600] {
            let ticket = core.ask(vec![cut(1)]);
            core.begin();
            core.failed("AWS is away", at(now));
            let failed = CutReply::Failed {
                why: "AWS is away".to_owned(),
            };
            assert_eq!(core.take(ticket), Some(failed));
            assert_eq!(core.next(at(now)), Next::Wait(at(now + pause)));
            now += pause;
            assert_eq!(core.next(at(now)), Next::Write);
        }
        core.begin();
        core.failed("AWS is away", at(now));
        assert_eq!(core.next(at(now)), Next::Rest, "left to the sweep");
    }

    proptest! {
        #[test]
        fn everybody_is_answered_exactly_once(steps in prop::collection::vec(0u8..4, 0..60)) {
            let mut core = CutsCore::new(at(0));
            let (mut open, mut answered) = (Vec::new(), 0);
            let mut n = 0;
            for step in steps {
                match step {
                    0 | 1 => {
                        n += 1;
                        open.push(core.ask(vec![cut(n)]));
                    }
                    2 => {
                        core.begin();
                        core.written(&output(Some(60), &[n]), at(0));
                    }
                    _ => {
                        core.begin();
                        core.failed("no", at(0));
                    }
                }
                open.retain(|ticket| {
                    let taken = core.take(*ticket).is_some();
                    answered += u64::from(taken);
                    assert!(core.take(*ticket).is_none());
                    !taken
                });
                prop_assert_eq!(open.is_empty(), !core.has_askers());
            }
            prop_assert_eq!(answered + open.len() as u64, n);
        }
    }
}
