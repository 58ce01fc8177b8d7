//! What is told: one request with a role of its own, then two people on one shared role.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::shell::{Ran, Secret, Shell};

/// Long enough to use the access on a busy machine, short enough to wait for.
const FOR: &str = "25s";
const REASON: &str = "INC-4127: the bank asks for the Q3 numbers";
const BUCKET: &str = "payments-reports";
const KEY: &str = "reports/2026-q3.csv";
const SHARED_BUCKET: &str = "sandbox-reports";
/// The emulator's public root of the account: sees what is really there.
const ROOT: &str = "root:111122223333";

const OK: Option<i32> = Some(0);
const DENIED: Option<i32> = Some(2);
const NOT_YET: Option<i32> = Some(6);
/// What `aws-call` exits with when AWS refuses, or has no such thing.
const REFUSED: Option<i32> = Some(10);
const FORBIDDEN: &str = "403 AccessDenied";
const NO_SUCH_ROLE: &str = "404 NoSuchEntity";
const PROMPT_END: Duration = Duration::from_secs(10);

/// Tells it all; fails at the first claim that does not hold.
pub(crate) async fn tell(shell: &mut Shell) -> anyhow::Result<()> {
    println!("\n`hallpass` is the client; `aws-call` makes one real AWS call with botocore.");
    let id = ask(shell).await?;
    let role = format!("hallpass-{id}");
    approve(shell, &id, &role).await?;
    let kept = use_it(shell, &id, &role).await?;
    it_ends(shell, &id, &role, &kept).await?;
    drop(kept);
    the_record(shell, &id).await?;
    one_of_two(shell).await
}

async fn ask(shell: &mut Shell) -> anyhow::Result<String> {
    shell.chapter("Nobody has access until somebody asks, and policy has answered");
    let call = ["aws-call", "--as", "nobody", "list", BUCKET];
    let ran = shell.run(&call).await?;
    shell.claim(
        "without credentials AWS refuses the call",
        is(&ran, REFUSED, FORBIDDEN),
    )?;

    let id = request(shell, "alice", "prod-export", FOR, REASON).await?;
    let request = show(shell, &id).await?;
    let required = &request["approvals"]["required"];
    let needs = (
        &required["owner"],
        &required["security"],
        &required["distinct"],
    );
    shell.claim(
        "policy wants two different people: an owner, and one for security",
        needs == (&1.into(), &1.into(), &2.into()) && state(&request) == "AWAITING_APPROVAL",
    )?;

    let line = [
        "hallpass", "--as", "alice", "exec", &id, "--", "aws-call", "list", BUCKET,
    ];
    let ran = shell.run(&line).await?;
    let issued = show(shell, &id).await?;
    shell.claim(
        "before the approvals there are no credentials, and the command does not run",
        is(&ran, NOT_YET, "") && issued["issuedCredentials"] == Value::Array(Vec::new()),
    )?;
    Ok(id)
}

async fn approve(shell: &mut Shell, id: &str, role: &str) -> anyhow::Result<()> {
    shell.chapter("People approve, and nobody approves themselves");
    let line = [
        "hallpass",
        "--as",
        "alice",
        "approve",
        id,
        "-m",
        "I know what I do",
    ];
    let ran = shell.run(&line).await?;
    let request = show(shell, id).await?;
    shell.claim(
        "alice cannot approve her own request",
        ran.code == DENIED && request["decisions"] == Value::Array(Vec::new()),
    )?;

    let ran = shell.run(&["hallpass", "--as", "bob", "queue"]).await?;
    shell.claim(
        "bob, who owns the reports, sees it in his queue",
        ran.code == OK && ran.stdout.contains(id),
    )?;
    let line = [
        "hallpass",
        "--as",
        "bob",
        "approve",
        id,
        "-m",
        "talked to Alice",
    ];
    let ran = shell.run(&line).await?;
    let request = show(shell, id).await?;
    shell.claim(
        "one approval is not enough",
        ran.code == OK && state(&request) == "AWAITING_APPROVAL",
    )?;
    let ran = shell.run(&["aws-call", "--as", ROOT, "role", role]).await?;
    shell.claim("no role exists yet", is(&ran, REFUSED, NO_SUCH_ROLE))?;

    let line = [
        "hallpass",
        "--as",
        "carol",
        "approve",
        id,
        "-m",
        "within the rules",
    ];
    let approved = shell.run(&line).await?;
    let watched = shell
        .run(&["hallpass", "--as", "alice", "watch", id])
        .await?;
    let request = show(shell, id).await?;
    shell.claim(
        "with carol's approval access is active, and its end is fixed",
        (approved.code, watched.code) == (OK, OK)
            && state(&request) == "ACTIVE"
            && request["endTime"].is_string(),
    )
}

async fn use_it(shell: &mut Shell, id: &str, role: &str) -> anyhow::Result<Secret> {
    shell.chapter("The requester, and nobody else, gets short-lived credentials");
    let line = [
        "hallpass", "--as", "alice", "exec", id, "--", "aws-call", "get", BUCKET, KEY,
    ];
    let ran = shell.run(&line).await?;
    shell.claim(
        "alice reads the report from the bucket",
        ran.code == OK && ran.stdout.starts_with("quarter,revenue\n"),
    )?;
    let kept = shell.keep("alice", id).await?;
    let ran = shell.run_with(&kept, &list(BUCKET)).await?;
    shell.claim("these credentials list the bucket", is(&ran, OK, KEY))?;
    let ran = shell.run_with(&kept, &list(SHARED_BUCKET)).await?;
    shell.claim(
        "they open nothing that was not asked for",
        is(&ran, REFUSED, FORBIDDEN),
    )?;
    let ran = shell.run(&["hallpass", "--as", "bob", "creds", id]).await?;
    shell.claim(
        "bob, who approved, gets no credentials",
        is(&ran, DENIED, ""),
    )?;
    let ran = shell.run(&["aws-call", "--as", ROOT, "role", role]).await?;
    shell.claim(
        "the account has a role of this request's own",
        ran.code == OK && ran.stdout.ends_with(&format!("/{role}")),
    )?;
    Ok(kept)
}

async fn it_ends(shell: &mut Shell, id: &str, role: &str, kept: &Secret) -> anyhow::Result<()> {
    shell.chapter("It ends by itself");
    let promised = show(shell, id).await?["endTime"].clone();
    let line = ["hallpass", "--as", "alice", "watch", id, "--until", "end"];
    let ran = shell.run(&line).await?;
    let request = show(shell, id).await?;
    shell.claim(
        "nobody did anything, and it ended at the instant that was fixed at first",
        ran.code == OK
            && state(&request) == "ENDED"
            && request["endCause"] == "END_CAUSE_EXPIRED"
            && request["endTime"] == promised,
    )?;
    let ran = shell.run_with(kept, &list(BUCKET)).await?;
    shell.claim(
        "the same credentials, the same call: AWS refuses",
        ran.code == REFUSED && ran.stdout.starts_with("403 "),
    )?;
    let ran = shell.run(&["aws-call", "--as", ROOT, "role", role]).await?;
    shell.claim("the role is gone", is(&ran, REFUSED, NO_SUCH_ROLE))?;
    let ran = shell
        .run(&["hallpass", "--as", "alice", "show", id])
        .await?;
    let lag = seconds(&request["lag"])?;
    shell.claim(
        &format!("the end is proved, {lag} s after it: it was read back that the role is gone"),
        ran.code == OK
            && Duration::from_secs_f64(lag) < PROMPT_END
            && request["proof"]["proveTime"].is_string()
            && text(&request["proof"]["readBack"]).ends_with(&format!("{role} is gone"))
            && request["leftovers"] == Value::Array(Vec::new()),
    )
}

async fn the_record(shell: &mut Shell, id: &str) -> anyhow::Result<()> {
    shell.chapter("The workflow's history is the record");
    let line = ["hallpass", "--as", "erin", "timeline", id];
    let ran = shell.run(&line).await?;
    let trail = shell.json(&line).await?;
    let entries = trail["entries"]
        .as_array()
        .context("there are no entries")?;
    let at = |kind: &str| entries.iter().position(|entry| entry["kind"] == kind);
    let by = |person: &str| {
        entries.iter().any(|entry| {
            entry["kind"] == "decision.approve"
                && text(&entry["actor"]).ends_with(&format!("#{person}"))
        })
    };
    shell.claim(
        "erin, an auditor, reads who asked, which policy said yes and who approved",
        ran.code == OK && at("request") == Some(0) && by("bob") && by("carol"),
    )?;
    let order = [
        "provision.ordered",
        "role.made",
        "session.issued",
        "end.proved",
        "closed",
    ];
    let places: Option<Vec<_>> = order.iter().map(|kind| at(kind)).collect();
    shell.claim(
        "everything was ordered in the record before it was done in AWS",
        places.is_some_and(|places| places.is_sorted()),
    )
}

async fn one_of_two(shell: &mut Shell) -> anyhow::Result<()> {
    shell.chapter("On a role that many share, only the one session is cut");
    let (alice, alices) = open_shared(shell, "alice").await?;
    let (_, bobs) = open_shared(shell, "bob").await?;
    let (mine, other) = (
        shell.run_with(&alices, &list(SHARED_BUCKET)).await?,
        shell.run_with(&bobs, &list(SHARED_BUCKET)).await?,
    );
    shell.claim(
        "low risk opens by itself: both read with the same role",
        is(&mine, OK, KEY) && is(&other, OK, KEY),
    )?;
    let line = ["hallpass", "--as", "alice", "return", &alice, "-m", "done"];
    let ran = shell.run(&line).await?;
    let request = show(shell, &alice).await?;
    shell.claim(
        "alice gives hers back, and a call that AWS denied proves it",
        ran.code == OK
            && request["endCause"] == "END_CAUSE_RETURNED"
            && request["proof"]["deniedCode"] == "AccessDenied",
    )?;
    let ran = shell.run_with(&alices, &list(SHARED_BUCKET)).await?;
    shell.claim(
        "her session is refused at once, though it was good for a quarter of an hour",
        is(&ran, REFUSED, FORBIDDEN),
    )?;
    let ran = shell.run_with(&bobs, &list(SHARED_BUCKET)).await?;
    shell.claim("bob's session keeps working", is(&ran, OK, KEY))
}

async fn open_shared(shell: &Shell, who: &str) -> anyhow::Result<(String, Secret)> {
    let id = request(shell, who, "sandbox-reports", "15m", "look at the totals").await?;
    let ran = shell.run(&["hallpass", "--as", who, "watch", &id]).await?;
    ensure!(ran.code == OK, "{id} was not granted");
    let kept = shell.keep(who, &id).await?;
    Ok((id, kept))
}

async fn request(
    shell: &Shell,
    who: &str,
    entitlement: &str,
    duration: &str,
    reason: &str,
) -> anyhow::Result<String> {
    let line = [
        "hallpass",
        "--as",
        who,
        "request",
        entitlement,
        "--for",
        duration,
        "-m",
        reason,
        "--no-wait",
    ];
    let ran = shell.run(&line).await?;
    ensure!(
        [OK, NOT_YET].contains(&ran.code),
        "the request was not taken"
    );
    Ok(ran.stdout)
}

async fn show(shell: &Shell, id: &str) -> anyhow::Result<Value> {
    shell.json(&["hallpass", "--as", "erin", "show", id]).await
}

fn list(bucket: &str) -> [&str; 5] {
    ["aws-call", "--as", "stdin", "list", bucket]
}

fn is(ran: &Ran, code: Option<i32>, stdout: &str) -> bool {
    ran.code == code && ran.stdout == stdout
}

fn state(request: &Value) -> &str {
    let name = text(&request["state"]);
    name.strip_prefix("STATE_").unwrap_or(name)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Protobuf's JSON duration, as in `0.162s`.
fn seconds(value: &Value) -> anyhow::Result<f64> {
    text(value)
        .strip_suffix('s')
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("{value} is not a duration"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_seconds() {
        assert_eq!(seconds(&"0.162s".into()).unwrap(), 0.162);
        assert_eq!(seconds(&"900s".into()).unwrap(), 900.0);
        assert!(seconds(&Value::Null).is_err());
        assert!(seconds(&"1m".into()).is_err());
    }
}
