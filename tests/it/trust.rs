//! From where a session may be used, how long one lasts, and external ids that are being changed.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use hallpass_faults::{Lag, Reads};
use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{AccessRequest, Verdict};
use harness::{Clients, Private, Reading, Session, issue, seconds, until, violates};
use jiff::Timestamp;
use serde_json::Value;

const SANDBOX: &str = "444455556666";
const BUCKET: &str = "sandbox-reports";
const ROLE: &str = "arn:aws:iam::444455556666:role/ReportsReader";

/// The sandbox's shared role and one of its own, under one condition each.
pub(crate) fn add_conditions(pack: &Path) {
    let path = pack.join("entitlements.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let part = |id: &str| {
        let all = text.split("[[entitlement]]\n");
        all.into_iter()
            .find(|p| p.contains(&format!("id = \"{id}\"\n")))
            .unwrap()
            .to_owned()
    };
    let (shared, own) = (part("sandbox-reports"), part("sandbox-scratch"));
    let mut all = text.clone();
    for (id, of, more) in [
        (
            "here",
            &shared,
            "conditions = { source_ips = [\"127.0.0.0/8\", \"::1/128\"] }",
        ),
        (
            "own-here",
            &own,
            "conditions = { source_ips = [\"127.0.0.0/8\", \"::1/128\"] }",
        ),
        (
            "elsewhere",
            &shared,
            "conditions = { source_ips = [\"203.0.113.0/24\"] }\nmax_session = \"15m\"",
        ),
        (
            "own-elsewhere",
            &own,
            "conditions = { source_ips = [\"203.0.113.0/24\"] }",
        ),
        (
            "by-endpoint",
            &shared,
            "conditions = { source_vpces = [\"vpce-1a2b3c4d\"] }",
        ),
        (
            "other-org",
            &shared,
            "conditions = { org_id = \"o-a1b2c3d4e5\" }",
        ),
        ("short", &shared, "max_session = \"15m\""),
    ] {
        let old = of.lines().find(|l| l.starts_with("id = ")).unwrap();
        let new = of.replace(old, &format!("id = \"{id}\"\n{more}"));
        all.push_str(&format!("\n[[entitlement]]\n{new}"));
    }
    std::fs::write(path, all).unwrap();
}

async fn open(alice: &Clients, entitlement: &str, secs: i64) -> (AccessRequest, Session) {
    let request = alice.ask(entitlement, secs).await.unwrap();
    assert_eq!(request.state(), State::Active, "{request:?}");
    let session = issue(alice, &request.name).await.unwrap();
    (request, session)
}

#[tokio::test]
async fn a_session_works_from_where_it_may_be_used_and_its_end_is_proved_all_the_same() {
    let mut kept = PathBuf::new();
    let world = Private::start_with_pack(|pack| {
        add_conditions(pack);
        kept = pack.to_owned();
    })
    .await;
    let _service = world.serve("all").await;
    let (alice, aws) = (world.client("alice").await, world.aws());
    for (entitlement, works, proved) in [
        ("here", true, true),
        ("own-here", true, true),
        ("elsewhere", false, true),
        ("own-elsewhere", false, true),
        ("by-endpoint", false, true),
        // The emulator's accounts are in no organization, so the canary's is not either.
        ("other-org", false, false),
    ] {
        let (request, session) = open(&alice, entitlement, 900).await;
        let read = aws.read(&session.secret, BUCKET).await;
        assert_eq!(read == Reading::Allowed, works, "{entitlement}: {read:?}");
        // The denial takes effect after the canary's first call.
        let (by, reads) = (Duration::from_secs(2), Reads::Written);
        world.faults.set_lag(Some(Lag { by, reads }));
        alice.give_back(&request.name).await.unwrap();
        let ended = alice.watch_until(&request.name, State::Ended).await;
        world.faults.set_lag(None);
        let proof = ended.proof.unwrap();
        let allowed_before = !proof.allowed_call.is_empty();
        assert_eq!(allowed_before, proved, "{entitlement}: {proof:?}");
        assert_eq!(proof.denied_code, "AccessDenied", "{entitlement}");
        let read = aws.read(&session.secret, BUCKET).await;
        assert!(matches!(read, Reading::Refused(_)), "{entitlement}");
        let shown = ended.entitlement_details.unwrap();
        let said = shown.source_ips.len() + shown.source_vpces.len() + shown.org_id.len();
        assert!(said > 0, "{entitlement}: {shown:?}");
    }

    // A session is as long as the entitlement says, and the next one is another.
    let (request, session) = open(&alice, "short", 3600).await;
    let details = request.entitlement_details.clone().unwrap();
    assert_eq!(details.max_session, Some(seconds(900)));
    let lasts = |session: &Session| {
        let credential = session.sealed.credential.clone().unwrap();
        let until = credential.session_expire_time.unwrap().seconds;
        (until - Timestamp::now().as_second(), credential.serial)
    };
    let (first, serial) = lasts(&session);
    assert!(
        (800..=900).contains(&first) && serial == 1,
        "{first} {serial}"
    );
    let renewed = issue(&alice, &request.name).await.unwrap();
    let (next, serial) = lasts(&renewed);
    assert!(
        (800..=900).contains(&next) && serial == 2,
        "{next} {serial}"
    );
    assert_eq!(aws.read(&renewed.secret, BUCKET).await, Reading::Allowed);
    alice.give_back(&request.name).await.unwrap();

    // What was approved under one condition is not given under another.
    let (request, _) = open(&alice, "here", 900).await;
    let path = kept.join("entitlements.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let wider = text.replace("\"127.0.0.0/8\", \"::1/128\"", "\"127.0.0.0/8\"");
    std::fs::write(&path, wider).unwrap();
    let refused = until("the new catalogue counts", || async {
        issue(&alice, &request.name).await.err()
    })
    .await;
    assert!(refused.message().contains("has changed"), "{refused:?}");
    alice.give_back(&request.name).await.unwrap();
    alice.watch_until(&request.name, State::Ended).await;
}

/// What `hallpassd check` says of the thing that begins with `what`: verdict and words.
async fn checked(world: &Private, what: &str) -> (String, String) {
    let output = world.hallpassd(&["check", "--output", "json"]).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = report["checks"].as_array().unwrap().iter();
    let mut about = all.filter(|c| c["what"].as_str().unwrap().starts_with(what));
    let text = |v: &Value, key: &str| v[key].as_str().unwrap().to_owned();
    let found = about
        .next()
        .unwrap_or_else(|| panic!("nothing about {what}: {report:#}"));
    (text(found, "verdict"), text(found, "found"))
}

/// Has a role's trust policy ask for another external id.
async fn ask_for(world: &Private, role: &str, old: &str, new: &str) {
    let aws = world.aws();
    let trust = aws.trust(SANDBOX, role).await;
    assert!(trust.contains(old), "{trust}");
    let trust = trust.replace(old, new);
    let change = [
        ("Action", "UpdateAssumeRolePolicy"),
        ("RoleName", role),
        ("PolicyDocument", trust.as_str()),
    ];
    aws.as_root(SANDBOX, &change).await;
}

#[tokio::test]
async fn external_ids_are_changed_without_an_interruption_and_check_tells_how_far() {
    const READER_ID: &str = "hp-sandbox-reports-7f3a9c";
    let mut kept = PathBuf::new();
    let world = Private::start_with_pack(|pack| kept = pack.to_owned()).await;
    std::fs::create_dir_all(world.policy_archive()).unwrap();
    let made = world.run_hallpassd(&["new-external-id", SANDBOX]).await;
    let new = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert!(
        new.starts_with("hallpass-444455556666-") && new.len() > 40,
        "{new}"
    );
    let mut old = String::new();
    world.configure(|config| {
        let accounts = config["aws"]["accounts"].as_table_mut().unwrap();
        let account = accounts[SANDBOX].as_table_mut().unwrap();
        old = account["external_id"].as_str().unwrap().to_owned();
        account.insert("external_id".to_owned(), new.clone().into());
        account.insert("previous_external_id".to_owned(), old.clone().into());
    });
    let catalogue = |ids: &str| {
        let path = kept.join("entitlements.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let plain = format!("external_id = \"{READER_ID}\"");
        assert!(text.contains(&plain));
        std::fs::write(&path, text.replace(&plain, ids)).unwrap();
    };
    let (account, reader) = (
        format!("external id of {SANDBOX}"),
        format!("external id of {ROLE}"),
    );
    let is = async |what: &str, verdict: &str, words: &str| {
        let (found, said) = checked(&world, what).await;
        assert!(
            found == verdict && said.contains(words),
            "{what}: {found}, {said}"
        );
    };
    let _service = world.serve("all").await;
    let (alice, aws) = (world.client("alice").await, world.aws());
    is(&account, "note", "the previous one only").await;
    is(&reader, "right", "refuses whoever").await;
    let (request, session) = open(&alice, "sandbox-reports", 900).await;
    assert_eq!(aws.read(&session.secret, BUCKET).await, Reading::Allowed);

    // The catalogue has a new id; the role does not take it yet. Grants that are open go on.
    let ids = "external_id = \"reader-2\"\nprevious_external_id = \"hp-sandbox-reports-7f3a9c\"";
    catalogue(ids);
    is(&reader, "note", "the previous one only").await;
    let (other, _) = open(&alice, "sandbox-reports", 900).await;
    ask_for(&world, "ReportsReader", READER_ID, "reader-2").await;
    is(&reader, "note", "takes the new one").await;
    for open in [&request, &other] {
        let session = until("the new id is sent", || async {
            issue(&alice, &open.name).await.ok()
        })
        .await;
        assert_eq!(aws.read(&session.secret, BUCKET).await, Reading::Allowed);
        alice.give_back(&open.name).await.unwrap();
        let ended = alice.watch_until(&open.name, State::Ended).await;
        assert_eq!(ended.proof.unwrap().denied_code, "AccessDenied");
    }

    ask_for(&world, "hallpass-provisioner", &old, &new).await;
    is(&account, "note", "takes the new one").await;
    // A trust policy that asks for neither, and one that asks nobody.
    ask_for(&world, "hallpass-provisioner", &new, "unknown").await;
    is(&format!("account {SANDBOX}"), "wrong", "AccessDenied").await;
    ask_for(&world, "hallpass-provisioner", "unknown", &new).await;
    ask_for(
        &world,
        "ReportsReader",
        "sts:ExternalId",
        "aws:PrincipalTag/x",
    )
    .await;
    ask_for(&world, "ReportsReader", "StringEquals", "StringNotEquals").await;
    is(&reader, "wrong", "does not ask for it").await;
}

#[tokio::test]
async fn somebody_who_may_only_approve_less_may_say_no_and_decisions_are_bounded() {
    let world = Private::start_with_pack(|pack| {
        let path = pack.join("policies/20-access.cedar");
        let text = std::fs::read_to_string(&path).unwrap();
        let all = "when { principal in resource.entitlement.owners };";
        let less = "when { principal in resource.entitlement.owners && resource.seconds <= 600 };";
        assert!(text.contains(all));
        std::fs::write(path, text.replacen(all, less, 1)).unwrap();
    })
    .await;
    let _service = world.serve("all").await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let asked = alice.ask("prod-export", 3600).await.unwrap();
    let whole = bob.decide(&asked.name, Verdict::Approve).await.unwrap_err();
    assert_eq!(harness::reason_of(&whole), "POLICY_DENIED", "{whole:?}");
    let denied = bob.decide(&asked.name, Verdict::Deny).await.unwrap();
    assert_eq!(denied.state(), State::Denied, "{denied:?}");

    let asked = alice.ask("prod-export", 600).await.unwrap();
    for _ in 0..4 {
        let waits = bob.decide(&asked.name, Verdict::Approve).await.unwrap();
        assert_eq!(waits.state(), State::AwaitingApproval);
    }
    let full = bob.decide(&asked.name, Verdict::Approve).await.unwrap_err();
    assert!(violates(&full, "LIMIT"), "{full:?}");
    assert!(full.message().contains("takes no more"), "{full:?}");
    let denied = bob.decide(&asked.name, Verdict::Deny).await.unwrap();
    assert_eq!(denied.state(), State::Denied, "{denied:?}");
}
