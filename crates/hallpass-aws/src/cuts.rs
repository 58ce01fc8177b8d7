//! The one inline policy of a shared role that holds every cut on it: read, merged, measured.
//!
//! Pure. AWS holds the state: whoever writes merges with what was read there, so no writer has to
//! remember anything, and one that was lost loses no cut.

use std::collections::{BTreeMap, BTreeSet};

use hallpass_types::{Cut, EndInstant};
use jiff::{SignedDuration, Timestamp};

use crate::limits::without_space;
use crate::policy::{OneOrMany, PolicyDocument, Scalar, Statement};

/// How long after its end a cut still stands, in case our clock runs ahead of AWS's: lifted too
/// early, it would give a cut session its last seconds back.
pub const LIFT_MARGIN: SignedDuration = SignedDuration::from_secs(60);

/// Begins the `Sid` of our statements.
const SID: &str = "HallpassCut";
const SID_TIME: &str = "%Y%m%dT%H%M%SZ";
/// Cuts are grouped by the hour after their end: one statement for each would need three times the
/// room.
const GROUP_SECONDS: i64 = 3_600;

/// One cut as AWS compares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutEntry {
    /// `aws:userid` of the grant's sessions: role id and session name.
    pub user_id: String,
    /// Source identity of the grant's sessions, which the role keeps when it is assumed again.
    pub source_identity: String,
    /// The end that the fence holds.
    pub end: EndInstant,
}

impl CutEntry {
    /// The cut on the role with this unique id (`AROA…`).
    pub fn new(role_unique_id: &str, cut: &Cut) -> Self {
        Self {
            user_id: format!("{role_unique_id}:{}", cut.session_name),
            source_identity: cut.request.to_string(),
            end: cut.end,
        }
    }
}

/// Every cut on one shared role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CutsPolicy {
    /// By the instant until which they must stand.
    groups: BTreeMap<Timestamp, Group>,
    /// Statements that are not of our form: somebody added them, and they stay.
    foreign: Vec<Statement>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Group {
    user_ids: BTreeSet<String>,
    source_identities: BTreeSet<String>,
}

/// The two statements of a group: two keys in one condition would both have to match. The first
/// names the sessions themselves, the second also reaches the role assumed again from one of them
/// under another session name, since a source identity cannot be changed on the way.
#[derive(Clone, Copy)]
enum Part {
    UserId,
    SourceIdentity,
}

impl Part {
    const ALL: [Self; 2] = [Self::UserId, Self::SourceIdentity];

    fn letter(self) -> char {
        match self {
            Self::UserId => 'A',
            Self::SourceIdentity => 'B',
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::UserId => "aws:userid",
            Self::SourceIdentity => "aws:SourceIdentity",
        }
    }

    /// The `Sid` tells until when: IAM keeps no tags on a policy, and whoever finds it must know.
    fn statement(self, until: Timestamp, values: &BTreeSet<String>) -> Statement {
        let sid = format!("{SID}{}{}", self.letter(), until.strftime(SID_TIME));
        Statement::deny_everything()
            .when_any("StringEquals", self.key(), values)
            .named(&sid)
    }
}

impl Group {
    fn values(&self, part: Part) -> &BTreeSet<String> {
        match part {
            Part::UserId => &self.user_ids,
            Part::SourceIdentity => &self.source_identities,
        }
    }

    fn values_mut(&mut self, part: Part) -> &mut BTreeSet<String> {
        match part {
            Part::UserId => &mut self.user_ids,
            Part::SourceIdentity => &mut self.source_identities,
        }
    }

    fn is_empty(&self) -> bool {
        self.user_ids.is_empty() && self.source_identities.is_empty()
    }
}

impl CutsPolicy {
    /// Reads the policy; what is not of our form is kept as it is.
    pub fn read(document: &PolicyDocument) -> Self {
        let mut policy = Self::default();
        for statement in document.statements.as_slice() {
            match ours(statement) {
                Some((part, until, values)) => {
                    let group = policy.groups.entry(until).or_default();
                    group.values_mut(part).extend(values);
                }
                None => policy.foreign.push(statement.clone()),
            }
        }
        policy
    }

    /// The policy as it is written; `None` when nothing is left to write.
    pub fn document(&self) -> Option<PolicyDocument> {
        let groups = self.groups.iter().flat_map(|(until, group)| {
            Part::ALL
                .into_iter()
                .map(|part| (part, group.values(part)))
                .filter(|(_, values)| !values.is_empty())
                .map(|(part, values)| part.statement(*until, values))
        });
        let statements: Vec<_> = groups.chain(self.foreign.iter().cloned()).collect();
        (!statements.is_empty()).then(|| PolicyDocument::new(statements))
    }

    /// Characters that AWS counts.
    pub fn size(&self) -> usize {
        self.document()
            .map_or(0, |document| without_space(&document.to_json()))
    }

    /// Whether `entry` is held until its end or longer.
    pub fn holds(&self, entry: &CutEntry) -> bool {
        let until = until(entry.end);
        let mut later = self.groups.range(until..);
        later.any(|(_, group)| {
            group.user_ids.contains(&entry.user_id)
                && group.source_identities.contains(&entry.source_identity)
        })
    }

    /// Adds a cut, when the policy then has at most `room` characters; whether it is held now.
    #[must_use]
    pub fn add(&mut self, entry: &CutEntry, room: usize) -> bool {
        if self.holds(entry) {
            return true;
        }
        let mut with = self.clone();
        // One that moves to a later group needs its old place no more.
        with.groups.retain(|_, group| {
            group.user_ids.remove(&entry.user_id);
            group.source_identities.remove(&entry.source_identity);
            !group.is_empty()
        });
        let group = with.groups.entry(until(entry.end)).or_default();
        group.user_ids.insert(entry.user_id.clone());
        group
            .source_identities
            .insert(entry.source_identity.clone());
        let fits = with.size() <= room;
        if fits {
            *self = with;
        }
        fits
    }

    /// Drops the cuts whose time is over, [`LIFT_MARGIN`] after it.
    pub fn lift(&mut self, now: Timestamp) {
        self.groups.retain(|until, _| !is_over(*until, now));
    }

    /// When the next cut may be dropped; `None` when there is none.
    pub fn lift_at(&self) -> Option<Timestamp> {
        let first = self.groups.keys().next()?;
        Some(first.saturating_add(LIFT_MARGIN).unwrap_or(Timestamp::MAX))
    }

    /// Until when how many grants are cut.
    pub fn groups(&self) -> impl Iterator<Item = (Timestamp, usize)> {
        let count = |g: &Group| g.user_ids.len().max(g.source_identities.len());
        self.groups.iter().map(move |(until, g)| (*until, count(g)))
    }
}

/// Whether cuts that must stand until `until` may be dropped.
pub fn is_over(until: Timestamp, now: Timestamp) -> bool {
    now.duration_since(until) >= LIFT_MARGIN
}

/// The full hour at or after `end`.
fn until(end: EndInstant) -> Timestamp {
    let seconds = end.timestamp().as_second();
    let hour = (seconds + GROUP_SECONDS - 1).div_euclid(GROUP_SECONDS) * GROUP_SECONDS;
    // Only the last hour of the year 9999 has no full hour after it.
    Timestamp::from_second(hour).unwrap_or(Timestamp::MAX)
}

/// Part, time and values of a statement that is ours to the letter.
fn ours(statement: &Statement) -> Option<(Part, Timestamp, BTreeSet<String>)> {
    let rest = statement.sid.as_deref()?.strip_prefix(SID)?;
    let part = Part::ALL
        .into_iter()
        .find(|p| rest.starts_with(p.letter()))?;
    let time = rest.get(1..)?;
    let until = jiff::fmt::strtime::parse(SID_TIME, time)
        .and_then(|parsed| parsed.to_datetime())
        .and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC))
        .ok()?
        .timestamp();
    let condition = statement.condition.get("StringEquals")?.get(part.key())?;
    let values: BTreeSet<String> = condition.as_slice().iter().map(Scalar::to_text).collect();
    let mut written = statement.clone();
    for keys in written.condition.values_mut() {
        for values in keys.values_mut() {
            // One value without its list means the same.
            *values = OneOrMany::Many(values.as_slice().to_vec());
        }
    }
    let mut expected = part.statement(until, &values);
    for keys in expected.condition.values_mut() {
        keys.insert(
            part.key().to_owned(),
            OneOrMany::Many(condition.as_slice().to_vec()),
        );
    }
    (written == expected).then_some((part, until, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{Answer, Call, evaluate};
    use crate::limits::{INLINE_POLICY_CHARS, longest_request};
    use crate::{fixtures, names};
    use hallpass_types::{AccessRequestId, PrincipalId, RequestId};
    use proptest::prelude::*;

    const ROLE_ID: &str = "AROA00000000000000001";

    fn grant(n: u64, person: &str) -> (AccessRequestId, String) {
        let who = PrincipalId::new("https://idp.example", person).unwrap();
        let key = RequestId::parse(&format!("00000000-0000-4000-8000-{n:012x}")).unwrap();
        let id = AccessRequestId::derive(&who, &key);
        let name = names::session_name(&id, &who);
        (id, name)
    }

    fn entry(n: u64, seconds: i64) -> CutEntry {
        let (request, session_name) = grant(n, "alice@example.com");
        let end = Timestamp::from_second(seconds).unwrap().into();
        let cut = Cut {
            request,
            session_name,
            end,
        };
        CutEntry::new(ROLE_ID, &cut)
    }

    fn sessions(of: &CutEntry) -> [Call; 2] {
        let at = fixtures::end().timestamp();
        let call = || Call::new("s3:GetObject", "arn:aws:s3:::a/x", at);
        [
            call().with("aws:userid", &of.user_id),
            call()
                .with("aws:userid", "AROA1:another-session")
                .with("aws:SourceIdentity", &of.source_identity),
        ]
    }

    fn refuses(policy: &CutsPolicy, of: &CutEntry) -> [bool; 2] {
        let role = PolicyDocument::new(vec![Statement::allow_everything()]);
        let cuts = policy.document();
        sessions(of).map(|call| {
            let mut documents = vec![&role];
            documents.extend(cuts.as_ref());
            evaluate(&documents, &call) == Answer::DeniedExplicitly
        })
    }

    fn hour(n: i64) -> i64 {
        1_800_000_000 + n * 3600
    }

    #[test]
    fn more_than_sixty_of_the_longest_names_fit_and_one_too_many_is_refused_alone() {
        let (_, who) = longest_request().unwrap();
        let mut policy = CutsPolicy::default();
        let mut held = 0;
        for n in 0..200 {
            let (request, session_name) = grant(n, who.subject());
            assert_eq!(session_name.len(), 64);
            let end = Timestamp::from_second(hour(1)).unwrap().into();
            let cut = Cut {
                request,
                session_name,
                end,
            };
            let before = policy.clone();
            if policy.add(&CutEntry::new(ROLE_ID, &cut), INLINE_POLICY_CHARS) {
                held += 1;
                assert!(policy.size() <= INLINE_POLICY_CHARS);
            } else {
                assert_eq!(policy, before, "what did not fit changed something");
            }
        }
        assert!(held >= 60, "{held}");
        assert!(held < 200);
    }

    #[test]
    fn cuts_stand_a_margin_longer_than_the_hour_in_which_they_end() {
        let mut policy = CutsPolicy::default();
        for (n, end) in [(1, hour(1) - 1), (2, hour(1)), (3, hour(1) + 1)] {
            assert!(policy.add(&entry(n, end), usize::MAX));
        }
        let at = |s| Timestamp::from_second(s).unwrap();
        assert_eq!(policy.lift_at(), Some(at(hour(1) + 60)));
        policy.lift(at(hour(1) + 59));
        assert_eq!(policy.groups().map(|(_, n)| n).collect::<Vec<_>>(), [2, 1]);
        policy.lift(at(hour(1) + 60));
        assert_eq!(policy.lift_at(), Some(at(hour(2) + 60)));
        assert!(policy.holds(&entry(3, hour(1) + 1)));
        assert!(!policy.holds(&entry(1, hour(1) - 1)));
        policy.lift(at(hour(2) + 60));
        assert_eq!((policy.lift_at(), policy.document()), (None, None));
    }

    #[test]
    fn a_later_end_moves_the_cut_and_an_earlier_one_changes_nothing() {
        let mut policy = CutsPolicy::default();
        assert!(policy.add(&entry(1, hour(1)), usize::MAX));
        assert!(policy.add(&entry(1, hour(3)), usize::MAX));
        assert_eq!(policy.groups().map(|(_, n)| n).collect::<Vec<_>>(), [1]);
        let before = policy.clone();
        assert!(policy.add(&entry(1, hour(2)), 0), "it is held, so it fits");
        assert_eq!(policy, before);
    }

    #[test]
    fn what_somebody_else_wrote_into_the_policy_stays() {
        for foreign in [
            Statement::deny_everything(),
            Statement::deny_everything().named("HallpassCutA20260101T000000Z"),
            Part::UserId
                .statement(Timestamp::UNIX_EPOCH, &BTreeSet::new())
                .named("HallpassCutAnot-a-time"),
            Part::UserId
                .statement(Timestamp::UNIX_EPOCH, &BTreeSet::from(["x".to_owned()]))
                .when("Bool", "aws:SecureTransport", "true"),
        ] {
            let document = PolicyDocument::new(vec![foreign.clone()]);
            let mut policy = CutsPolicy::read(&document);
            policy.lift(Timestamp::MAX);
            assert!(policy.add(&entry(1, hour(1)), usize::MAX));
            let written = policy.document().unwrap();
            assert!(
                written.statements.as_slice().contains(&foreign),
                "{foreign:?}"
            );
            assert_eq!(policy.lift_at().unwrap().as_second(), hour(1) + 60);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_and_cuts_exactly_those_it_holds(
            cuts in prop::collection::vec((0u64..40, 0i64..20_000), 0..30), lifted in 0i64..20_000,
        ) {
            let mut policy = CutsPolicy::default();
            for (n, end) in &cuts {
                prop_assert!(policy.add(&entry(*n, hour(0) + end), usize::MAX));
            }
            let now = Timestamp::from_second(hour(0) + lifted).unwrap();
            policy.lift(now);
            let document = policy.document();
            let again = document.as_ref().map(|d| {
                CutsPolicy::read(&PolicyDocument::parse(&d.to_json()).unwrap())
            });
            prop_assert_eq!(again.unwrap_or_default(), policy.clone());
            for n in 0u64..40 {
                let latest = cuts.iter().filter(|(m, _)| *m == n).map(|(_, end)| *end).max();
                let Some(end) = latest else {
                    prop_assert_eq!(refuses(&policy, &entry(n, 0)), [false, false]);
                    continue;
                };
                let held = policy.holds(&entry(n, hour(0) + end));
                prop_assert_eq!(refuses(&policy, &entry(n, 0)), [held, held]);
                // Nothing is given back before its end.
                prop_assert!(held || now.as_second() >= hour(0) + end + 60);
            }
        }
    }
}
