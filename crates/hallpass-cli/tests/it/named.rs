//! Access by the name of its entitlement, told apart by values; and hints that can be typed.

use std::collections::HashMap;
use std::sync::Arc;

use hallpass_proto::v1;
use hallpass_proto::v1::access_request::State;
use tonic::Status;

use crate::fake::{ID, World, at, request};
use crate::run::{Ran, User};

const OTHER: &str = "ar-1123456789abcdefghjkmnpqrs";

/// Active access with this value.
fn with(id: &str, prefix: &str) -> v1::AccessRequest {
    v1::AccessRequest {
        name: format!("accessRequests/{id}"),
        end_time: Some(at(600)),
        parameters: HashMap::from([("prefix".to_owned(), prefix.to_owned())]),
        ..request(State::Active, 1)
    }
}

/// Two that differ by a value.
fn two() -> Arc<World> {
    let world = World::new(State::Active);
    world.request.send_replace(with(ID, "orders"));
    *world.open.lock().unwrap() = vec![with(ID, "orders"), with(OTHER, "2026/q3")];
    world
}

#[tokio::test]
async fn every_command_that_takes_an_id_takes_a_name_and_wants_a_value_where_two_differ() {
    let world = two();
    let user = User::with_token(&world.serve().await);
    let command = ["--", "echo", "ran"];
    for (words, tail) in [
        (&["creds"][..], &[][..]),
        (&["env"], &[]),
        (&["check"], &[]),
        (&["credential-process"], &["--no-cache"]),
        (&["exec"], &command),
        (&["show"], &[]),
        (&["watch"], &[]),
        (&["extend", "--by", "30m", "-m", "more"], &[]),
        (&["return", "--no-wait"], &[]),
        (&["revoke", "-m", "over", "--no-wait"], &[]),
    ] {
        world.request.send_replace(with(ID, "orders"));
        let named = [words, &["prod-db-admin"], tail].concat();
        let ran = user.run(&named).await;
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{named:?} {ran:?}");
        for told in [ID, OTHER, "prefix=orders", "prefix=2026/q3"] {
            assert!(ran.err.contains(told), "{told}: {ran:?}");
        }
        let hint = format!("hallpass {} prod-db-admin --param prefix=2026/q3", words[0]);
        assert!(ran.err.contains(&hint), "{ran:?}");
        let chosen = [words, &["prod-db-admin", "--param", "prefix=orders"], tail].concat();
        let ran = user.run(&chosen).await;
        assert_eq!(ran.code, 0, "{chosen:?} {ran:?}");
    }
    let ran = user
        .run(&["creds", "prod-db-admin", "--param", "prefix=none"])
        .await;
    assert_eq!(ran.code, 3, "{ran:?}");
    let ask = "hallpass request prod-db-admin --param prefix=none -m WHY";
    assert!(ran.err.contains(ask), "{ran:?}");
    let nothing = user.run(&["creds", "no-such"]).await;
    assert_eq!(nothing.code, 64, "{nothing:?}");
}

#[tokio::test]
async fn values_are_told_wherever_access_is() {
    let world = two();
    let user = User::with_token(&world.serve().await);
    let name = "prod-db-admin (prefix=orders)";
    let chosen = ["prod-db-admin", "--param", "prefix=orders"];
    let checked = user.run(&[&["check"][..], &chosen].concat()).await;
    assert!(checked.err.contains("with prefix=orders"), "{checked:?}");
    let listed = user.run(&["ls"]).await;
    assert!(listed.out.contains(name), "{listed:?}");
    let time = user.run(&["time", "-o", "json"]).await;
    let times = time.json();
    let values: Vec<_> = times.iter().map(|t| &t["parameters"]["prefix"]).collect();
    assert!(values.contains(&&"orders".into()), "{time:?}");
    let time = user.run(&["time"]).await;
    assert!(time.out.contains(&format!("{name} ")), "{time:?}");
}

#[tokio::test]
async fn a_profile_is_for_the_access_with_its_values() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let before = "[default]\nregion = x";
    let file = user.home().join(".aws/config");
    std::fs::create_dir(user.home().join(".aws")).unwrap();
    std::fs::write(&file, before).unwrap();
    let write = ["configure", "dev-read", "--param", "prefix=orders"];
    let ran = user.run(&write).await;
    assert_eq!(ran.out, "dev-read-orders\n", "{ran:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    let end = "credential-process dev-read --param prefix=orders\n";
    assert!(text.contains(end), "{text}");
    let ran = user.run(&["configure", "dev-read", "-o", "json"]).await;
    let profiles = &ran.json()[0]["profiles"];
    assert_eq!(profiles[0]["profile"], "dev-read");
    assert_eq!(profiles[1]["parameters"]["prefix"], "orders");
    for wrong in [
        &["configure", "--param", "prefix=a"][..],
        &["configure", "dev-read", "--param", "stage=a"],
        &["configure", "no-such"],
    ] {
        assert_eq!(user.run(wrong).await.code, 64, "{wrong:?}");
    }
    assert_eq!(user.run(&["configure", "--remove"]).await.code, 0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
}

#[tokio::test]
async fn an_account_chooses_among_entitlements_or_says_why_not() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let ask = |more: &[&'static str]| {
        let usual = ["request", "--dry-run", "-m", "look", "--for", "10m"];
        [&usual[..], more].concat()
    };
    *world.plan.lock().unwrap() = State::Active;
    let one = user.run(&ask(&["--account", "prod"])).await;
    assert_eq!(
        (one.code, one.out.as_str()),
        (0, "WILL ACTIVATE\n"),
        "{one:?}"
    );
    let named = ask(&["prod-db-admin", "--account", "111122223333"]);
    assert_eq!(user.run(&named).await.code, 0);
    for (more, words) in [
        (
            &["--account", "111122223333"][..],
            "name one of dev-read, prod-db-admin",
        ),
        (
            &["--account", "elsewhere"],
            "nothing that you may ask for in the account elsewhere",
        ),
        (
            &["prod-db-admin", "--account", "dev"],
            "in the account prod (111122223333), not in dev",
        ),
    ] {
        let ran = user.run(&ask(more)).await;
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{ran:?}");
        assert!(ran.err.contains(words), "{ran:?}");
    }
}

/// The commands that an error names, with the words to fill in filled in.
fn named_commands(ran: &Ran) -> Vec<Vec<String>> {
    let error: serde_json::Value = serde_json::from_str(&ran.err).expect(&ran.err);
    let steps = error["error"]["next"].as_array().unwrap();
    let commands = steps.iter().filter_map(|step| step["command"].as_str());
    let words = commands.map(|command| {
        let words = command.strip_prefix("hallpass ").expect(command).split(' ');
        let fill = |word: &str| match word {
            "WHY" => "look".to_owned(),
            "COMMAND" => "true".to_owned(),
            word => word.to_owned(),
        };
        words.map(fill).collect()
    });
    words.collect()
}

#[tokio::test]
async fn what_an_error_says_to_type_can_be_typed() {
    let mut typed = 0;
    for (state, order) in [
        (State::Ended, &["creds", ID][..]),
        (State::AwaitingApproval, &["creds", ID]),
        (State::Scheduled, &["return", ID]),
        (State::Active, &["withdraw", ID]),
        (State::Active, &["env", "prod-db-admin", "--shell", "fish"]),
        (State::Active, &["check", "dev-read", "--param", "prefix=a"]),
        (State::Active, &["show", ID]),
    ] {
        let world = World::new(state);
        if state == State::Active {
            world.request.send_replace(with(ID, "orders"));
            *world.open.lock().unwrap() = vec![with(ID, "orders"), with(OTHER, "2026/q3")];
        }
        let user = User::with_token(&world.serve().await);
        if order[0] == "show" {
            world.fail("Get", Status::not_found("no such access request"));
        }
        world.fail("Return", Status::failed_precondition("not active"));
        world.fail("Withdraw", Status::failed_precondition("not waiting"));
        let ran = user.run(&[order, &["-o", "json"]].concat()).await;
        assert_ne!(ran.code, 0, "{order:?} {ran:?}");
        for words in named_commands(&ran) {
            let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
            if words[0] == "watch" {
                words.extend(["--timeout", "0s"]);
            }
            // What it leads to depends on the state; that it is understood does not.
            let ran = user.run(&words).await;
            assert!(![64, 5].contains(&ran.code), "{words:?} {ran:?}");
            typed += 1;
        }
    }
    assert!(typed >= 8, "{typed}");
}

#[tokio::test]
async fn asking_otherwise_for_what_waits_is_told_and_changes_nothing() {
    let world = World::new(State::AwaitingApproval);
    *world.open.lock().unwrap() = vec![request(State::AwaitingApproval, 1)];
    let user = User::with_token(&world.serve().await);
    let ask = ["request", "prod-db-admin", "-m", "longer", "--for", "2h"];
    let ran = user.run(&ask).await;
    assert_eq!((ran.code, ran.out), (6, format!("{ID}\n")));
    let told = format!("to have it for 2h instead, take that back first: hallpass withdraw {ID}");
    assert!(ran.err.contains("ASKED ALREADY for 1h: "), "{}", ran.err);
    assert!(ran.err.contains(&told), "{}", ran.err);
    assert_eq!(world.count("Create"), 0);
}

#[tokio::test]
async fn a_program_that_cannot_be_run_ends_as_in_a_shell() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let file = user.home().join("file");
    std::fs::write(&file, "text").unwrap();
    for serve in [&[][..], &["--serve"]] {
        for (program, code) in [("no-such-program", 127), (file.to_str().unwrap(), 126)] {
            let ran = user
                .run(&[&["exec", ID][..], serve, &["--", program]].concat())
                .await;
            assert_eq!(ran.code, code, "{ran:?}");
        }
    }
    assert_eq!(user.run(&["exec", ID]).await.code, 64);
}

#[tokio::test]
async fn what_env_prints_takes_out_what_a_former_grant_left() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let printed = user.run(&["env", ID]).await;
    let script = format!(
        "export AWS_PROFILE=old AWS_CONTAINER_CREDENTIALS_FULL_URI=http://old\n{}env",
        printed.out
    );
    let shell = std::process::Command::new("sh")
        .args(["-euc", &script])
        .output();
    let seen = String::from_utf8(shell.unwrap().stdout).unwrap();
    assert!(seen.contains("AWS_ACCESS_KEY_ID=ASIAEXAMPLE\n"), "{seen}");
    assert!(
        !seen.contains("AWS_PROFILE") && !seen.contains("FULL_URI"),
        "{seen}"
    );
    for (shell, line) in [
        ("zsh", "unset AWS_PROFILE\n"),
        ("fish", "set -e AWS_PROFILE\n"),
        (
            "powershell",
            "Remove-Item Env:AWS_PROFILE -ErrorAction SilentlyContinue\n",
        ),
    ] {
        let ran = user.run(&["env", ID, "--shell", shell]).await;
        assert!(ran.out.contains(line), "{ran:?}");
    }
    let help = user.run(&["env", "--help"]).await;
    for shell in ["bash, zsh", "fish", "PowerShell"] {
        assert!(help.out.contains(shell), "{help:?}");
    }
}

#[tokio::test]
async fn what_waits_for_a_decision_is_listed_by_either_command() {
    let world = World::new(State::AwaitingApproval);
    let user = User::with_token(&world.serve().await);
    let queue = user.run(&["queue", "-o", "json"]).await;
    let listed = user.run(&["ls", "--to-decide", "-o", "json"]).await;
    assert_eq!((listed.code, &listed.out), (0, &queue.out));
    assert!(listed.out.contains(ID), "{listed:?}");
    assert_eq!(user.run(&["ls", "--to-decide", "--active"]).await.code, 64);
}

#[tokio::test]
async fn a_hint_typed_as_it_stands_goes_where_its_command_went() {
    let world = World::new(State::AwaitingApproval);
    let server = world.serve().await;
    // Nobody listens where the environment points.
    let user = User::with_token("http://127.0.0.1:1");
    let ran = user.run(&["creds", ID, "--server", &server]).await;
    assert_eq!(ran.code, 6, "{ran:?}");
    let mut lines = ran.err.lines();
    let hint = lines.find_map(|line| line.strip_prefix("  next: hallpass "));
    let hint: Vec<&str> = hint.unwrap().split(' ').collect();
    assert_eq!(hint, ["--server", server.as_str(), "watch", ID]);
    world.request.send_replace(request(State::Active, 2));
    let ran = user.run(&hint).await;
    assert_eq!(ran.code, 0, "{ran:?}");
}
