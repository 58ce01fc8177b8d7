//! Everybody's patience: each order is given again with the same key until there is an answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{AccessRequest, EndCause, Verdict};
use hallpass_seal::RecipientKey;
use harness::{Clients, Reading, Session, issue_with, request_of, uuid};
use tonic::{Code, Status};

use crate::run::PATIENCE;
use crate::world::Eyes;

const PAUSE: Duration = Duration::from_millis(200);

/// How a request may end, as [`end_of`] words it.
pub(crate) type Ends = &'static [&'static str];

/// A request of a run, and what is known of it outside.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) who: &'static str,
    pub(crate) entitlement: String,
    pub(crate) ends: Ends,
    /// How many sessions were asked for.
    pub(crate) asked: usize,
}

/// Where a run is played.
pub(crate) struct Stage {
    pub(crate) eyes: Eyes,
    pub(crate) first_id: String,
    first_key: Mutex<Option<String>>,
    deadline: Instant,
    parts: Mutex<Vec<Part>>,
    sessions: Mutex<Vec<(String, Arc<Session>)>>,
}

/// What came of an order.
pub(crate) enum Answer<T> {
    Given(T),
    /// The service will not carry it out, for instance since access is over.
    Refused(Status),
}

impl Stage {
    pub(crate) fn new(eyes: Eyes, first_id: String, key: String, deadline: Instant) -> Self {
        Self {
            eyes,
            first_id,
            first_key: Mutex::new(Some(key)),
            deadline,
            parts: Mutex::default(),
            sessions: Mutex::default(),
        }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn parts(&self) -> Vec<Part> {
        locked(&self.parts).clone()
    }

    /// Asks for access; the first request of a run has the key that was agreed.
    pub(crate) async fn ask(
        &self,
        who: &'static str,
        entitlement: &str,
        seconds: i64,
        ends: Ends,
    ) -> anyhow::Result<AccessRequest> {
        let key = locked(&self.first_key).take().unwrap_or_else(uuid);
        let clients = self.eyes.person(who)?;
        let ask = || clients.create(request_of(entitlement, seconds), &key);
        let request = given("ask", self.persist(ask).await?)?;
        locked(&self.parts).push(Part {
            name: request.name.clone(),
            who,
            entitlement: entitlement.to_owned(),
            ends,
            asked: 0,
        });
        Ok(request)
    }

    pub(crate) async fn decide(
        &self,
        who: &str,
        request: &AccessRequest,
        verdict: Verdict,
    ) -> anyhow::Result<()> {
        let clients = self.eyes.person(who)?;
        // A lost answer must not make a second decision: the key is the same each time.
        let key = uuid();
        let decide = || clients.decide_with(&request.name, verdict, &key);
        given("decide", self.persist(decide).await?)?;
        Ok(())
    }

    /// Waits until access is open or over. Whether it is open.
    pub(crate) async fn opens(&self, request: &AccessRequest) -> anyhow::Result<bool> {
        loop {
            let now = self.look(request).await?;
            match now.state() {
                State::Active => return Ok(true),
                State::Checking | State::AwaitingApproval | State::Provisioning => {}
                _ => return Ok(false),
            }
            self.pause("access to open").await?;
        }
    }

    /// Has a session issued and uses it, unless access is over by then.
    pub(crate) async fn use_it(&self, request: &AccessRequest) -> anyhow::Result<()> {
        let clients = self.owner(request)?;
        let (order, recipient) = (uuid(), RecipientKey::generate());
        let name = &request.name;
        for part in locked(&self.parts).iter_mut().filter(|p| p.name == *name) {
            part.asked += 1;
        }
        let issue = || async {
            let issued = issue_with(clients, name, &order, &recipient).await;
            match issued {
                // An order that was given up at the end is answered so for ever.
                Err(status) if status.code() == Code::Unavailable => {
                    let over = clients.get(name).await.is_ok_and(|now| is_final(&now));
                    Err(if over {
                        Status::failed_precondition("over")
                    } else {
                        status
                    })
                }
                issued => issued,
            }
        };
        if let Answer::Given(session) = self.persist(issue).await? {
            let read = self
                .eyes
                .aws
                .read(&session.secret, bucket(&request.entitlement));
            let read = read.await;
            // Read before asking: what was allowed then must not have been over.
            let still = self.look(request).await?.state() == State::Active;
            if still && read != Reading::Allowed {
                bail!("the session of {name} does not work: {read:?}");
            }
            locked(&self.sessions).push((name.clone(), Arc::new(session)));
        }
        Ok(())
    }

    pub(crate) async fn revoke(&self, request: &AccessRequest) -> anyhow::Result<()> {
        let (clients, key) = (self.eyes.person("dave")?, uuid());
        let revoke = || clients.revoke_with(&request.name, &key);
        self.persist(revoke).await.map(drop)
    }

    pub(crate) async fn withdraw(&self, request: &AccessRequest) -> anyhow::Result<()> {
        let (clients, key) = (self.owner(request)?, uuid());
        let withdraw = || clients.withdraw_with(&request.name, &key);
        self.persist(withdraw).await.map(drop)
    }

    pub(crate) async fn give_back(&self, request: &AccessRequest) -> anyhow::Result<()> {
        let (clients, key) = (self.owner(request)?, uuid());
        let give_back = || clients.give_back_with(&request.name, &key);
        self.persist(give_back).await.map(drop)
    }

    pub(crate) async fn extend(&self, request: &AccessRequest, by: i64) -> anyhow::Result<()> {
        let (clients, key) = (self.owner(request)?, uuid());
        let extend = || clients.extend_with(&request.name, by, &key);
        self.persist(extend).await.map(drop)
    }

    /// Waits until the request is over, and sees whether its sessions are.
    pub(crate) async fn is_over(&self, request: &AccessRequest) -> anyhow::Result<()> {
        self.over(request).await?;
        if let Some(reading) = self.session_reads(request).await
            && reading == Reading::Allowed
        {
            bail!("{} is over, and its session is allowed", request.name);
        }
        Ok(())
    }

    /// Waits until the request is over.
    pub(crate) async fn over(&self, request: &AccessRequest) -> anyhow::Result<AccessRequest> {
        loop {
            let now = self.look(request).await?;
            if is_final(&now) {
                return Ok(now);
            }
            self.pause("the end").await?;
        }
    }

    /// What the emulator says to the request's session, when there is one.
    pub(crate) async fn session_reads(&self, request: &AccessRequest) -> Option<Reading> {
        let session = locked(&self.sessions)
            .iter()
            .find(|(name, _)| *name == request.name)
            .map(|(_, session)| Arc::clone(session));
        let bucket = bucket(&request.entitlement);
        match session {
            Some(session) => Some(self.eyes.aws.read(&session.secret, bucket).await),
            None => None,
        }
    }

    async fn look(&self, request: &AccessRequest) -> anyhow::Result<AccessRequest> {
        let clients = self.owner(request)?;
        let look = || clients.get(&request.name);
        given("look", self.persist(look).await?)
    }

    fn owner(&self, request: &AccessRequest) -> anyhow::Result<&Clients> {
        let who = locked(&self.parts)
            .iter()
            .find(|part| part.name == request.name)
            .map_or("alice", |part| part.who);
        self.eyes.person(who)
    }

    /// Gives an order until there is an answer.
    async fn persist<T, F: Future<Output = Result<T, Status>>>(
        &self,
        order: impl Fn() -> F,
    ) -> anyhow::Result<Answer<T>> {
        persist(self.deadline, order).await
    }

    async fn pause(&self, what: &str) -> anyhow::Result<()> {
        if Instant::now() > self.deadline {
            bail!("waited in vain for {what}");
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

/// Gives an order until there is an answer, at most until `deadline`.
pub(crate) async fn persist<T, F: Future<Output = Result<T, Status>>>(
    deadline: Instant,
    order: impl Fn() -> F,
) -> anyhow::Result<Answer<T>> {
    loop {
        let status = match order().await {
            Ok(answer) => return Ok(Answer::Given(answer)),
            Err(status) => status,
        };
        let passing = [
            Code::Unavailable,
            Code::Unknown,
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::ResourceExhausted,
        ];
        if !passing.contains(&status.code()) {
            return Ok(Answer::Refused(status));
        }
        if Instant::now() > deadline {
            bail!("no answer, at last {status:?}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks for access, with one key until there is an answer.
pub(crate) async fn ask(
    clients: &Clients,
    entitlement: &str,
    seconds: i64,
) -> anyhow::Result<AccessRequest> {
    let key = uuid();
    let ask = || clients.create(request_of(entitlement, seconds), &key);
    given("ask", persist(Instant::now() + PATIENCE, ask).await?)
}

/// Has a session issued, with one key until there is an answer.
pub(crate) async fn session(clients: &Clients, name: &str) -> anyhow::Result<Session> {
    let (order, recipient) = (uuid(), RecipientKey::generate());
    let issue = || issue_with(clients, name, &order, &recipient);
    given("issue", persist(Instant::now() + PATIENCE, issue).await?)
}

pub(crate) fn given<T>(what: &str, answer: Answer<T>) -> anyhow::Result<T> {
    match answer {
        Answer::Given(answer) => Ok(answer),
        Answer::Refused(status) => bail!("{what} is refused: {status:?}"),
    }
}

/// The bucket that the sample pack's entitlements open.
pub(crate) fn bucket(entitlement: &str) -> &'static str {
    match entitlement.contains("prod-") {
        true => "payments-reports",
        false => "sandbox-reports",
    }
}

/// The account of the sample pack's entitlements.
pub(crate) fn account(entitlement: &str) -> &'static str {
    match entitlement.contains("prod-") {
        true => "111122223333",
        false => "444455556666",
    }
}

pub(crate) fn is_final(request: &AccessRequest) -> bool {
    let over = [
        State::Ended,
        State::Denied,
        State::Lapsed,
        State::Withdrawn,
        State::Failed,
    ];
    over.contains(&request.state())
}

/// The state, with the cause where access has ended.
pub(crate) fn end_of(request: &AccessRequest) -> String {
    let bare = |name: &str, prefix: &str| name.trim_start_matches(prefix).to_lowercase();
    let state = bare(request.state().as_str_name(), "STATE_");
    match request.state() {
        State::Ended => {
            let cause: EndCause = request.end_cause();
            format!("{state} {}", bare(cause.as_str_name(), "END_CAUSE_"))
        }
        _ => state,
    }
}

/// Nobody panics while holding one of these.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
