//! The proxy itself: takes a call, asks the plan, passes it on or does not.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::answers::{self, Answer};
use crate::call::{Call, begun_session};
use crate::late::{Lag, UnderWay, View};
use crate::plan::{Fault, Hold, Plan, Rule, Target};

/// A proxy on loopback, ended when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<State>,
    tasks: [JoinHandle<()>; 2],
}

/// A call that came, in the order of coming.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// What it asked.
    pub call: Call,
    /// The HTTP status by which the emulator answered it; `None` when it was not executed, or not
    /// yet.
    pub executed: Option<u16>,
    /// How long the emulator took, from the call's coming to the answer.
    pub took: Option<Duration>,
    came: Instant,
}

#[derive(Debug)]
struct State {
    upstream: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    plan: Mutex<Plan>,
    lag: Mutex<Option<Lag>>,
    under_way: Mutex<UnderWay>,
    late: mpsc::UnboundedSender<Late>,
    late_failures: Mutex<Vec<String>>,
    away: AtomicBool,
    record: Mutex<Record>,
    sessions: Mutex<HashMap<String, String>>,
    answered: AtomicU64,
}

/// The calls since the last time that they were forgotten; each keeps its number over that.
#[derive(Debug, Default)]
struct Record {
    forgotten: usize,
    calls: Vec<Recorded>,
}

/// A call as it came, to be passed on whole.
#[derive(Debug)]
struct Incomer {
    call: Call,
    parts: Parts,
    body: Bytes,
    number: usize,
}

#[derive(Debug)]
struct Late {
    due: Instant,
    incomer: Incomer,
}

/// The connection breaks.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is cut on purpose")
    }
}

impl std::error::Error for Cut {}

impl FaultProxy {
    /// Starts a proxy to `upstream` on a free port of loopback. At first everything passes.
    ///
    /// # Errors
    /// When loopback has no port.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (late, writes) = mpsc::unbounded_channel();
        let state = Arc::new(State {
            upstream,
            client: Client::builder(TokioExecutor::new()).build_http(),
            plan: Mutex::default(),
            lag: Mutex::default(),
            under_way: Mutex::default(),
            late,
            late_failures: Mutex::default(),
            away: AtomicBool::new(false),
            record: Mutex::default(),
            sessions: Mutex::default(),
            answered: AtomicU64::new(0),
        });
        let tasks = [
            tokio::spawn(accept(listener, Arc::clone(&state))),
            tokio::spawn(take_effect(writes, Arc::clone(&state))),
        ];
        Ok(Self {
            address,
            state,
            tasks,
        })
    }

    /// The URL that AWS clients are pointed at.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a rule to the plan.
    pub fn add(&self, rule: Rule) {
        locked(&self.state.plan).rules.push(rule);
    }

    /// Holds the answer of the call that `target` means after `skip` others.
    #[must_use]
    pub fn hold(&self, target: Target, skip: u32) -> Hold {
        let hold = Hold::new();
        self.add(Rule::new(target, Fault::Hold(hold.clone())).after(skip));
        hold
    }

    /// Drops every rule and the lag, and ends an outage. Late writes still take effect in time.
    pub fn clear(&self) {
        locked(&self.state.plan).rules.clear();
        self.set_lag(None);
        self.set_away(false);
    }

    /// Whether AWS is away: every connection breaks, and AWS forgets nothing.
    pub fn set_away(&self, away: bool) {
        self.state.away.store(away, Ordering::SeqCst);
    }

    /// How late IAM's writes take effect from now on.
    pub fn set_lag(&self, lag: Option<Lag>) {
        *locked(&self.state.lag) = lag;
    }

    /// Every call so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Recorded> {
        locked(&self.state.record).calls.clone()
    }

    /// How many calls of each service and action there were that `target` means.
    #[must_use]
    pub fn counts(&self, target: &Target) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        for seen in &locked(&self.state.record).calls {
            if target.takes(&seen.call) {
                *counts.entry(seen.call.name()).or_default() += 1;
            }
        }
        counts
    }

    /// Forgets the calls so far; counting begins anew.
    pub fn forget(&self) {
        let mut record = locked(&self.state.record);
        record.forgotten += record.calls.len();
        record.calls.clear();
    }

    /// What the emulator said to late writes that it refused, with their names.
    #[must_use]
    pub fn late_failures(&self) -> Vec<String> {
        locked(&self.state.late_failures).clone()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, Arc::clone(&state)))),
            Err(error) => {
                tracing::warn!(%error, "the fault proxy takes no more connections");
                return;
            }
        }
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(move |request| Box::pin(State::handle(Arc::clone(&state), request)));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let served = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    if served.is_err() {
        // Without lingering, closing is a reset.
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

/// Late writes, one after the other, in the order in which they were answered.
async fn take_effect(mut writes: mpsc::UnboundedReceiver<Late>, state: Arc<State>) {
    while let Some(Late { due, incomer }) = writes.recv().await {
        sleep_until(due).await;
        let name = incomer.call.name();
        let failure = match state.execute(incomer).await {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("{name}: HTTP {}", answer.status())),
            Err(Cut) => Some(format!("{name}: no answer")),
        };
        locked(&state.late_failures).extend(failure);
        locked(&state.under_way).settle(Instant::now());
    }
}

impl Record {
    fn executed(&mut self, number: usize, status: u16) {
        let index = number.checked_sub(self.forgotten);
        if let Some(seen) = index.and_then(|index| self.calls.get_mut(index)) {
            seen.executed = Some(status);
            seen.took = Some(seen.came.elapsed());
        }
    }
}

impl State {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, Cut> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        let incomer = self.receive(parts, body);
        if self.away.load(Ordering::SeqCst) {
            return Err(Cut);
        }
        let fault = locked(&self.plan).decide(&incomer.call);
        let call = incomer.call.clone();
        match fault {
            None => self.pass(incomer).await,
            Some(Fault::Throttled) if call.is_query() => Ok(self.refuse(&call, 400, "Throttling")),
            Some(Fault::Throttled) => Ok(self.refuse(&call, 503, "SlowDown")),
            Some(Fault::ServerError) if call.is_query() => {
                Ok(self.refuse(&call, 500, "ServiceFailure"))
            }
            Some(Fault::ServerError) => Ok(self.refuse(&call, 500, "InternalError")),
            Some(Fault::Error { status, code }) => Ok(self.refuse(&call, status, code)),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Reset) => Err(Cut),
            Some(Fault::LoseReply) => {
                self.detached(incomer).await?;
                Err(Cut)
            }
            Some(Fault::Hold(hold)) => {
                let answer = self.detached(incomer).await;
                hold.keep().await;
                answer
            }
        }
    }

    fn receive(&self, parts: Parts, body: Bytes) -> Incomer {
        let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        let authorization = parts.headers.get(AUTHORIZATION);
        let authorization = authorization.and_then(|value| value.to_str().ok());
        let mut call = Call::read(parts.method.as_str(), path, authorization, &body);
        call.session = locked(&self.sessions).get(&call.access_key_id).cloned();
        let mut record = locked(&self.record);
        let number = record.forgotten + record.calls.len();
        record.calls.push(Recorded {
            call: call.clone(),
            executed: None,
            took: None,
            came: Instant::now(),
        });
        Incomer {
            call,
            parts,
            body,
            number,
        }
    }

    fn refuse(&self, call: &Call, status: u16, code: &str) -> Answer {
        answers::error(call, self.number(), status, code)
    }

    fn number(&self) -> u64 {
        self.answered.fetch_add(1, Ordering::Relaxed)
    }

    /// Passes a call on, as late as the lag says.
    async fn pass(self: &Arc<Self>, incomer: Incomer) -> Result<Answer, Cut> {
        if let Some(answer) = self.look(&incomer.call) {
            return Ok(answer);
        }
        let lag = locked(&self.lag).filter(|_| incomer.call.is_iam_write());
        let Some(lag) = lag else {
            return self.execute(incomer).await;
        };
        let (call, due) = (incomer.call.clone(), Instant::now() + lag.by);
        if call.action == "CreateRole" {
            // Its answer holds what only the emulator knows: it is made now, and shows later.
            let answer = self.execute(incomer).await?;
            if answer.status().is_success() {
                locked(&self.under_way).add(due, call, lag.reads);
            }
            return Ok(answer);
        }
        locked(&self.under_way).add(due, call.clone(), lag.reads);
        self.late.send(Late { due, incomer }).map_err(|_| Cut)?;
        Ok(answers::done(&call, self.number()))
    }

    /// What writes that are under way make of a call.
    fn look(&self, call: &Call) -> Option<Answer> {
        let mut under_way = locked(&self.under_way);
        if under_way.is_empty() {
            return None;
        }
        under_way.settle(Instant::now());
        match under_way.view(call) {
            View::AsIs => None,
            View::Unknown => Some(self.refuse(call, 404, "NoSuchEntity")),
            View::Refused => Some(self.refuse(call, 403, "AccessDenied")),
            View::Document(write) => Some(answers::role_policy(write, self.number())),
        }
    }

    /// Executes a call to its end, also when the client leaves meanwhile.
    async fn detached(self: &Arc<Self>, incomer: Incomer) -> Result<Answer, Cut> {
        let state = Arc::clone(self);
        let executed = tokio::spawn(async move { state.execute(incomer).await });
        executed.await.unwrap_or(Err(Cut))
    }

    /// The emulator's own answer.
    async fn execute(&self, incomer: Incomer) -> Result<Answer, Cut> {
        let Incomer {
            call,
            mut parts,
            body,
            number,
        } = incomer;
        let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        let uri = format!("http://{}{path}", self.upstream);
        parts.uri = uri.parse::<Uri>().map_err(|_| Cut)?;
        // The Host header stays: it is signed.
        let request = Request::from_parts(parts, Full::new(body));
        let answer = self.client.request(request).await.map_err(|_| Cut)?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        locked(&self.record).executed(number, parts.status.as_u16());
        if call.action == "AssumeRole"
            && let Some(key) = begun_session(&body)
        {
            let name = call.parameter("RoleSessionName").to_owned();
            locked(&self.sessions).insert(key, name);
        }
        Ok(Answer::from_parts(parts, Full::new(body)))
    }
}

/// Nobody panics while holding one of these.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
