//! A period in figures, for an access review.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

/// From `since`, inclusive, until `until`, exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Period {
    /// From.
    pub since: Timestamp,
    /// Until.
    pub until: Timestamp,
}

impl Period {
    fn hours(&self) -> f64 {
        hours(self.since, self.until)
    }

    /// Hours of a grant that are in the period.
    fn hours_within(&self, from: Timestamp, to: Timestamp) -> f64 {
        hours(from.max(self.since), to.min(self.until))
    }
}

fn hours(from: Timestamp, to: Timestamp) -> f64 {
    if to <= from {
        return 0.0;
    }
    to.duration_since(from).as_secs_f64() / 3600.0
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nobody has decided yet, or its start is to come.
    Waiting,
    /// Access never opened: denied, lapsed, withdrawn or failed.
    Refused,
    /// Access is open, or being taken back.
    Active,
    /// The end came.
    Expired,
    /// The requester gave it back.
    Returned,
    /// It was cut.
    Revoked,
    /// It could not be taken back yet.
    Stuck,
}

impl Fate {
    /// In a word or two.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Refused => "never opened",
            Self::Active => "open",
            Self::Expired => "expired",
            Self::Returned => "given back",
            Self::Revoked => "cut",
            Self::Stuck => "STUCK",
        }
    }
}

/// What a review needs to know of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewRequest {
    /// Its id.
    pub id: String,
    /// What was asked for.
    pub entitlement: String,
    /// In which AWS account; empty where that is not known.
    pub account: String,
    /// Who asked.
    pub requester: String,
    /// When.
    pub created: Timestamp,
    /// When its state last changed.
    pub changed: Timestamp,
    /// What became of it.
    pub fate: Fate,
    /// When access was given; `None` when it never was.
    pub granted: Option<Timestamp>,
    /// When access was over, or shall be.
    pub over: Option<Timestamp>,
    /// Who decided, and whether yes.
    pub decisions: Vec<(String, bool)>,
    /// Sessions that were issued.
    pub sessions: usize,
    /// Proof minus end.
    pub lag: Option<Duration>,
    /// Whether a break-glass policy opened it.
    pub break_glass: bool,
    /// Whether its review is owed and not closed.
    pub review_open: bool,
}

/// Everything a review is computed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewInput {
    /// Which period.
    pub period: Period,
    /// Every entitlement there is.
    pub entitlements: BTreeSet<String>,
    /// Requests that were made or had access in the period.
    pub requests: Vec<ReviewRequest>,
}

/// The figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// Which period.
    pub period: Period,
    /// Requests that were made.
    pub requests: usize,
    /// Of these and of earlier ones, those that had access in the period.
    pub grants: usize,
    /// Hours of access.
    pub granted_hours: f64,
    /// Hours that the same people would have had with standing access to the same things.
    pub standing_hours: f64,
    /// One minus the quotient of both, in percent; `None` without any grant.
    pub avoided_percent: Option<f64>,
    /// Median of the seconds between a request and its grant.
    pub median_wait_seconds: Option<f64>,
    /// Use of each entitlement, the most granted first.
    pub entitlements: Vec<EntitlementUse>,
    /// Entitlements that nobody had access through.
    pub never_granted: Vec<String>,
    /// Decisions by person, the most first.
    pub approvers: Vec<Approver>,
    /// Requests that a break-glass policy opened.
    pub break_glass: Vec<String>,
    /// Those whose review is owed and not closed.
    pub unreviewed: Vec<String>,
    /// How long it took to prove ends.
    pub lags: Option<Lags>,
}

/// Use of one entitlement.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntitlementUse {
    /// Its name.
    pub entitlement: String,
    /// Who had access.
    pub people: Vec<String>,
    /// How often access was given.
    pub grants: usize,
    /// Of these, how often no session was issued.
    pub unused: usize,
    /// Hours of access.
    pub granted_hours: f64,
    /// Hours of the period, once for each of the people.
    pub standing_hours: f64,
}

/// What one person decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Approver {
    /// Who.
    pub who: String,
    /// How often they approved.
    pub approved: usize,
    /// How often they denied.
    pub denied: usize,
}

/// Proof minus end, in milliseconds. Percentiles are by nearest rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lags {
    /// Ends that were proved.
    pub count: usize,
    /// Half were quicker.
    pub p50_ms: u64,
    /// All but one in a hundred were quicker.
    pub p99_ms: u64,
    /// The slowest.
    pub max_ms: u64,
}

/// Computes the figures.
pub fn review(input: &ReviewInput) -> Review {
    let period = input.period;
    let made: Vec<_> = input
        .requests
        .iter()
        .filter(|r| made_in(r, &period))
        .collect();
    let granted: Vec<_> = input
        .requests
        .iter()
        .filter(|r| hours_of(r, &period) > 0.0)
        .collect();
    let entitlements = uses(&granted, &period);
    let granted_hours: f64 = entitlements.iter().map(|e| e.granted_hours).sum();
    let standing_hours: f64 = entitlements.iter().map(|e| e.standing_hours).sum();
    let used: BTreeSet<&str> = entitlements
        .iter()
        .map(|e| e.entitlement.as_str())
        .collect();
    let never = input
        .entitlements
        .iter()
        .filter(|e| !used.contains(e.as_str()));
    let unreviewed = made.iter().filter(|r| r.review_open).map(|r| r.id.clone());
    let glass = made.iter().filter(|r| r.break_glass).map(|r| r.id.clone());
    Review {
        period,
        requests: made.len(),
        grants: granted.len(),
        granted_hours,
        standing_hours,
        avoided_percent: (standing_hours > 0.0)
            .then(|| 100.0 * (1.0 - granted_hours / standing_hours)),
        median_wait_seconds: median_wait(&made),
        never_granted: never.cloned().collect(),
        approvers: approvers(&made),
        break_glass: glass.collect(),
        unreviewed: unreviewed.collect(),
        lags: lags(&granted),
        entitlements,
    }
}

fn made_in(request: &ReviewRequest, period: &Period) -> bool {
    (period.since..period.until).contains(&request.created)
}

fn hours_of(request: &ReviewRequest, period: &Period) -> f64 {
    match (request.granted, request.over) {
        (Some(from), Some(to)) => period.hours_within(from, to),
        _ => 0.0,
    }
}

fn uses(granted: &[&ReviewRequest], period: &Period) -> Vec<EntitlementUse> {
    let mut by_name: BTreeMap<&str, Vec<&ReviewRequest>> = BTreeMap::new();
    for request in granted {
        by_name
            .entry(&request.entitlement)
            .or_default()
            .push(request);
    }
    let mut uses: Vec<_> = by_name
        .into_iter()
        .map(|(name, requests)| {
            let people: BTreeSet<_> = requests.iter().map(|r| r.requester.clone()).collect();
            EntitlementUse {
                entitlement: name.to_owned(),
                grants: requests.len(),
                unused: requests.iter().filter(|r| r.sessions == 0).count(),
                granted_hours: requests.iter().map(|r| hours_of(r, period)).sum(),
                standing_hours: people.len() as f64 * period.hours(),
                people: people.into_iter().collect(),
            }
        })
        .collect();
    uses.sort_by(|a, b| b.granted_hours.total_cmp(&a.granted_hours));
    uses
}

fn median_wait(made: &[&ReviewRequest]) -> Option<f64> {
    let waits = made.iter().filter_map(|r| {
        let wait = r.granted?.duration_since(r.created).as_secs_f64();
        Some(wait.max(0.0))
    });
    let mut waits: Vec<f64> = waits.collect();
    waits.sort_by(f64::total_cmp);
    let middle = waits.len() / 2;
    let upper = *waits.get(middle)?;
    if waits.len() % 2 == 1 {
        return Some(upper);
    }
    Some((waits.get(middle.checked_sub(1)?)? + upper) / 2.0)
}

fn approvers(made: &[&ReviewRequest]) -> Vec<Approver> {
    let mut by_person: BTreeMap<&str, Approver> = BTreeMap::new();
    for (who, yes) in made.iter().flat_map(|r| &r.decisions) {
        let approver = by_person.entry(who).or_insert_with(|| Approver {
            who: who.clone(),
            approved: 0,
            denied: 0,
        });
        match yes {
            true => approver.approved += 1,
            false => approver.denied += 1,
        }
    }
    let mut approvers: Vec<_> = by_person.into_values().collect();
    approvers.sort_by_key(|a| std::cmp::Reverse(a.approved + a.denied));
    approvers
}

fn lags(granted: &[&ReviewRequest]) -> Option<Lags> {
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let mut lags: Vec<u64> = granted.iter().filter_map(|r| r.lag.map(millis)).collect();
    lags.sort_unstable();
    let rank = |percent: usize| {
        let rank = (lags.len() * percent).div_ceil(100);
        lags.get(rank.checked_sub(1)?).copied()
    };
    Some(Lags {
        count: lags.len(),
        p50_ms: rank(50)?,
        p99_ms: rank(99)?,
        max_ms: *lags.last()?,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hour * 3600).unwrap()
    }

    pub(crate) fn period() -> Period {
        Period {
            since: at(0),
            until: at(100),
        }
    }

    pub(crate) fn request(
        n: u64,
        who: &str,
        what: &str,
        granted: Option<(i64, i64)>,
    ) -> ReviewRequest {
        ReviewRequest {
            id: format!("ar-{n}"),
            entitlement: what.to_owned(),
            account: "111122223333".to_owned(),
            requester: who.to_owned(),
            changed: at(2),
            fate: granted.map_or(Fate::Refused, |_| Fate::Expired),
            created: granted.map_or(at(1), |(from, _)| at(from) - Duration::from_secs(60 * n)),
            granted: granted.map(|(from, _)| at(from)),
            over: granted.map(|(_, to)| at(to)),
            decisions: vec![("carol".to_owned(), granted.is_some())],
            sessions: usize::try_from(n % 2).unwrap(),
            lag: granted.map(|_| Duration::from_millis(n * 100)),
            break_glass: n == 3,
            review_open: n == 3,
        }
    }

    pub(crate) fn sample() -> Review {
        let names = ["db", "logs", "idle"].map(str::to_owned);
        review(&ReviewInput {
            period: period(),
            entitlements: names.into_iter().collect(),
            requests: vec![
                request(1, "alice", "db", Some((10, 12))),
                request(2, "alice", "db", Some((20, 21))),
                request(3, "bob", "db", Some((98, 104))),
                request(4, "bob", "logs", Some((-3, 1))),
                request(5, "bob", "idle", None),
            ],
        })
    }

    #[test]
    fn a_period_is_counted() {
        let found = sample();
        assert_eq!((found.requests, found.grants), (4, 4), "{found:?}");
        // Two hours, one, two of the six that are in the period, and one of the four.
        assert_eq!(found.granted_hours, 6.0);
        // Alice and Bob for the database, Bob for the logs.
        assert_eq!(found.standing_hours, 300.0);
        assert_eq!(found.avoided_percent, Some(98.0));
        assert_eq!(found.never_granted, ["idle"]);
        assert_eq!(found.median_wait_seconds, Some(120.0));
        assert_eq!(found.break_glass, ["ar-3"]);
        assert_eq!(found.unreviewed, ["ar-3"]);
        let db = &found.entitlements[0];
        assert_eq!(
            (db.entitlement.as_str(), db.grants, db.unused),
            ("db", 3, 1)
        );
        assert_eq!(db.people, ["alice", "bob"]);
        let carol = &found.approvers[0];
        assert_eq!((carol.approved, carol.denied), (3, 1));
        let lags = found.lags.unwrap();
        assert_eq!(
            (lags.count, lags.p50_ms, lags.p99_ms, lags.max_ms),
            (4, 200, 400, 400)
        );
    }

    #[test]
    fn an_empty_period_has_no_quotients() {
        let found = review(&ReviewInput {
            period: Period {
                since: at(0),
                until: at(1),
            },
            entitlements: BTreeSet::new(),
            requests: Vec::new(),
        });
        assert_eq!(
            (found.avoided_percent, found.median_wait_seconds),
            (None, None)
        );
        assert_eq!((found.lags, found.granted_hours), (None, 0.0));
    }

    proptest! {
        #[test]
        fn access_is_never_more_than_the_period(spans in prop::collection::vec((-50i64..150, 0i64..80), 0..20)) {
            let period = Period { since: at(0), until: at(100) };
            let requests = spans.iter().enumerate().map(|(n, (from, long))| {
                let who = format!("person-{n}");
                request(n as u64, &who, "db", Some((*from, from + long)))
            });
            let input = ReviewInput { period, entitlements: BTreeSet::new(), requests: requests.collect() };
            let found = review(&input);
            prop_assert!(found.granted_hours <= found.standing_hours);
            prop_assert!(found.avoided_percent.is_none_or(|p| (0.0..=100.0).contains(&p)));
        }
    }
}
