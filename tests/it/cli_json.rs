//! `--output json`: every command, one object on stdout, and errors as one object on stderr.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::collections::BTreeSet;

use harness::{Cli, Ran, Shared};
use serde_json::Value;

use crate::cli::golden;

/// What the child of `exec` prints is its own, completions are a shell's, and pages are `man`'s.
const NOT_JSON: [&str; 5] = ["policy", "exec", "completions", "man", "help"];

/// Runs one command for JSON, and notes that it was.
async fn json(cli: &Cli, seen: &mut BTreeSet<String>, arguments: &[&str]) -> Ran {
    seen.insert(arguments[0].to_owned());
    cli.run(&[arguments, &["--output", "json"]].concat()).await
}

fn kept(name: &str, object: &Value) {
    golden(name, &serde_json::to_string_pretty(object).unwrap());
}

/// Each line is an object; the last one.
fn last_line(ran: &Ran) -> Value {
    assert_eq!(ran.stderr, "", "{ran:?}");
    let lines = ran.stdout.lines();
    let objects: Vec<Value> = lines.map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(objects.iter().all(Value::is_object), "{ran:?}");
    objects.into_iter().next_back().expect("a line")
}

fn id_of(object: &Value) -> String {
    let name = object["name"].as_str().unwrap();
    name.strip_prefix("accessRequests/").unwrap().to_owned()
}

/// The request of that id in a list.
fn listed(list: &Value, id: &str) -> Value {
    let requests = list["accessRequests"].as_array().unwrap();
    let found = requests.iter().find(|r| id_of(r) == id);
    found
        .unwrap_or_else(|| panic!("{id} is not in {list}"))
        .clone()
}

#[tokio::test]
async fn every_command_prints_one_object() {
    let world = Shared::get().await;
    let (alice, bob) = (Cli::of(world, "alice"), Cli::of(world, "bob"));
    let seen = &mut BTreeSet::new();
    kept("whoami.json", &json(&alice, seen, &["whoami"]).await.json());
    kept("login.json", &json(&bob, seen, &["login"]).await.json());
    kept("logout.json", &json(&bob, seen, &["logout"]).await.json());
    let what = json(&alice, seen, &["entitlements"]).await.json();
    kept("entitlements.json", &what);

    let ask = [
        "request",
        "prod-reports",
        "--new",
        "--for",
        "5m",
        "-m",
        "look",
    ];
    let dry = json(&alice, seen, &[&ask[..], &["--dry-run"]].concat()).await;
    assert_eq!(dry.json()["plan"], "WILL_ASK");
    let asked = json(&alice, seen, &ask).await.json();
    kept("request.json", &asked);
    let id = id_of(&asked);
    let queue = json(&bob, seen, &["queue"]).await.json();
    assert_eq!(listed(&queue, &id)["state"], "STATE_AWAITING_APPROVAL");
    let approved = json(&bob, seen, &["approve", &id, "-m", "seen"])
        .await
        .json();
    assert_eq!(approved["state"], "STATE_ACTIVE");
    kept("approve.json", &approved);
    let watched = last_line(&json(&alice, seen, &["watch", &id]).await);
    assert_eq!(watched["state"], "STATE_ACTIVE");
    let list = json(&alice, seen, &["ls", "--active"]).await.json();
    assert_eq!(listed(&list, &id)["state"], "STATE_ACTIVE");

    let creds = json(&alice, seen, &["creds", &id]).await.json();
    assert_eq!(creds["accessRequest"], asked["name"]);
    for key in [
        "accessKeyId",
        "secretAccessKey",
        "sessionToken",
        "expiration",
    ] {
        assert!(creds[key].as_str().is_some_and(|v| v.len() > 8), "{key}");
    }
    let process = alice.run(&["creds", &id]).await.json();
    assert_eq!(process["Version"], 1);
    let env = json(&alice, seen, &["env", &id]).await;
    assert_eq!(env.code, 64);
    kept("env_error.json", &env.json_error());

    let shown = json(&alice, seen, &["show", &id]).await.json();
    assert_eq!(shown["issuedCredentials"].as_array().unwrap().len(), 2);
    let checked = json(&alice, seen, &["check", &id]).await.json();
    assert_eq!(checked["name"], asked["name"]);
    let left = json(&alice, seen, &["time", &id]).await.json();
    assert_eq!(left["endTime"], shown["endTime"]);
    kept(
        "time.json",
        &serde_json::json!(left.as_object().unwrap().keys().collect::<Vec<_>>()),
    );
    let given = json(&alice, seen, &["credential-process", &id])
        .await
        .json();
    assert_eq!(given["Version"], 1);
    let configured = json(&alice, seen, &["configure", "sandbox-reports"])
        .await
        .json();
    kept("configure.json", &configured["profiles"]);
    let nowhere = "http://127.0.0.1:1/federation";
    let console = ["console", &id, "--signin-endpoint", nowhere];
    let console = json(&alice, seen, &console).await;
    assert_eq!(console.json_error()["code"], "CLIENT_ERROR");
    let more = ["extend", &id, "--by", "5m", "-m", "more"];
    let extended = json(&alice, seen, &more).await.json();
    assert!(extended["endTime"].as_str() > shown["endTime"].as_str());
    let revoked = last_line(&json(&bob, seen, &["revoke", &id, "-m", "enough"]).await);
    assert_eq!(revoked["endCause"], "END_CAUSE_REVOKED");
    assert_eq!(revoked["proof"]["deniedCode"], "AccessDenied");
    let trail = json(&alice, seen, &["timeline", &id]).await.json();
    assert!(
        trail["entries"].as_array().is_some_and(|e| e.len() > 8),
        "{trail}"
    );
    assert_eq!(trail["historyDigest"].as_str().unwrap().len(), 64);

    let denied = id_of(&json(&alice, seen, &ask).await.json());
    let denied = json(&bob, seen, &["deny", &denied, "-m", "no"])
        .await
        .json();
    assert_eq!(denied["state"], "STATE_DENIED");
    let withdrawn = id_of(&json(&alice, seen, &ask).await.json());
    let withdrawn = json(&alice, seen, &["withdraw", &withdrawn]).await.json();
    assert_eq!(withdrawn["state"], "STATE_WITHDRAWN");
    let own = [
        "request",
        "sandbox-reports",
        "--new",
        "--for",
        "5m",
        "-m",
        "look",
    ];
    let own = id_of(&json(&alice, seen, &own).await.json());
    let returned = last_line(&json(&alice, seen, &["return", &own, "-m", "done"]).await);
    assert_eq!(returned["endCause"], "END_CAUSE_RETURNED");
    kept("return.json", &returned["proof"]);

    let frank = Cli::of(world, "frank");
    let glass = "request prod-reports --break-glass --for 5m --ticket INC-7 -m look";
    let glass: Vec<_> = glass.split(' ').collect();
    let opened = id_of(&json(&frank, seen, &glass).await.json());
    json(&frank, seen, &["return", &opened]).await;
    let review = ["review", &opened, "-m", "rightly so"];
    let reviewed = json(&Cli::of(world, "dave"), seen, &review).await.json();
    assert_eq!(reviewed["review"]["reason"], "rightly so");

    let erin = Cli::of(world, "erin");
    let trail = json(&erin, seen, &["audit", "show", &id]).await.json();
    assert_eq!(trail["historyDigest"].as_str().unwrap().len(), 64);

    let dave = Cli::of(world, "dave");
    let review = json(&Cli::of(world, "erin"), seen, &["audit", "review"]).await;
    assert!(review.json()["grants"].as_u64().unwrap() >= 1, "{review:?}");
    let sweep = json(&dave, seen, &["admin", "sweep", "--dry-run"]).await;
    assert!(sweep.json().is_object(), "{sweep:?}");

    seen.extend(NOT_JSON.map(str::to_owned));
    assert_eq!(*seen, commands(&alice).await);
}

/// The commands as the help lists them.
async fn commands(cli: &Cli) -> BTreeSet<String> {
    let help = cli.run(&["-h"]).await;
    let all = help.expect(0).split_once("Commands:\n").unwrap().1;
    all.lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn every_command_reports_its_error_as_one_object() {
    let world = Shared::get().await;
    let stranger = Cli::stranger(world);
    let unknown = "ar-0123456789abcdefghjkmnpqrs";
    let alice = Cli::of(world, "alice");
    // These two have nothing that could fail without a server.
    let seen = &mut BTreeSet::from(["logout", "time"].map(str::to_owned));
    for command in [
        &["whoami"][..],
        &["entitlements"],
        &[
            "request",
            "prod-reports",
            "--new",
            "--for",
            "5m",
            "-m",
            "look",
        ],
        &["ls"],
        &["queue"],
        &["show", unknown],
        &["watch", unknown],
        &["approve", unknown],
        &["deny", unknown, "-m", "no"],
        &["creds", unknown],
        &["env", unknown, "--shell", "bash"],
        &["check", unknown],
        &["credential-process", unknown],
        &["configure", "sandbox-reports"],
        &["console", unknown],
        &["exec", unknown, "--", "true"],
        &["extend", unknown, "--by", "5m", "-m", "more"],
        &["withdraw", unknown],
        &["return", unknown],
        &["review", unknown, "-m", "seen"],
        &["revoke", unknown, "-m", "enough"],
        &["timeline", unknown],
        &["audit", "show", unknown],
        &["audit", "review"],
        &["admin", "sweep", "--dry-run"],
    ] {
        seen.insert(command[0].to_owned());
        let mut arguments = command.to_vec();
        arguments.insert(1, "--output=json");
        let ran = stranger.run(&arguments).await;
        assert_eq!(ran.code, 5, "{ran:?}");
        assert_eq!(ran.json_error()["code"], "CLIENT_NOT_LOGGED_IN");
        if command.contains(&unknown) {
            let ran = alice.run(&arguments).await;
            assert_eq!(ran.code, 1, "{command:?} {ran:?}");
            let error = ran.json_error();
            assert_eq!(error["code"], "NOT_FOUND", "{command:?}");
            assert_eq!(error["resource"], format!("accessRequests/{unknown}"));
        }
        let mut misspelt = arguments.clone();
        misspelt.insert(1, "--no-such-option");
        let ran = stranger.run(&misspelt).await;
        assert_eq!(ran.code, 64, "{ran:?}");
        assert_eq!(ran.json_error()["code"], "CLIENT_USAGE");
    }
    let login = json(&stranger, seen, &["login"]).await;
    assert_eq!(login.code, 64, "{login:?}");
    kept("login_error.json", &login.json_error());
    seen.extend(["completions", "man", "policy", "help"].map(str::to_owned));
    assert_eq!(*seen, commands(&alice).await);
}

#[tokio::test]
async fn a_refusal_keeps_its_details_for_programs() {
    let world = Shared::get().await;
    let alice = Cli::of(world, "alice").with("HALLPASS_OUTPUT", "json");
    let long = [
        "request",
        "prod-reports",
        "--new",
        "--for",
        "5h",
        "-m",
        "look",
    ];
    kept("too_long.json", &alice.run(&long).await.json_error());
    let ask = [
        "request",
        "prod-reports",
        "--new",
        "--for",
        "5m",
        "-m",
        "look",
    ];
    let id = id_of(&alice.run(&ask).await.json());
    let own = alice.run(&["approve", &id]).await;
    assert_eq!(own.code, 2);
    kept("approve_own.json", &own.json_error());
    let early = alice.run(&["creds", &id]).await;
    assert_eq!(early.code, 6);
    kept("creds_too_early.json", &early.json_error());
    alice.run(&["withdraw", &id]).await.expect(0);
    let erin = Cli::of(world, "erin").with("HALLPASS_OUTPUT", "json");
    let denied = erin.run(&ask).await;
    assert_eq!(denied.code, 2);
    let denied = denied.json();
    assert_eq!(denied["plan"], "WILL_BE_DENIED");
    kept(
        "request_denied.json",
        &denied["accessRequest"]["policyAnswers"],
    );
    let stuck = alice.run(&["--server", "http://127.0.0.1:1", "ls"]).await;
    assert_eq!(stuck.json_error()["code"], "CLIENT_UNREACHABLE");
}
