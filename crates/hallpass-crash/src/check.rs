//! What a run left behind: by the request, its history, the calls that were executed, and AWS.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hallpass_aws::cuts::{CutsPolicy, is_over};
use hallpass_aws::policy::PolicyDocument;
use hallpass_proto::v1::AccessRequest;
use harness::workflow_of;
use jiff::Timestamp;

use crate::script::{Answer, Part, account, end_of, is_final, persist};
use crate::totals::Fault;
use crate::world::Eyes;

/// Two sweeps, and what they need.
const TIDIED: Duration = Duration::from_secs(420);
const PAUSE: Duration = Duration::from_millis(500);

/// Looks at every request of a run.
pub(crate) async fn look(eyes: &Eyes, parts: &[Part], deadline: Instant) -> Vec<Fault> {
    let mut faults = Vec::new();
    for part in parts {
        match found(eyes, part, deadline).await {
            Ok(request) => {
                faults.extend(state(&request, part));
                faults.extend(doubles(eyes, &request, part).await);
                faults.extend(leaks(eyes, &request, part).await);
            }
            Err(fault) => faults.push(fault),
        }
    }
    faults
}

async fn found(eyes: &Eyes, part: &Part, deadline: Instant) -> Result<AccessRequest, Fault> {
    let stuck = |error: anyhow::Error| Fault::Stuck(format!("{}: {error:#}", part.name));
    let clients = eyes.person(part.who).map_err(stuck)?;
    let deadline = deadline.max(Instant::now() + Duration::from_secs(20));
    let get = || clients.get(&part.name);
    match persist(deadline, get).await.map_err(stuck)? {
        Answer::Given(request) => Ok(request),
        Answer::Refused(status) => Err(Fault::Lost(format!("{}: {status:?}", part.name))),
    }
}

fn state(request: &AccessRequest, part: &Part) -> Option<Fault> {
    let end = end_of(request);
    let words = || {
        let (name, note) = (&request.name, &request.note);
        format!("{name} is {end}, want {:?} ({note})", part.ends)
    };
    if !is_final(request) {
        return Some(Fault::Stuck(words()));
    }
    (!part.ends.contains(&end.as_str())).then(|| Fault::Wrong(words()))
}

async fn doubles(eyes: &Eyes, request: &AccessRequest, part: &Part) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut doubled = |what: &str, count: usize, most: usize| {
        if count > most {
            faults.push(Fault::Doubled(format!("{}: {count} {what}", request.name)));
        }
    };
    let id = request.name.rsplit('/').next().unwrap_or_default();
    let created = eyes.faults.calls().into_iter().filter(|seen| {
        seen.call.action == "CreateRole" && seen.call.is_about(id) && seen.executed == Some(200)
    });
    doubled("roles", created.count(), 1);
    doubled("sessions", request.issued_credentials.len(), part.asked);
    let serials: BTreeSet<_> = request
        .issued_credentials
        .iter()
        .map(|c| c.serial)
        .collect();
    let again = request.issued_credentials.len() - serials.len();
    doubled("sessions with the serial of another", again, 0);
    let approver = |d: &hallpass_proto::v1::Decision| d.approver.as_ref().map(|a| a.id.clone());
    let approvers: BTreeSet<_> = request.decisions.iter().map(approver).collect();
    doubled("decisions", request.decisions.len(), approvers.len());
    doubled(
        "runs",
        eyes.engine.runs(&workflow_of(&request.name)).await,
        1,
    );
    faults
}

async fn leaks(eyes: &Eyes, request: &AccessRequest, part: &Part) -> Vec<Fault> {
    if !is_final(request) {
        return Vec::new();
    }
    let id = request.name.rsplit('/').next().unwrap_or_default();
    let roles = eyes
        .aws
        .roles(account(&part.entitlement), "hallpass-")
        .await;
    let left = roles.into_iter().filter(|role| role.contains(id));
    left.map(|role| Fault::Leaked(format!("{}: role {role}", request.name)))
        .collect()
}

/// Waits until nothing of any run is left: no deny on a shared role, no role, no open workflow.
pub(crate) async fn nothing_is_left(eyes: &Eyes) -> Vec<Fault> {
    let deadline = Instant::now() + TIDIED;
    loop {
        let left = left(eyes).await;
        if left.is_empty() || Instant::now() > deadline {
            return left.into_iter().map(Fault::Leaked).collect();
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether a policy holds cuts whose time has not come: those of one hour are lifted together.
fn stands_rightly(document: &str) -> bool {
    let Ok(document) = PolicyDocument::parse(document) else {
        return false;
    };
    let now = Timestamp::now();
    let cuts = CutsPolicy::read(&document);
    let mut groups = cuts.groups().peekable();
    groups.peek().is_some() && groups.all(|(until, _)| !is_over(until, now))
}

async fn left(eyes: &Eyes) -> Vec<String> {
    let mut left = Vec::new();
    for entitlement in ["sandbox-", "prod-"] {
        let account = account(entitlement);
        let roles = eyes.aws.roles(account, "hallpass-").await;
        let roles = roles.into_iter().filter(|r| r != "hallpass-provisioner");
        left.extend(roles.map(|role| format!("role {role} in {account}")));
        let policies = eyes.aws.role_policies(account, "ReportsReader").await;
        for policy in policies.into_iter().filter(|p| p != "permissions") {
            let document = eyes
                .aws
                .role_policy(account, "ReportsReader", &policy)
                .await;
            if !document.is_some_and(|document| stands_rightly(&document)) {
                left.push(format!("{policy} on ReportsReader in {account}"));
            }
        }
    }
    let open = eyes.engine.open("hallpass.AccessRequest.v1").await;
    if open > 0 {
        left.push(format!("{open} open workflows"));
    }
    left
}
