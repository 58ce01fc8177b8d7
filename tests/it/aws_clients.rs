//! The AWS CLI and boto3 as users run them: configured by `hallpass configure`, with credentials
//! from `credential-process` or from `exec --serve`, against the emulator.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking"
)]

use std::process::Stdio;

use hallpass_seal::SecretCredentials;
use hallpass_standins::AwsClients;
use harness::{Cli, Reading, Shared, until_within};
use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use zeroize::Zeroizing;

const PROFILE: &str = "sandbox-reports";

/// One boto3 client for its whole life: lists the bucket for each line on standard input.
const READER: &str = r#"
import sys, boto3
s3 = boto3.client("s3")
for line in sys.stdin:
    try:
        s3.list_objects_v2(Bucket="sandbox-reports")
        key = s3._request_signer._credentials.get_frozen_credentials().access_key
        print("allowed", key, flush=True)
    except Exception as error:
        print("refused", " ".join(str(error).split()), flush=True)
"#;

pub(crate) async fn clients() -> AwsClients {
    harness::aws_clients().await
}

/// A program with one boto3 client.
struct Reader {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Reader {
    fn new(mut child: Child) -> Self {
        Self {
            stdin: child.stdin.take().unwrap(),
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    async fn read(&mut self) -> (String, String) {
        self.stdin.write_all(b"read\n").await.unwrap();
        let next = tokio::time::timeout(harness::PATIENCE, self.lines.next_line());
        let line = next.await.expect("an answer").unwrap().expect("a line");
        let (verdict, rest) = line.split_once(' ').unwrap();
        (verdict.to_owned(), rest.to_owned())
    }

    async fn end(mut self) -> Option<i32> {
        drop(self.stdin);
        self.child.wait().await.unwrap().code()
    }
}

pub(crate) fn aws_variables(cli: Cli) -> Cli {
    cli.with("AWS_EC2_METADATA_DISABLED", "true")
        .with("AWS_MAX_ATTEMPTS", "1")
        .with("AWS_REGION", "us-east-1")
}

/// What `aws s3api list-objects-v2` answers.
pub(crate) async fn list(
    cli: &Cli,
    clients: &AwsClients,
    profile: &str,
    bucket: &str,
) -> (i32, String) {
    let output = cli
        .other(&clients.aws)
        .args([
            "--profile",
            profile,
            "s3api",
            "list-objects-v2",
            "--bucket",
            bucket,
        ])
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let all = text(&output.stdout) + &text(&output.stderr);
    (output.status.code().unwrap(), all)
}

fn process_credentials(value: &serde_json::Value) -> SecretCredentials {
    let text = |name: &str| value[name].as_str().unwrap().to_owned();
    SecretCredentials::new(
        text("AccessKeyId"),
        Zeroizing::new(text("SecretAccessKey")),
        Zeroizing::new(text("SessionToken")),
        Timestamp::MAX,
    )
}

async fn end_of(alice: &Cli, id: &str) -> Timestamp {
    let shown = alice.run(&["show", id, "-o", "json"]).await.json();
    shown["endTime"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_aws_cli_and_boto3_work_within_the_grant_and_learn_of_its_end_from_hallpass() {
    let clients = clients().await;
    let world = Shared::own(|_| {}).await;
    let alice = aws_variables(Cli::of(&world, "alice"));
    alice.run(&["configure", PROFILE]).await.expect(0);
    let (code, text) = list(&alice, &clients, PROFILE, PROFILE).await;
    assert_ne!(code, 0, "{text}");
    assert!(
        text.contains("you have no active access to sandbox-reports"),
        "{text}"
    );
    assert!(text.contains("request sandbox-reports -m WHY"), "{text}");

    let ask = |span| ["request", PROFILE, "--for", span, "-m", "look", "--no-wait"];
    let id = alice.run(&ask("40s")).await.id();
    let (code, text) = list(&alice, &clients, PROFILE, PROFILE).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("reports/2026-q3.csv"), "{text}");
    let old = alice.run(&["creds", &id]).await.json();
    let boto3 = alice
        .other(&clients.python)
        .args(["-c", READER])
        .env("AWS_PROFILE", PROFILE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = Reader::new(boto3);
    let (verdict, first_key) = reader.read().await;
    assert_eq!(verdict, "allowed", "{first_key}");

    // Asking again moves the end; the old session keeps its own, so the program must be renewed.
    let first_end = end_of(&alice, &id).await;
    let extended = alice.run(&ask("10m")).await;
    assert_eq!(extended.id(), id);
    assert!(extended.stderr.contains("EXTENDED"), "{extended:?}");
    until_within(harness::PATIENCE, "the first session's end", || {
        let is_over = Timestamp::now() > first_end;
        async move { is_over.then_some(()) }
    })
    .await;
    let old = world.aws().read(&process_credentials(&old), PROFILE).await;
    assert!(matches!(old, Reading::Refused(_)), "{old:?}");
    let (verdict, second_key) = reader.read().await;
    assert_eq!(verdict, "allowed", "{second_key}");
    assert_ne!(
        second_key, first_key,
        "a new session, without the program noticing"
    );
    let (code, text) = list(&alice, &clients, PROFILE, PROFILE).await;
    assert_eq!(code, 0, "{text}");

    alice.run(&["return", &id]).await.expect(0);
    let (verdict, why) = reader.read().await;
    assert_eq!(verdict, "refused", "{why}");
    assert!(why.contains("request sandbox-reports -m WHY"), "{why}");
    let (code, text) = list(&alice, &clients, PROFILE, PROFILE).await;
    assert_ne!(code, 0, "{text}");
    assert!(text.contains("request sandbox-reports -m WHY"), "{text}");
    assert_eq!(reader.end().await, Some(0));

    alice.run(&["configure", "--remove"]).await.expect(0);
    let config = std::fs::read_to_string(alice.home().join(".aws/config")).unwrap();
    assert_eq!(config, "");
}

#[tokio::test]
async fn a_served_boto3_program_holds_no_key_and_outlives_its_first_session() {
    let clients = clients().await;
    let world = Shared::own(|_| {}).await;
    let alice = aws_variables(Cli::of(&world, "alice"));
    let ask = |span| ["request", PROFILE, "--for", span, "-m", "look", "--no-wait"];
    let id = alice.run(&ask("40s")).await.id();
    let python = clients.python.to_str().unwrap();
    let script =
        format!("assert 'AWS_SECRET_ACCESS_KEY' not in __import__('os').environ\n{READER}");
    let served = alice.start(&["exec", PROFILE, "--serve", "--", python, "-c", &script]);
    let mut reader = Reader::new(served);
    let (verdict, first_key) = reader.read().await;
    assert_eq!(verdict, "allowed", "{first_key}");
    let first_end = end_of(&alice, &id).await;
    alice.run(&ask("10m")).await.expect(0);
    until_within(harness::PATIENCE, "the first session's end", || {
        let is_over = Timestamp::now() > first_end;
        async move { is_over.then_some(()) }
    })
    .await;
    let (verdict, second_key) = reader.read().await;
    assert_eq!(verdict, "allowed", "{second_key}");
    assert_ne!(second_key, first_key);
    alice.run(&["return", &id]).await.expect(0);
    let (verdict, why) = reader.read().await;
    assert_eq!(verdict, "refused", "{why}");
    assert_eq!(reader.end().await, Some(0));
}
