//! What the commands for AWS tools say to people, kept in tests/golden/cli.

use harness::{Cli, Ran, Shared};

use crate::cli::golden;

/// All that a run printed, without the places of this run.
fn kept(name: &str, cli: &Cli, ran: &Ran) {
    let exe = harness::binary("hallpass");
    let text = format!(
        "exit code {}\n--- stdout\n{}--- stderr\n{}",
        ran.code, ran.stdout, ran.stderr
    );
    let text = text
        .replace(&*cli.home().to_string_lossy(), "[home]")
        .replace(&*exe.to_string_lossy(), "[hallpass]");
    golden(name, &text);
}

#[tokio::test]
async fn the_commands_for_aws_tools_say_what_they_did() {
    let world = Shared::get().await;
    let alice = Cli::of(world, "alice");
    let ask = [
        "request",
        "sandbox-reports",
        "--new",
        "--for",
        "5m",
        "-m",
        "look",
    ];
    let id = alice.run(&ask).await.id();
    kept("check", &alice, &alice.run(&["check", &id]).await);
    let time = alice.run(&["time", &id]).await;
    let line = time.expect(0).trim_end();
    let (entitlement, left) = line.split_once(' ').unwrap();
    assert_eq!(entitlement, "sandbox-reports");
    assert!(
        ["4m", "5m"].contains(&left) || left.ends_with('s'),
        "{left}"
    );

    let dry = alice
        .run(&["configure", "sandbox-reports", "--dry-run"])
        .await;
    kept("configure_dry_run", &alice, &dry);
    let named = ["configure", "sandbox-reports", "--profile", "reports"];
    kept("configure", &alice, &alice.run(&named).await);
    kept("configure_again", &alice, &alice.run(&named).await);
    let config = alice.home().join(".aws/config");
    let mine = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("[profile reports]\n{mine}")).unwrap();
    kept("configure_taken", &alice, &alice.run(&named).await);
    kept(
        "configure_remove",
        &alice,
        &alice.run(&["configure", "--remove"]).await,
    );
    let sign_in = "http://127.0.0.1:1/federation";
    let console = ["console", &id, "--url-only", "--signin-endpoint", sign_in];
    kept("console_unreachable", &alice, &alice.run(&console).await);

    alice.run(&["return", &id]).await.expect(0);
    kept("over_check", &alice, &alice.run(&["check", &id]).await);
    kept("over_time", &alice, &alice.run(&["time", &id]).await);
    let over = alice.run(&["credential-process", &id]).await;
    kept("over_credential_process", &alice, &over);
    let nothing = alice.run(&["credential-process", "no-such"]).await;
    kept("credential_process_nothing", &alice, &nothing);
}

#[tokio::test]
async fn several_targets_are_planned_together_and_what_is_active_is_extended() {
    let world = Shared::own(|_| {}).await;
    let alice = Cli::of(&world, "alice");
    let several = |span: &'static str| {
        let targets = [
            "request",
            "sandbox-reports",
            "prod-export",
            "sandbox-scratch",
        ];
        [&targets[..], &["--for", span, "-m", "look"]].concat()
    };
    let dry = [&several("10m")[..], &["--dry-run"]].concat();
    kept("request_several_dry_run", &alice, &alice.run(&dry).await);
    kept("request_several", &alice, &alice.run(&several("10m")).await);
    let again = alice.run(&several("30m")).await;
    kept("request_several_again", &alice, &again);
    let dry = [&several("20m")[..], &["--dry-run"]].concat();
    kept("request_several_have", &alice, &alice.run(&dry).await);
    let listed = alice.run(&["ls", "-o", "json"]).await.json();
    let count = listed["accessRequests"].as_array().unwrap().len();
    assert_eq!(count, 3, "nothing was asked for twice");
}
