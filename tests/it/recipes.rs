//! The recipes of examples/recipes, added to the sample pack and used as they say.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

use harness::{Cli, Ran, Shared};

use crate::aws_clients::{aws_variables, clients, list};

const RECIPES: [&str; 5] = [
    "github-actions",
    "kubernetes",
    "workato",
    "mulesoft",
    "api-gateway",
];
const ACCOUNT: &str = "444455556666";
const BUCKET: &str = "sandbox-reports";

/// Requesters with subjects as these issuers write them: name and subject.
const WORKLOADS: [(&str, &str); 4] = [
    ("github-shop", "repo:acme/shop:environment:production"),
    ("github-pull", "repo:acme/shop:pull_request"),
    ("k8s-deployer", "system:serviceaccount:shop:deployer"),
    ("k8s-default", "system:serviceaccount:default:default"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/recipes")
}

fn read(path: &str) -> String {
    fs::read_to_string(folder().join(path)).expect(path)
}

fn append(path: &Path, text: &str) {
    let before = fs::read_to_string(path).unwrap();
    fs::write(path, format!("{before}\n{text}")).unwrap();
}

/// Adds every recipe to the pack, and the second project's new external id as one more entitlement.
fn add_recipes(pack: &Path) {
    let entitlements = pack.join("entitlements.toml");
    for recipe in RECIPES {
        append(&entitlements, &read(&format!("{recipe}/entitlements.toml")));
        let mut policy = read(&format!("{recipe}/policy.cedar"));
        for issuer in [
            "https://token.actions.githubusercontent.com",
            "https://kubernetes.example.com",
        ] {
            // The issuer that mints here is on a port of its own.
            let named = format!("principal.issuer == \"{issuer}\"");
            policy = policy.replace(&named, "principal.issuer like \"http://127.0.0.1:*\"");
        }
        fs::write(pack.join(format!("policies/30-{recipe}.cedar")), policy).unwrap();
    }
    let rotated = read("workato/entitlements.toml");
    let (orders, _) = rotated.split_once("\n\n[[entitlement]]").unwrap();
    let rotated = orders
        .replace("\"workato-orders\"", "\"workato-orders-rotated\"")
        .replace(
            "external_id = \"wk-orders-1\"",
            "external_id = \"wk-orders-2\"\nprevious_external_id = \"wk-orders-1\"",
        );
    append(&entitlements, &rotated);
    let policy = read("workato/policy.cedar")
        .replace("pipelines-run-connections", "pipelines-run-rotated")
        .replace("\"workato-orders\"", "\"workato-orders-rotated\"");
    fs::write(pack.join("policies/31-rotated.cedar"), policy).unwrap();
    for (name, subject) in WORKLOADS {
        let person = format!(
            "[[people]]\nname = \"{name}\"\nsubject = \"{subject}\"\nkind = \"workload\"\n"
        );
        append(&pack.join("people.toml"), &person);
    }
}

/// Runs the AWS CLI by `hallpass exec ENTITLEMENT`, which asks.
async fn exec(cli: &Cli, entitlement: &str, options: &[&str], aws: &[&str]) -> Ran {
    let program = clients().await.aws;
    let ask = ["exec", entitlement, "--for", "10m", "-m", "run 7"];
    let command = ["--", program.to_str().unwrap()];
    cli.run(&[&ask[..], options, &command, aws].concat()).await
}

/// A profile's session as shell commands, as `assume` puts it into a shell.
const EXPORT: &str = r#"
import sys, boto3
session = boto3.Session(profile_name=sys.argv[1])
given = session.get_credentials().get_frozen_credentials()
print(f"export AWS_ACCESS_KEY_ID='{given.access_key}'")
print(f"export AWS_SECRET_ACCESS_KEY='{given.secret_key}'")
print(f"export AWS_SESSION_TOKEN='{given.token}'")
"#;

const LIST: [&str; 4] = ["s3api", "list-objects-v2", "--bucket", BUCKET];

#[tokio::test]
async fn pipelines_get_what_their_subject_is_for_and_nothing_else() {
    let world = Shared::own(add_recipes).await;
    let person = |name| aws_variables(Cli::of(&world, name));
    for (name, entitlement) in [
        ("github-shop", "github-deploy"),
        ("k8s-deployer", "kubernetes-deploy"),
    ] {
        let ran = exec(&person(name), entitlement, &[], &LIST).await;
        assert!(ran.expect(0).contains("reports/2026-q3.csv"), "{ran:?}");
    }
    for (name, entitlement) in [
        ("github-pull", "github-deploy"),
        ("k8s-default", "kubernetes-deploy"),
        ("k8s-deployer", "github-deploy"),
    ] {
        let ran = exec(&person(name), entitlement, &[], &LIST).await;
        assert_eq!(ran.expect(2), "", "{ran:?}");
        assert!(ran.stderr.contains("WILL BE DENIED"), "{ran:?}");
    }

    // One role for each flow, served without a key.
    let bot = person("deploy-bot");
    let flow = exec(&bot, "flow-orders-export", &["--serve"], &LIST).await;
    assert!(flow.expect(0).contains("reports/2026-q3.csv"), "{flow:?}");
    let put = [
        "s3api",
        "put-object",
        "--bucket",
        BUCKET,
        "--key",
        "reports/x",
    ];
    let flow = exec(&bot, "flow-orders-export", &["--serve"], &put).await;
    assert_ne!(flow.code, 0, "{flow:?}");
    assert!(flow.stderr.contains("AccessDenied"), "{flow:?}");

    // One stage and one method, by parameter; policy says which.
    let call = ["request", "api-orders-call", "--for", "10m", "-m", "run 7"];
    let call = [&call[..], &["--param", "stage=prod"]].concat();
    let post = [&call[..], &["--param", "method=POST"]].concat();
    assert_eq!(bot.run(&post).await.expect(2), "");
    let wide = [&call[..6], &["--param", "stage=*"]].concat();
    let wide = bot.run(&wide).await;
    wide.expect(64);
    assert!(wide.stderr.contains("--param stage must be"), "{wide:?}");
    let id = bot.run(&call).await.id();
    let role = format!("hallpass-{id}");
    let aws = world.aws();
    let names = aws.role_policies(ACCOUNT, &role).await;
    let mut documents = String::new();
    for name in &names {
        let ask = [
            ("Action", "GetRolePolicy"),
            ("RoleName", role.as_str()),
            ("PolicyName", name.as_str()),
        ];
        documents.push_str(&aws.as_root(ACCOUNT, &ask).await);
    }
    let arn = "arn:aws:execute-api:us-east-1:444455556666:a1b2c3d4e5/prod/GET/orders";
    let decoded = url::form_urlencoded::parse(format!("d={documents}").as_bytes())
        .map(|(_, value)| value.into_owned())
        .collect::<String>()
        .replace("&quot;", "\"");
    assert!(decoded.contains(arn), "{names:?} {decoded}");
    assert_eq!(
        decoded.matches("execute-api:Invoke").count(),
        1,
        "{decoded}"
    );
    assert!(decoded.contains("aws:SecureTransport"), "{decoded}");
}

/// Makes or changes the role of a Workato project, which accepts these external ids.
async fn connection(world: &Shared, role: &str, external_ids: &str) {
    let trust = read("workato/trust.json").replace("\"wk-orders-1\"", external_ids);
    let permissions = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::{BUCKET}"}}]}}"#
    );
    let aws = world.aws();
    let (role_name, policy_name) = (("RoleName", role), ("PolicyName", "permissions"));
    if !aws.role_exists(ACCOUNT, role).await {
        let trust = ("AssumeRolePolicyDocument", trust.as_str());
        aws.as_root(ACCOUNT, &[("Action", "CreateRole"), role_name, trust])
            .await;
        let document = ("PolicyDocument", permissions.as_str());
        let put = [
            ("Action", "PutRolePolicy"),
            role_name,
            policy_name,
            document,
        ];
        aws.as_root(ACCOUNT, &put).await;
    }
    let change = [
        ("Action", "UpdateAssumeRolePolicy"),
        role_name,
        ("PolicyDocument", trust.as_str()),
    ];
    aws.as_root(ACCOUNT, &change).await;
}

#[tokio::test]
async fn each_connection_has_an_external_id_that_rotates_without_an_interruption() {
    let world = Shared::own(add_recipes).await;
    let bot = aws_variables(Cli::of(&world, "deploy-bot"));
    connection(&world, "WorkatoOrders", "\"wk-orders-1\"").await;
    connection(&world, "WorkatoBilling", "\"wk-billing-1\"").await;
    let assume = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity","iam:GetRole","iam:GetRolePolicy","iam:PutRolePolicy","iam:DeleteRolePolicy","iam:ListRolePolicies"],"Resource":"arn:aws:iam::{ACCOUNT}:role/Workato*"}}]}}"#
    );
    let put = [
        ("Action", "PutRolePolicy"),
        ("RoleName", "hallpass-provisioner"),
        ("PolicyName", "workato"),
        ("PolicyDocument", assume.as_str()),
    ];
    world.aws().as_root(ACCOUNT, &put).await;

    let run = async |entitlement: &str| {
        let ran = exec(&bot, entitlement, &[], &LIST).await;
        ran.code == 0 && ran.stdout.contains("reports/2026-q3.csv")
    };
    assert!(run("workato-orders").await && run("workato-billing").await);
    assert!(
        run("workato-orders-rotated").await,
        "the role does not know the new id yet, and the old one is tried"
    );
    connection(&world, "WorkatoOrders", "\"wk-orders-2\"").await;
    assert!(run("workato-orders-rotated").await);
    assert!(
        !run("workato-orders").await,
        "the old id opens nothing any more"
    );
    assert!(
        run("workato-billing").await,
        "other projects are not touched"
    );
}

#[tokio::test]
async fn terraform_and_granted_find_the_profile_that_configure_writes() {
    let clients = clients().await;
    let world = Shared::own(|_| {}).await;
    let alice = aws_variables(Cli::of(&world, "alice"));
    let terraform = read("terraform/main.tf");
    let quoted = terraform.split_once("profile = \"").unwrap().1;
    let profile = quoted.split_once('"').unwrap().0;
    alice.run(&["configure", profile]).await.expect(0);
    let ask = ["request", profile, "--for", "10m", "-m", "CHG-7: plan"];
    alice.run(&ask).await.expect(0);
    let (code, text) = list(&alice, &clients, profile, BUCKET).await;
    assert_eq!(code, 0, "{text}");
    // What `assume` does: take the profile's session once, for a shell.
    let output = alice
        .other(&clients.python)
        .args(["-c", EXPORT, profile])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("export AWS_SESSION_TOKEN="), "{output:?}");
    let script = format!("{text}\nexec \"$@\"");
    let shell = alice
        .other("sh")
        .args(["-c", &script, "sh"])
        .arg(&clients.aws)
        .args(LIST)
        .output()
        .await
        .unwrap();
    assert!(shell.status.success(), "{shell:?}");
}
