//! `audit activity` over files in CloudTrail's form, for a request whose sessions were really issued.

use harness::{Cli, Shared};
use serde_json::{Value, json};

/// A record of a call by a session of `role`.
fn record(n: u32, call: &str, error: Option<&str>, role: &str, session: [&str; 3]) -> Value {
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
    let asked = [
        "request",
        "sandbox-reports",
        "--for",
        "5m",
        "-m",
        "look",
        "--yes",
    ];
    let id = alice.run(&asked).await.id();
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
