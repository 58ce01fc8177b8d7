//! The real `hallpass` against the real service, as people use it.
//!
//! What it prints is kept in tests/golden/cli, with ids, instants and addresses left out.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use hallpass_seal::SecretCredentials;
use harness::{Cli, Ran, Reading, Shared, finish, until, uuid};
use jiff::Timestamp;
use zeroize::Zeroizing;

/// What differs from run to run.
const PASSING: [(&str, &str); 22] = [
    (
        r#""awsRequestIds": \[[^\]]*\]"#,
        r#""awsRequestIds": "[uuids]""#,
    ),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "[instant]"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ UTC", "[instant]"),
    (r"(\d{4}-\d\d-\d\d )?\b\d\d:\d\d:\d\d\b", "[time]"),
    (r"127\.0\.0\.1:\d+", "[address]"),
    (r"\b[0-9a-f]{64}\b", "[digest]"),
    (
        r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
        "[uuid]",
    ),
    (r"(\[uuid\], )+\[uuid\]", "[uuids]"),
    (r"\bar-[0-9a-z]{26}\b", "[id]"),
    (r"\bASIA[0-9A-Z]+", "[key]"),
    (r"\bAROA[0-9A-Z]+", "[role id]"),
    (r#"("assumedRoleId": "[^:]*:)[^"]*"#, "$1[session]"),
    (r"(ends|lapses) in \w+ +", "$1 in [span]  "),
    (r"\(in \w+\)", "(in [span])"),
    (r"\d+s ago,", "[span] ago,"),
    (r"\d+s ago +", "[span] ago  "),
    (r"WHEN +", "WHEN  "),
    (r"lag( +)\d[\d.]* s", "lag$1[span]"),
    (r#""lag": "[^"]+""#, r#""lag": "[span]""#),
    (
        r#""(revision|eventId|eventCount)": \d+"#,
        r#""$1": "[number]""#,
    ),
    (r"\d+ events", "[number] events"),
    (r", by \d\w*", ", by [span]"),
];

/// Compares with the golden file of that name.
pub(crate) fn golden(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../golden/cli");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (pattern, word) in PASSING {
        settings.add_filter(pattern, word);
    }
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// All that a run printed, as one text.
fn whole(ran: &Ran) -> String {
    let Ran {
        code,
        stdout,
        stderr,
    } = ran;
    format!("exit code {code}\n--- stdout\n{stdout}--- stderr\n{stderr}")
}

/// The header of a table and the row that has `needle`; widths depend on other people's rows.
fn row_of(table: &str, needle: &str) -> String {
    let mut lines = table.lines();
    let header = lines.next().expect("a header");
    let row = lines.find(|line| line.contains(needle));
    let row = row.unwrap_or_else(|| panic!("no row for {needle}: {table}"));
    let squeeze = |line: &str| {
        let cells = line.split("  ").filter(|cell| !cell.is_empty());
        cells.map(str::trim).collect::<Vec<_>>().join("  ")
    };
    format!("{}\n{}\n", squeeze(header), squeeze(row))
}

/// The credentials in lines of KEY=VALUE.
fn session_of(lines: &str) -> SecretCredentials {
    let value = |name: &str| {
        let line = lines.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.strip_prefix('='))
            .unwrap_or_else(|| panic!("no {name}"))
            .to_owned()
    };
    SecretCredentials::new(
        value("AWS_ACCESS_KEY_ID"),
        Zeroizing::new(value("AWS_SECRET_ACCESS_KEY")),
        Zeroizing::new(value("AWS_SESSION_TOKEN")),
        Timestamp::MAX,
    )
}

async fn state_of(cli: &Cli, id: &str) -> String {
    let shown = cli.run(&["show", id, "-o", "json"]).await.json();
    shown["state"].as_str().expect("a state").to_owned()
}

/// Low-risk access of its own, for five minutes.
const LOOK: [&str; 7] = [
    "request",
    "sandbox-reports",
    "--new",
    "--for",
    "5m",
    "-m",
    "look",
];

#[tokio::test]
async fn low_risk_access_is_granted_used_and_given_back() {
    let world = Shared::get().await;
    let alice = Cli::of(world, "alice");
    let asked = alice
        .run(&[
            "request",
            "sandbox-reports",
            "--new",
            "--for",
            "5m",
            "-m",
            "INC-1: look",
        ])
        .await;
    asked.expect(0);
    golden("request_activates", &whole(&asked));
    let id = asked.id();
    golden("show_active", alice.run(&["show", &id]).await.expect(0));
    let listed = alice.run(&["ls", "--active"]).await;
    golden("ls", &row_of(listed.expect(0), &id));

    let env = alice.run(&["creds", &id, "--format", "env"]).await;
    let session = session_of(env.expect(0));
    let read = world.aws().read(&session, "sandbox-reports").await;
    assert_eq!(read, Reading::Allowed);

    let returned = alice.run(&["return", &id, "-m", "done"]).await;
    returned.expect(0);
    golden("return", &whole(&returned));
    let read = world.aws().read(&session, "sandbox-reports").await;
    assert!(matches!(read, Reading::Refused(_)), "{read:?}");
    golden("show_ended", alice.run(&["show", &id]).await.expect(0));
    golden("timeline", &whole(&alice.run(&["timeline", &id]).await));
}

#[tokio::test]
async fn what_is_over_stays_over_with_exit_code_3() {
    let world = Shared::get().await;
    let alice = Cli::of(world, "alice");
    let asked = alice
        .run(&[
            "request",
            "sandbox-scratch",
            "--new",
            "--for",
            "5m",
            "-m",
            "look",
        ])
        .await;
    let id = asked.id();
    alice.run(&["return", &id]).await.expect(0);
    for (name, arguments) in [
        ("over_creds", &["creds", &id][..]),
        ("over_exec", &["exec", &id, "--", "true"]),
        ("over_env", &["env", &id]),
        ("over_return", &["return", &id]),
        ("over_withdraw", &["withdraw", &id]),
        ("over_extend", &["extend", &id, "--by", "5m", "-m", "more"]),
        ("over_watch", &["watch", &id]),
    ] {
        let ran = alice.run(arguments).await;
        ran.expect(3);
        golden(name, &whole(&ran));
    }
    alice.run(&["watch", &id, "--until", "end"]).await.expect(0);
}

#[tokio::test]
async fn exec_gives_the_session_and_nothing_of_ours_to_its_child() {
    let world = Shared::get().await;
    let token = world.token("alice").await;
    let alice = Cli::stranger(world)
        .with("HALLPASS_TOKEN", &token)
        .with("AWS_PROFILE", "another")
        .with("AWS_ACCESS_KEY_ID", "AKIAANOTHER");
    let asked = alice.run(&LOOK).await;
    let id = asked.id();
    let ran = alice
        .run(&[
            "exec",
            &id,
            "--",
            "sh",
            "-c",
            "env; echo to-stderr >&2; exit 7",
        ])
        .await;
    let env = ran.expect(7);
    assert_eq!(ran.stderr, "to-stderr\n");
    let names: Vec<&str> = env
        .lines()
        .filter_map(|line| line.split_once('=').map(|(name, _)| name))
        .filter(|name| name.starts_with("AWS") || name.starts_with("HALLPASS"))
        .collect();
    for there in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_CREDENTIAL_EXPIRATION",
    ] {
        assert!(names.contains(&there), "{there}: {names:?}");
    }
    assert!(env.contains(&format!("HALLPASS_REQUEST={id}\n")), "{env}");
    for gone in ["HALLPASS_TOKEN", "AWS_PROFILE"] {
        assert!(!names.contains(&gone), "{gone}: {names:?}");
    }
    assert!(!env.contains(&token) && !env.contains("AKIAANOTHER"));
    let session = session_of(env);
    let read = world.aws().read(&session, "sandbox-reports").await;
    assert_eq!(read, Reading::Allowed);

    let missing = alice.run(&["exec", &id, "--", "no-such-program"]).await;
    missing.expect(127);
    golden("exec_no_such_program", &whole(&missing));
}

#[tokio::test]
async fn a_shell_takes_the_environment_that_env_prints() {
    let world = Shared::get().await;
    let alice = Cli::of(world, "alice");
    let asked = alice.run(&LOOK).await;
    let id = asked.id();
    let printed = alice.run(&["env", &id]).await;
    let script = format!("{}env", printed.expect(0));
    let shell = tokio::process::Command::new("sh")
        .args(["-c", &script])
        .output()
        .await
        .unwrap();
    let session = session_of(&String::from_utf8(shell.stdout).unwrap());
    let read = world.aws().read(&session, "sandbox-reports").await;
    assert_eq!(read, Reading::Allowed);
    let fish = alice
        .run(&["env", &id, "--shell", "fish", "-o", "json"])
        .await;
    assert!(fish.expect(0).contains("\nset -gx AWS_ACCESS_KEY_ID 'ASIA"));
}

#[tokio::test]
async fn a_waiting_requester_goes_on_when_somebody_else_approves() {
    let world = Shared::get().await;
    let (alice, bob) = (Cli::of(world, "alice"), Cli::of(world, "bob"));
    let reason = format!("INC-2 {}", uuid());
    let waiting = alice.start(&[
        "request",
        "prod-reports",
        "--new",
        "--for",
        "5m",
        "-m",
        &reason,
        "--wait",
    ]);
    let queue = until("the request is in the queue", || async {
        let queue = bob.run(&["queue"]).await;
        queue.stdout.contains(&reason).then_some(queue.stdout)
    })
    .await;
    let row = row_of(&queue, &reason);
    golden("queue", &row);
    let id = row
        .lines()
        .nth(1)
        .and_then(|r| r.split(' ').next())
        .unwrap();

    let own = alice.run(&["approve", id]).await;
    own.expect(2);
    golden("approve_own", &whole(&own));
    let approved = bob.run(&["approve", id, "-m", "seen with Alice"]).await;
    approved.expect(0);
    golden("approve", &whole(&approved));

    let granted = finish(waiting).await;
    granted.expect(0);
    assert_eq!(granted.stdout, format!("{id}\n"));
    golden("request_waits", &whole(&granted));
    golden("show_approved", alice.run(&["show", id]).await.expect(0));

    let late = bob.run(&["deny", id, "-m", "too late"]).await;
    late.expect(1);
    golden("deny_too_late", &whole(&late));
    alice.run(&["revoke", id, "-m", "mine"]).await.expect(2);
    let revoked = bob.run(&["revoke", id, "-m", "enough"]).await;
    revoked.expect(0);
    golden("revoke", &whole(&revoked));
}

#[tokio::test]
async fn a_waiting_requester_learns_that_somebody_said_no() {
    let world = Shared::get().await;
    let (alice, bob) = (Cli::of(world, "alice"), Cli::of(world, "bob"));
    let asked = alice
        .run(&[
            "request",
            "prod-reports",
            "--new",
            "--for",
            "5m",
            "-m",
            "look",
        ])
        .await;
    asked.expect(6);
    golden("request_asks", &whole(&asked));
    let id = asked.id();
    let watching = alice.start(&["watch", &id]);
    let denied = bob.run(&["deny", &id, "-m", "ask tomorrow"]).await;
    denied.expect(0);
    golden("deny", &whole(&denied));
    let watched = finish(watching).await;
    assert_eq!(watched.code, 2, "{watched:?}");
    assert!(
        watched.stdout.contains("Bob Bright: ask tomorrow"),
        "{watched:?}"
    );
    golden("show_denied", alice.run(&["show", &id]).await.expect(0));
    alice.run(&["creds", &id]).await.expect(2);
}

#[tokio::test]
async fn a_dry_run_tells_all_three_answers_and_asks_nothing() {
    let world = Shared::get().await;
    let reason = format!("INC-3 {}", uuid());
    for (name, person, entitlement, code) in [
        ("dry_run_activates", "alice", "sandbox-reports", 0),
        ("dry_run_asks", "alice", "prod-export", 0),
        ("dry_run_denied", "erin", "prod-reports", 2),
    ] {
        let person = Cli::of(world, person);
        let ask = [
            "request",
            entitlement,
            "--new",
            "--for",
            "5m",
            "-m",
            &reason,
        ];
        let ran = person.run(&[&ask[..], &["--dry-run"]].concat()).await;
        ran.expect(code);
        golden(name, &whole(&ran));
    }
    // On-call may break the glass, but not at this risk: people decide all the same.
    let frank = Cli::of(world, "frank");
    let glass = "request prod-export --break-glass --for 5m --ticket INC-3 -m look --dry-run";
    let glass: Vec<_> = glass.split(' ').collect();
    let unbroken = frank.run(&glass).await;
    unbroken.expect(0);
    golden("dry_run_glass_stays_whole", &whole(&unbroken));
    let erin = Cli::of(world, "erin");
    let denied = erin
        .run(&[
            "request",
            "prod-reports",
            "--new",
            "--for",
            "5m",
            "-m",
            &reason,
        ])
        .await;
    denied.expect(2);
    golden("request_denied", &whole(&denied));
    let all = erin
        .run(&["ls", "--all-requesters", "--limit", "1000"])
        .await;
    assert!(!all.expect(0).contains(&reason), "{}", all.stdout);
}

#[tokio::test]
async fn waiting_in_vain_ends_with_4_and_the_request_stays_until_withdrawn() {
    let world = Shared::get().await;
    let alice = Cli::of(world, "alice");
    let asked = alice
        .run(&[
            "request",
            "prod-reports",
            "--new",
            "--for",
            "5m",
            "-m",
            "look",
            "--wait",
            "--timeout",
            "1s",
        ])
        .await;
    asked.expect(4);
    golden("request_timed_out", &whole(&asked));
    let id = asked.id();
    assert_eq!(state_of(&alice, &id).await, "STATE_AWAITING_APPROVAL");
    alice
        .run(&["watch", &id, "--timeout", "1s"])
        .await
        .expect(4);
    let early = alice.run(&["creds", &id]).await;
    early.expect(6);
    golden("creds_too_early", &whole(&early));
    let withdrawn = alice.run(&["withdraw", &id, "-m", "not needed"]).await;
    withdrawn.expect(0);
    golden("withdraw", &whole(&withdrawn));
    alice.run(&["watch", &id]).await.expect(3);
    let bob = Cli::of(world, "bob");
    bob.run(&["approve", &id]).await.expect(3);
}

#[tokio::test]
async fn the_same_request_id_asks_once() {
    let world = Shared::get().await;
    let alice = Cli::of(world, "alice");
    let key = uuid();
    let ask = |span: &'static str| {
        let (alice, key) = (&alice, key.as_str());
        async move {
            let ask = [
                "request",
                "prod-reports",
                "--new",
                "--for",
                span,
                "-m",
                "look",
            ];
            alice
                .run(&[&ask[..], &["--request-id", key]].concat())
                .await
        }
    };
    let (first, second) = (ask("5m").await, ask("5m").await);
    first.expect(6);
    assert_eq!(first, second);
    let other = ask("6m").await;
    other.expect(64);
    golden("request_id_reused", &whole(&other));
    alice.run(&["withdraw", &first.id()]).await.expect(0);
}

#[tokio::test]
async fn extending_moves_the_end_by_what_was_asked() {
    let world = Shared::get().await;
    let alice = Cli::of(world, "alice");
    let asked = alice.run(&LOOK).await;
    let id = asked.id();
    let end = || async {
        let shown = alice.run(&["show", &id, "-o", "json"]).await.json();
        shown["endTime"]
            .as_str()
            .unwrap()
            .parse::<Timestamp>()
            .unwrap()
    };
    let before = end().await;
    let extended = alice
        .run(&["extend", &id, "--by", "7m", "-m", "more"])
        .await;
    extended.expect(0);
    golden("extend", &whole(&extended));
    assert_eq!(end().await.duration_since(before).as_secs(), 7 * 60);
    let beyond = alice
        .run(&["extend", &id, "--by", "3h", "-m", "more"])
        .await;
    assert_ne!(beyond.code, 0, "{beyond:?}");
    assert_eq!(end().await.duration_since(before).as_secs(), 7 * 60);
}

#[tokio::test]
async fn several_requests_are_decided_although_one_cannot_be() {
    let world = Shared::get().await;
    let (alice, bob) = (Cli::of(world, "alice"), Cli::of(world, "bob"));
    let ask = [
        "request",
        "prod-reports",
        "--new",
        "--for",
        "5m",
        "-m",
        "look",
    ];
    let (first, second) = (alice.run(&ask).await.id(), alice.run(&ask).await.id());
    alice.run(&["withdraw", &first]).await.expect(0);
    let decided = bob.run(&["approve", &first, &second]).await;
    decided.expect(3);
    golden("approve_several", &whole(&decided));
    assert_eq!(state_of(&alice, &second).await, "STATE_ACTIVE");
}

#[tokio::test]
async fn people_see_who_they_are_and_what_they_may_ask_for() {
    let world = Shared::get().await;
    for name in ["alice", "deploy-bot", "alice-agent", "erin"] {
        let person = Cli::of(world, name);
        let (who, what) = (
            person.run(&["whoami"]).await,
            person.run(&["entitlements"]).await,
        );
        who.expect(0);
        what.expect(0);
        golden(&format!("whoami_{name}"), &whole(&who));
        golden(&format!("entitlements_{name}"), &whole(&what));
    }
    let erin = Cli::of(world, "erin");
    golden(
        "entitlements_all",
        erin.run(&["entitlements", "--all"]).await.expect(0),
    );
}

#[tokio::test]
async fn everybodys_requests_are_for_those_who_may_view_all() {
    let world = Shared::get().await;
    let (alice, erin) = (Cli::of(world, "alice"), Cli::of(world, "erin"));
    let ask = ["request", "prod-reports", "--new", "--for", "5m", "-m"];
    let mut ids = Vec::new();
    for reason in ["first", "second", "third"] {
        let asked = alice.run(&[&ask[..], &[reason]].concat()).await;
        ids.push(asked.id());
    }
    // A closed workflow comes last in Temporal's order; a list is by the time of asking.
    alice.run(&["withdraw", &ids[2]]).await.expect(0);
    let refused = alice.run(&["ls", "--all-requesters"]).await;
    refused.expect(2);
    golden("ls_all_refused", &whole(&refused));
    until("the list shows all three, newest first", || async {
        let listed = erin
            .run(&["ls", "--all-requesters", "--limit", "1000"])
            .await;
        let at = |id: &String| listed.stdout.find(id.as_str());
        let found: Option<Vec<usize>> = ids.iter().rev().map(at).collect();
        let found = found?;
        assert!(found.is_sorted(), "{}", listed.stdout);
        Some(())
    })
    .await;
    let nothing = alice.run(&["ls", "--entitlement", "no-such"]).await;
    assert_eq!(
        (nothing.expect(0), nothing.stderr.as_str()),
        ("", "no requests\n")
    );
}

#[tokio::test]
async fn a_stored_token_logs_in_until_logout() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = Shared::get().await;
    let person = Cli::stranger(world);
    let out = person.run(&["whoami"]).await;
    out.expect(5);
    golden("not_logged_in", &whole(&out));

    let login = person.run(&["login", "--as", "bob"]).await;
    login.expect(0);
    golden("login_as", &whole(&login));
    assert!(
        person
            .run(&["whoami"])
            .await
            .expect(0)
            .starts_with("Bob Bright ")
    );
    let carol = format!("{}\n", world.token("carol").await);
    person
        .run_with_input(&["login", "--token-stdin"], &carol)
        .await
        .expect(0);
    assert!(
        person
            .run(&["whoami"])
            .await
            .expect(0)
            .starts_with("Carol Cray ")
    );
    let mut stored = 0;
    for entry in walk(&person.folder()) {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{entry:?} {mode:o}");
        stored += usize::from(
            std::fs::read_to_string(&entry)
                .unwrap()
                .contains(carol.trim()),
        );
    }
    assert_eq!(stored, 1);

    let logout = person.run(&["logout"]).await;
    logout.expect(0);
    golden("logout", &whole(&logout));
    person.run(&["whoami"]).await.expect(5);
    golden("logout_again", &whole(&person.run(&["logout"]).await));

    let forged = format!("{}x", carol.trim());
    let refused = person
        .run_with_input(&["login", "--token-stdin"], &forged)
        .await;
    refused.expect(5);
    golden("login_refused", &whole(&refused));
    assert!(!refused.stderr.contains(&forged));
    assert_eq!(person.run(&["whoami"]).await, out);
}

/// All files under a folder.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}

#[tokio::test]
async fn mistakes_are_told_in_words_with_their_exit_codes() {
    let world = Shared::get().await;
    let alice = Cli::of(world, "alice");
    let nowhere = "http://127.0.0.1:1";
    let unknown = "ar-0123456789abcdefghjkmnpqrs";
    for (name, arguments, code) in [
        ("wrong_server", &["--server", nowhere, "whoami"][..], 1),
        (
            "wrong_server_url",
            &["--server", "localhost:8443", "whoami"],
            64,
        ),
        ("wrong_server_word", &["--server", "nonsense", "whoami"], 64),
        ("wrong_issuer", &["--dev-issuer", nowhere, "whoami"], 1),
        (
            "remote_issuer",
            &["--dev-issuer", "http://192.0.2.1", "whoami"],
            1,
        ),
        (
            "remote_plaintext",
            &["--server", "http://192.0.2.1:8443", "whoami"],
            1,
        ),
        ("unknown_person", &["--as", "nobody", "whoami"], 1),
        ("unknown_request", &["show", unknown], 1),
        (
            "unknown_entitlement",
            &["request", "no-such", "--new", "--for", "5m", "-m", "look"],
            64,
        ),
        (
            "no_reason",
            &["request", "prod-reports", "--new", "--for", "5m"],
            64,
        ),
        (
            "too_long",
            &[
                "request",
                "prod-reports",
                "--new",
                "--for",
                "5h",
                "-m",
                "look",
            ],
            64,
        ),
        (
            "bad_duration",
            &[
                "request",
                "prod-reports",
                "--new",
                "--for",
                "5",
                "-m",
                "look",
            ],
            64,
        ),
        ("bad_id", &["show", "ar-short"], 64),
        ("bad_command", &["aprove", unknown], 64),
        ("login_how", &["--as", "", "login"], 64),
    ] {
        let ran = alice.run(arguments).await;
        assert_eq!(ran.code, code, "{name}: {ran:?}");
        assert_eq!(ran.stdout, "", "{name}");
        golden(name, &whole(&ran));
    }
    let config = alice.folder();
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.toml"), "sever = \"x\"\n").unwrap();
    let ran = alice.run(&["whoami"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("unknown field `sever`"), "{ran:?}");
}

#[tokio::test]
async fn help_teaches_the_whole_tool_without_a_server() {
    let world = Shared::get().await;
    let person = Cli::stranger(world).with("COLUMNS", "100");
    let unset = |text: &str| text.replace(world.server(), "").replace(world.issuer(), "");
    for (command, text) in [("console", "[default: AWS's own"), ("env", "PowerShell  ")] {
        let help = person.run(&[command, "--help"]).await;
        assert!(help.expect(0).contains(text), "{help:?}");
    }
    let help = person.run(&["--help"]).await;
    golden("help", &unset(help.expect(0)));
    let script = person.run(&["completions", "bash"]).await;
    assert!(
        script.expect(0).contains("complete -F _hallpass"),
        "{}",
        script.stdout
    );
}
