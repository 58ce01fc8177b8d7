//! Requests that are overdue when the service comes back from SIGKILL.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::future::LocalBoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{AccessRequest, EndCause};
use harness::{Reading, Session};
use jiff::{SignedDuration, Timestamp};

use crate::run::{PATIENCE, Victim};
use crate::script::{ask, bucket, given, persist, session};
use crate::world::{Eyes, World};

/// How many are asked for at once.
const AT_ONCE: usize = 16;
/// How many sessions are looked at all the time.
const WATCHED: usize = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// How many requests.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Requests that are overdue together, half on a shared role, half each on a role of its own.
    #[arg(long, default_value_t = 1_000)]
    pub count: usize,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Requests that have ended.
    pub ended: usize,
    /// Calls with their sessions between the last end and the last proof that AWS accepted.
    pub accepted_meanwhile: usize,
    /// Created roles that are left.
    pub roles_left: usize,
    /// From the start of the service to the last proof.
    pub took: Duration,
    /// Which share of pairs of requests was proved in the order of their ends, from 0 to 1.
    pub in_order: f64,
}

/// Runs and prints; whether all ended, none was usable, and the oldest came first.
///
/// # Errors
/// When the requests could not be made, or were never ended.
pub fn run(options: &Options) -> LocalBoxFuture<'_, anyhow::Result<bool>> {
    show(options).boxed_local()
}

async fn show(options: &Options) -> anyhow::Result<bool> {
    let tally = count(options).await?;
    let rate = f64::from(u32::try_from(tally.ended)?) / tally.took.as_secs_f64();
    println!(
        "overdue {}  ended {}  accepted meanwhile {}  roles left {}  oldest first {:.0} % of pairs",
        options.count,
        tally.ended,
        tally.accepted_meanwhile,
        tally.roles_left,
        tally.in_order * 100.0
    );
    println!(
        "all ended {:.1} s after the start: {rate:.1} a second",
        tally.took.as_secs_f64()
    );
    Ok(tally.ended == options.count
        && tally.accepted_meanwhile == 0
        && tally.roles_left == 0
        && tally.in_order > 0.8)
}

/// Makes requests, kills the service, lets all become overdue, starts it and waits for the proofs.
///
/// # Errors
/// When the requests could not be made, or were never ended.
pub fn count(options: &Options) -> LocalBoxFuture<'_, anyhow::Result<Tally>> {
    measure(options).boxed_local()
}

async fn measure(options: &Options) -> anyhow::Result<Tally> {
    let mut world = World::start(3600).await;
    let eyes = world.eyes().await;
    let (requests, sessions) = open(&eyes, options.count).await?;
    for victim in [Victim::Api, Victim::Workers] {
        world.kill(victim).await?;
    }
    let ends = requests
        .iter()
        .map(end_of)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let (first, last) = ends
        .iter()
        .fold((Timestamp::MAX, Timestamp::MIN), |(a, b), end| {
            (a.min(*end), b.max(*end))
        });
    ensure!(
        Timestamp::now() < first,
        "the machine is too slow: the first end came before the kill"
    );
    println!(
        "{} requests, killed; the last end is at {last}",
        requests.len()
    );
    while Timestamp::now() < last {
        let left = last.duration_since(Timestamp::now());
        tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
    }
    let started = Timestamp::now();
    world.ensure_up().await;
    let mut accepted_meanwhile = 0;
    let ended = loop {
        for (request, session) in requests.iter().zip(&sessions) {
            let read = eyes.aws.read(&session.secret, bucket(&request.entitlement));
            accepted_meanwhile += usize::from(read.await == Reading::Allowed);
        }
        let ended = ended(&eyes, &requests).await?;
        if ended.len() == requests.len() {
            break ended;
        }
        let waited = Timestamp::now().duration_since(started);
        let patience = SignedDuration::from_secs(120 + i64::try_from(options.count)?);
        ensure!(
            waited < patience,
            "only {} have ended after {waited}",
            ended.len()
        );
        tokio::time::sleep(PAUSE).await;
    };
    let proofs = ended
        .iter()
        .map(proved_at)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let last_proof = proofs.iter().max().copied().unwrap_or(started);
    let roles = eyes.aws.roles("444455556666", "hallpass-").await;
    Ok(Tally {
        ended: ended
            .iter()
            .filter(|r| r.end_cause() == EndCause::Expired)
            .count(),
        accepted_meanwhile,
        roles_left: roles
            .iter()
            .filter(|r| *r != "hallpass-provisioner")
            .count(),
        took: Duration::try_from(last_proof.duration_since(started)).unwrap_or_default(),
        in_order: in_order(&ends, &proofs),
    })
}

/// Active requests, and sessions of the first ones.
async fn open(eyes: &Eyes, count: usize) -> anyhow::Result<(Vec<AccessRequest>, Vec<Session>)> {
    let alice = eyes.person("alice")?;
    // As long as it takes to ask for them all, on a slow machine.
    let seconds = 30 + i64::try_from(count / 4)?;
    let open = |n: usize| async move {
        let entitlement = ["sandbox-reports", "sandbox-scratch"][n % 2];
        let asked = ask(alice, entitlement, seconds).await?;
        anyhow::Ok(alice.watch_until(&asked.name, State::Active).await)
    };
    let asked = futures::stream::iter(0..count).map(open).buffered(AT_ONCE);
    let requests: Vec<AccessRequest> = asked.try_collect().await?;
    let mut sessions = Vec::new();
    for request in requests.iter().take(WATCHED) {
        let session = session(alice, &request.name).await?;
        let read = eyes
            .aws
            .read(&session.secret, bucket(&request.entitlement))
            .await;
        ensure!(
            read == Reading::Allowed,
            "a session does not work before its end: {read:?}"
        );
        sessions.push(session);
    }
    Ok((requests, sessions))
}

/// Those that have ended, in the order in which they were asked for, when all have.
async fn ended(eyes: &Eyes, requests: &[AccessRequest]) -> anyhow::Result<Vec<AccessRequest>> {
    let alice = eyes.person("alice")?;
    let mut ended = Vec::new();
    // The newest first: it is the last to end, and spares the other questions until then.
    for request in requests.iter().rev() {
        let deadline = Instant::now() + PATIENCE;
        let now = persist(deadline, || alice.get(&request.name)).await?;
        let now = given("look", now)?;
        if now.state() != State::Ended {
            break;
        }
        ended.push(now);
    }
    ended.reverse();
    Ok(ended)
}

fn end_of(request: &AccessRequest) -> anyhow::Result<Timestamp> {
    let end = request.end_time.context("an active request has an end")?;
    Ok(Timestamp::new(end.seconds, end.nanos)?)
}

fn proved_at(request: &AccessRequest) -> anyhow::Result<Timestamp> {
    let proof = request.proof.as_ref().and_then(|proof| proof.prove_time);
    let proof = proof.context("an ended request has a proof")?;
    Ok(Timestamp::new(proof.seconds, proof.nanos)?)
}

/// The share of pairs with different ends that were proved in the order of these.
fn in_order(ends: &[Timestamp], proofs: &[Timestamp]) -> f64 {
    let both: Vec<_> = ends.iter().zip(proofs).collect();
    let (mut right, mut pairs) = (0_u32, 0_u32);
    for (index, (end, proof)) in both.iter().enumerate() {
        for (other_end, other_proof) in &both[index + 1..] {
            if end != other_end {
                pairs += 1;
                right += u32::from((end < other_end) == (proof < other_proof));
            }
        }
    }
    match pairs {
        0 => 1.0,
        _ => f64::from(right) / f64::from(pairs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_a_share_of_pairs() {
        let at = |s: &[i64]| -> Vec<Timestamp> {
            s.iter()
                .map(|s| Timestamp::from_second(*s).unwrap())
                .collect()
        };
        assert_eq!(in_order(&at(&[1, 2, 3]), &at(&[7, 8, 9])), 1.0);
        assert_eq!(in_order(&at(&[1, 2, 3]), &at(&[9, 8, 7])), 0.0);
        assert_eq!(in_order(&at(&[1, 2, 3]), &at(&[8, 7, 9])), 2.0 / 3.0);
        assert_eq!(in_order(&at(&[1, 1]), &at(&[9, 8])), 1.0, "ends together");
    }
}
