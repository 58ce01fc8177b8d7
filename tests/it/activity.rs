//! `audit activity` over files in CloudTrail's form, for a request whose sessions were really issued.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::io::Write as _;

use hallpass_aws::{SignedHttp, SignedRequest};
use hallpass_seal::SecretCredentials;
use harness::{Cli, Private, Shared, issue};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use zeroize::Zeroizing;

const ASK: [&str; 7] = [
    "request",
    "sandbox-reports",
    "--for",
    "5m",
    "-m",
    "look",
    "--yes",
];

/// A record of a call by a session of `role`.
pub(crate) fn record(
    n: u32,
    call: &str,
    error: Option<&str>,
    role: &str,
    session: [&str; 3],
) -> Value {
    let [key, principal, identity] = session;
    let mut context = json!({ "sessionIssuer": { "type": "Role", "arn": role } });
    if !identity.is_empty() {
        context["sourceIdentity"] = identity.into();
    }
    json!({
        "eventVersion": "1.09",
        "eventID": format!("6f9a2f4e-0000-4000-8000-{n:012}"),
        "eventTime": format!("2026-01-01T00:00:{n:02}Z"),
        "eventSource": "s3.amazonaws.com",
        "eventName": call,
        "awsRegion": "us-east-1",
        "errorCode": error,
        "sourceIPAddress": "198.51.100.7",
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": principal,
            "accessKeyId": key,
            "sessionContext": context,
        },
    })
}

#[tokio::test]
async fn calls_are_listed_with_their_request_and_the_unexplained_are_told() {
    let world = Shared::get().await;
    let (alice, erin) = (Cli::of(world, "alice"), Cli::of(world, "erin"));
    let id = alice.run(&ASK).await.id();
    alice.run(&["creds", &id]).await.expect(0);
    let shown = alice.run(&["show", &id, "--output", "json"]).await.json();
    let role = shown["roleArn"].as_str().unwrap();
    let issued = &shown["issuedCredentials"][0];
    let text = |field: &str| issued[field].as_str().unwrap().to_owned();
    let (key, principal) = (text("accessKeyId"), text("assumedRoleId"));

    let trail = tempfile::tempdir().unwrap();
    let folder = trail.path().join("111122223333/us-east-1");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, records: Vec<Value>| {
        let text = json!({ "Records": records }).to_string();
        std::fs::write(folder.join(name), text).unwrap();
    };
    let ours = [key.as_str(), principal.as_str(), id.as_str()];
    let list = record(1, "ListObjects", None, role, ours);
    let denied = record(2, "DeleteObject", Some("AccessDenied"), role, ours);
    let elsewhere = record(
        3,
        "ListObjects",
        None,
        "arn:aws:iam::111122223333:role/Other",
        ["ASIAOTHER", "AROAX:y", ""],
    );
    write("one.json", vec![list.clone(), elsewhere]);
    write("two.json", vec![list, denied]);
    std::fs::write(folder.join("notes.txt"), "no trail").unwrap();

    let from = trail.path().to_str().unwrap().to_owned();
    let activity = [
        "audit", "activity", &id, "--from", &from, "--output", "json",
    ];
    let found = erin.run(&activity).await;
    assert_eq!(found.code, 0, "{found:?}");
    let found = found.json();
    let calls: Vec<_> = found["explained"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (&d["call"], &d["outcome"]))
        .collect();
    assert_eq!(
        json!(calls),
        json!([["s3:ListObjects", "allowed"], ["s3:DeleteObject", "denied"]])
    );
    assert_eq!(found["unexplained"], json!([]));

    // A session of the role that nobody was issued, and one that names a request that is not there.
    let stolen = ["ASIASTOLEN", "AROASTOLEN:x", ""];
    let invented = [
        "ASIAINVENTED",
        "AROAINVENTED:x",
        "ar-0123456789abcdefghjkmnpqrs",
    ];
    write(
        "three.json",
        vec![
            record(4, "GetObject", None, role, stolen),
            record(5, "GetObject", None, role, invented),
        ],
    );
    let found = erin.run(&activity).await;
    assert_eq!(found.code, 1, "{found:?}");
    assert_eq!(found.json()["unexplained"].as_array().unwrap().len(), 2);

    write("four.json", vec![json!({ "eventName": "x" })]);
    let ran = erin.run(&["audit", "activity", &id, "--from", &from]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("four.json"), "{ran:?}");
}

/// The account of the service's own identity.
const HUB: &str = "999988887777";

/// A bucket that a trail is delivered to, and the service configured to read it.
pub(crate) async fn trails(world: &Private) -> SignedHttp {
    let s3 = SignedHttp::new(Some(world.ministack.endpoint().parse().unwrap())).unwrap();
    let make = SignedRequest::put("s3", "us-east-1", "/trails", Vec::new());
    assert_eq!(s3.send(&root(), make).await.unwrap().status, 200);
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":"*"}]}"#;
    let parameters = [
        ("Action", "PutUserPolicy"),
        ("UserName", "hallpass-service"),
        ("PolicyName", "trails"),
        ("PolicyDocument", policy),
    ];
    world.aws().as_root(HUB, &parameters).await;
    world.configure(|config| {
        let trail = "trail = { bucket = \"trails\", prefix = \"org/\", organization = \"o-x\" }";
        config.insert(
            "cloudtrail".to_owned(),
            trail.parse::<toml::Table>().unwrap().into(),
        );
    });
    s3
}

fn root() -> SecretCredentials {
    SecretCredentials::new(
        HUB.to_owned(),
        Zeroizing::new(hallpass_standins::ROOT_SECRET_ACCESS_KEY.to_owned()),
        Zeroizing::new(String::new()),
        Timestamp::MAX,
    )
}

/// Delivers a file as CloudTrail names it.
pub(crate) async fn deliver(s3: &SignedHttp, account: &str, at: Timestamp, content: Vec<u8>) {
    let (day, stamp) = (at.strftime("%Y/%m/%d"), at.strftime("%Y%m%dT%H%MZ"));
    let name = format!("{account}_CloudTrail_us-east-1_{stamp}_aB3x.json.gz");
    let path = format!("/trails/org/AWSLogs/o-x/{account}/CloudTrail/us-east-1/{day}/{name}");
    let put = SignedRequest::put("s3", "us-east-1", &path, content);
    assert_eq!(s3.send(&root(), put).await.unwrap().status, 200);
}

pub(crate) fn packed(records: Vec<Value>) -> Vec<u8> {
    let text = json!({ "Records": records }).to_string();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

#[tokio::test]
async fn the_service_reads_its_trail_and_only_what_the_request_can_be_about() {
    let world = Private::start().await;
    let s3 = trails(&world).await;
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-reports", 300).await.unwrap();
    issue(&alice, &request.name).await.unwrap();
    let shown = alice.get(&request.name).await.unwrap();
    let id = request.name.trim_start_matches("accessRequests/");
    let issued = &shown.issued_credentials[0];
    let role = shown.role_arn.as_str();
    let account = role.split(':').nth(4).unwrap();
    let ours = [issued.access_key_id.as_str(), &issued.assumed_role_id, id];
    let stolen = ["ASIASTOLEN", "AROASTOLEN:x", ""];
    let other = ["ASIAOTHER", "AROAX:y", ""];
    let elsewhere = "arn:aws:iam::111122223333:role/Other";
    let records = vec![
        record(1, "ListObjects", None, role, ours),
        record(2, "DeleteObject", Some("AccessDenied"), role, ours),
        record(3, "GetObject", None, role, stolen),
        record(4, "GetObject", None, elsewhere, other),
    ];
    let now = Timestamp::now();
    deliver(&s3, account, now, packed(records)).await;
    // Whoever read these would fail.
    let before = now.checked_sub(SignedDuration::from_hours(3)).unwrap();
    deliver(&s3, account, before, b"no gzip".to_vec()).await;
    deliver(&s3, "222233334444", now, b"no gzip".to_vec()).await;

    let activity = |who: &str| {
        tokio::process::Command::new(harness::binary("hallpass"))
            .args(["audit", "activity", id, "--trail", "--output", "json"])
            .env("HALLPASS_SERVER", world.server())
            .env("HALLPASS_TOKEN", world.issuer.mint(who).unwrap())
            .env("HOME", world.dir())
            .output()
    };
    let found = activity("erin").await.unwrap();
    assert_eq!(
        found.status.code(),
        Some(1),
        "something is unexplained: {found:?}"
    );
    let told: Value = serde_json::from_slice(&found.stdout).unwrap();
    let calls = |list: &Value| -> Vec<String> {
        let all = list.as_array().unwrap().iter();
        all.map(|d| format!("{} {}", d["call"], d["outcome"]).replace('"', ""))
            .collect()
    };
    let explained = ["s3:ListObjects allowed", "s3:DeleteObject denied"];
    assert_eq!(calls(&told["explained"]), explained);
    assert_eq!(calls(&told["unexplained"]), ["s3:GetObject allowed"]);

    let refused = activity("alice").await.unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && !said.contains("ListObjects"),
        "{said}"
    );
    assert!(refused.stdout.is_empty(), "{refused:?}");
}

#[tokio::test]
async fn a_service_without_a_trail_says_so() {
    let world = Shared::get().await;
    let (alice, erin) = (Cli::of(world, "alice"), Cli::of(world, "erin"));
    let id = alice.run(&ASK).await.id();
    let ran = erin.run(&["audit", "activity", &id, "--trail"]).await;
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("[cloudtrail]"), "{ran:?}");
}
