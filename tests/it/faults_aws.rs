//! Whatever goes wrong at whichever call to AWS: access ends, nothing is left, nothing is doubled.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::collections::BTreeMap;

use futures::StreamExt as _;
use hallpass_faults::{Fault, Recorded, Rule, Target};
use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{AccessRequest, EndCause};
use hallpass_seal::RecipientKey;
use harness::{Clients, Private, Reading, Session, issue_with, request_of, until, uuid};
use tonic::{Code, Status};

const SANDBOX: &str = "444455556666";
const BUCKET: &str = "sandbox-reports";

/// What happens to a call, by name.
const FAULTS: [(&str, Fault); 8] = [
    ("throttled", Fault::Throttled),
    ("server error", Fault::ServerError),
    ("busy", error(503, "ServiceUnavailable")),
    ("conflict", error(409, "ConcurrentModification")),
    ("expired", error(403, "ExpiredToken")),
    ("hang", Fault::Hang),
    ("reset", Fault::Reset),
    ("reply lost", Fault::LoseReply),
];

const fn error(status: u16, code: &'static str) -> Fault {
    Fault::Error { status, code }
}

/// How a grant goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Revoked,
    Expired,
    /// And revoked.
    Extended,
}

/// A call of a clean run: the `skip + 1`th of that name, counted for one request or for all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Position {
    name: String,
    skip: u32,
    alone: bool,
}

impl Position {
    fn target(&self, id: &str) -> Target {
        match self.alone {
            true => Target::action(&self.name).about(id),
            false => Target::action(&self.name),
        }
    }
}

/// A service beside which nothing else runs.
struct World {
    private: Private,
    _service: harness::Service,
    alice: Clients,
    dave: Clients,
}

impl World {
    async fn new() -> Self {
        let private = Private::start().await;
        let service = private.serve("all").await;
        private.engine().no_more_sweeps().await;
        let (alice, dave) = (private.client("alice").await, private.client("dave").await);
        let world = Self {
            private,
            _service: service,
            alice,
            dave,
        };
        // The service's own sessions begin once, and not in anybody's run.
        world.live("sandbox-scratch", Life::Revoked, &uuid()).await;
        world
    }

    /// The calls of a life in which nothing goes wrong.
    async fn positions(&self, entitlement: &str, life: Life) -> Vec<Position> {
        let key = uuid();
        let id = self.private.request_id("alice", &key).to_string();
        self.private.faults.forget();
        let given = self.live(entitlement, life, &key).await;
        let calls = self.private.faults.calls();
        let mut positions = positions(&calls, &id);
        if life == Life::Expired {
            // A call that fails while access is given is every other life's affair.
            positions.drain(..given);
        }
        positions
    }

    /// A whole life; everybody asks again with the same key until there is an answer. Returns how
    /// many calls had been made when there was a session.
    async fn live(&self, entitlement: &str, life: Life, key: &str) -> usize {
        let seconds = match life {
            Life::Revoked | Life::Extended => 45,
            Life::Expired => 25,
        };
        let made = answered(|| self.alice.create(request_of(entitlement, seconds), key)).await;
        let name = &made.name;
        let active = self.alice.watch_until(name, State::Active).await;
        let (order, recipient) = (uuid(), RecipientKey::generate());
        let session = answered(|| issue_with(&self.alice, name, &order, &recipient)).await;
        let end = active.end_time.unwrap().seconds;
        let read = self.private.aws().read(&session.secret, BUCKET).await;
        // A busy machine may have come too late, and only then.
        let late = jiff::Timestamp::now().as_second() >= end;
        assert!(read == Reading::Allowed || late, "{read:?}");
        let given = self.private.faults.calls().len();
        if life == Life::Extended {
            let order = uuid();
            let later = answered(|| self.alice.extend_with(name, 60, &order)).await;
            assert_eq!(later.end_time.unwrap().seconds, end + 60);
        }
        if life == Life::Expired {
            // Only what comes after the end counts against patience.
            until("the end has come", || async {
                (jiff::Timestamp::now().as_second() >= end).then_some(())
            })
            .await;
        } else {
            let order = uuid();
            answered(|| self.dave.revoke_with(name, &order)).await;
        }
        let ended = self.alice.watch_until(name, State::Ended).await;
        self.is_over(&ended, life, &session).await;
        given
    }

    async fn is_over(&self, ended: &AccessRequest, life: Life, session: &Session) {
        let aws = self.private.aws();
        let read = aws.read(&session.secret, BUCKET).await;
        assert!(matches!(read, Reading::Refused(_)), "{read:?} {ended:?}");
        let cause = match life {
            Life::Expired => EndCause::Expired,
            Life::Revoked | Life::Extended => EndCause::Revoked,
        };
        assert_eq!(ended.end_cause(), cause);
        assert!(
            ended.proof.is_some() && ended.leftovers.is_empty(),
            "{ended:?}"
        );
        let [credential] = ended.issued_credentials.as_slice() else {
            panic!("one session was issued: {ended:?}");
        };
        assert_eq!(Some(credential), session.sealed.credential.as_ref());
        let id = ended.name.rsplit('/').next().unwrap();
        let made = self.private.faults.calls().into_iter().filter(|seen| {
            seen.call.action == "CreateRole" && seen.call.is_about(id) && seen.executed == Some(200)
        });
        let created = ended.role_arn.contains(id);
        assert_eq!(made.count(), usize::from(created), "{}", ended.role_arn);
        if created {
            let role = ended.role_arn.rsplit('/').next().unwrap();
            assert!(!aws.role_exists(SANDBOX, role).await, "{role} is left");
        }
    }

    /// Lives once with each fault at each call.
    async fn suffer(&self, entitlement: &str, life: Life) {
        let positions = self.positions(entitlement, life).await;
        assert!(positions.len() >= 2, "{positions:?}");
        let (alone, together): (Vec<_>, Vec<_>) = cases(&positions)
            .into_iter()
            .partition(|(position, _)| !position.alone);
        println!(
            "{entitlement} {life:?}: {} + {} runs",
            alone.len(),
            together.len()
        );
        for case in alone {
            self.once(entitlement, life, &case).await;
        }
        futures::stream::iter(&together)
            .for_each_concurrent(12, |case| self.once(entitlement, life, case))
            .await;
    }

    async fn once(&self, entitlement: &str, life: Life, case: &(Position, usize)) {
        let (position, fault) = case;
        let (what, fault) = FAULTS[*fault].clone();
        let key = uuid();
        let id = self.private.request_id("alice", &key).to_string();
        println!(
            "{entitlement} {life:?}: {what} at {} {}",
            position.name,
            position.skip + 1
        );
        let rule = Rule::new(position.target(&id), fault).after(position.skip);
        self.private.faults.add(rule);
        let before = self.private.faults.counts(&position.target(&id));
        self.live(entitlement, life, &key).await;
        let after = self.private.faults.counts(&position.target(&id));
        let grown = |counts: &BTreeMap<_, u32>| counts.get(&position.name).copied();
        let met = grown(&after) > grown(&before).or(Some(position.skip));
        // Grants that end together on a shared role share a canary, which may be another one's.
        let shared = life == Life::Expired && entitlement == "sandbox-reports";
        assert!(met || shared, "{what} was not met");
    }

    /// Nothing of ours is left but what was there before anybody asked.
    async fn is_clean(&self) {
        let aws = self.private.aws();
        let roles = aws.roles(SANDBOX, "hallpass-").await;
        assert_eq!(roles, ["hallpass-provisioner"]);
        // Cuts stand in one policy, until the hour after their end.
        let mut left = aws.role_policies(SANDBOX, "ReportsReader").await;
        left.retain(|policy| policy != "hallpass-cuts");
        assert_eq!(left, ["permissions"]);
    }
}

/// Every fault at every call. What a probe answers is not faked: a refusal would be its evidence.
fn cases(positions: &[Position]) -> Vec<(Position, usize)> {
    let mut cases = Vec::new();
    for position in positions {
        for (index, (_, fault)) in FAULTS.iter().enumerate() {
            let refusal = matches!(fault, Fault::Error { status: 403, .. });
            if !(refusal && position.name.starts_with("s3:")) {
                cases.push((position.clone(), index));
            }
        }
    }
    cases
}

fn positions(calls: &[Recorded], id: &str) -> Vec<Position> {
    let mut positions = Vec::new();
    for (index, seen) in calls.iter().enumerate() {
        let alone = seen.call.is_about(id);
        let earlier = calls[..index].iter().filter(|before| {
            before.call.name() == seen.call.name() && (!alone || before.call.is_about(id))
        });
        positions.push(Position {
            name: seen.call.name(),
            skip: u32::try_from(earlier.count()).unwrap(),
            alone,
        });
    }
    positions
}

/// Asks until there is an answer, as a client does that retries.
async fn answered<T, F: Future<Output = Result<T, Status>>>(ask: impl Fn() -> F) -> T {
    until("an answer", || async {
        match ask().await {
            Ok(answer) => Some(answer),
            Err(status) => match status.code() {
                Code::Unavailable | Code::DeadlineExceeded | Code::Aborted => None,
                _ => panic!("{status:?}"),
            },
        }
    })
    .await
}

#[tokio::test]
async fn a_created_role_survives_any_fault_at_any_call_and_is_gone_in_the_end() {
    let world = World::new().await;
    world.suffer("sandbox-scratch", Life::Extended).await;
    world.is_clean().await;
}

#[tokio::test]
async fn a_created_role_expires_under_any_fault_at_any_call() {
    let world = World::new().await;
    world.suffer("sandbox-scratch", Life::Expired).await;
    world.is_clean().await;
}

#[tokio::test]
async fn a_shared_role_is_cut_under_any_fault_at_any_call() {
    let world = World::new().await;
    world.suffer("sandbox-reports", Life::Revoked).await;
    world.is_clean().await;
}

#[tokio::test]
async fn a_session_of_a_shared_role_expires_under_any_fault_at_any_call() {
    let world = World::new().await;
    world.suffer("sandbox-reports", Life::Expired).await;
    world.is_clean().await;
}

#[tokio::test]
async fn the_services_own_sessions_may_fail_to_begin() {
    let private = Private::start().await;
    for (what, fault) in FAULTS {
        private.faults.forget();
        let own = Target::action("sts:AssumeRole").about("role/hallpass-provisioner");
        private.faults.add(Rule::new(own.clone(), fault).times(2));
        let service = private.serve("all").await;
        let alice = private.client("alice").await;
        let asked = answered(|| alice.ask("sandbox-scratch", 60)).await;
        let active = alice.watch_until(&asked.name, State::Active).await;
        let begun = private.faults.counts(&own)["sts:AssumeRole"];
        assert!(begun >= 3, "{what}: {begun}");
        let order = uuid();
        answered(|| alice.give_back_with(&active.name, &order)).await;
        alice.watch_until(&active.name, State::Ended).await;
        service.kill_hard().await;
    }
}
