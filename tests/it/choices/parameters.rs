//! Values for parameters: checked, signed, decided on, and in the documents that AWS enforces.

use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{AccessRequest, ListEntitlementsRequest, ParameterKind};
use harness::{
    Cli, Clients, Private, Reading, Session, Shared, issue, request_of, uuid, violated_fields,
};
use tonic::Code;

use super::{add_folders, preview};

const ACCOUNT: &str = "444455556666";

fn with(entitlement: &str, values: &[(&str, &str)]) -> AccessRequest {
    let values = values.iter();
    AccessRequest {
        parameters: values
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect(),
        ..request_of(entitlement, 900)
    }
}

async fn open(
    clients: &Clients,
    entitlement: &str,
    values: &[(&str, &str)],
) -> (AccessRequest, Session) {
    let body = with(entitlement, values);
    let request = clients.create(body, &uuid()).await.unwrap();
    let request = clients.watch_until(&request.name, State::Active).await;
    let session = issue(clients, &request.name).await.unwrap();
    (request, session)
}

#[tokio::test]
async fn a_session_reads_its_folder_and_no_other() {
    let world = Shared::own(add_folders).await;
    let alice = world.client("alice").await;
    let aws = world.aws();
    let report = "/sandbox-reports/reports/2026-q3.csv";
    for entitlement in ["folder", "own-folder"] {
        let (request, session) = open(&alice, entitlement, &[("folder", "reports")]).await;
        assert_eq!(request.parameters["folder"], "reports");
        let read = aws.get(&session.secret, report).await;
        assert_eq!(read, Reading::Allowed, "{entitlement}");
        let (_, elsewhere) = open(&alice, entitlement, &[("folder", "report")]).await;
        let read = aws.get(&elsewhere.secret, report).await;
        assert!(
            matches!(read, Reading::Refused(_)),
            "{entitlement}: {read:?}"
        );
    }
    let (request, _) = open(&alice, "own-folder", &[("folder", "a/b")]).await;
    let role = request.role_arn.rsplit('/').next().unwrap();
    let mut documents = String::new();
    for name in aws.role_policies(ACCOUNT, role).await {
        let document = aws.role_policy(ACCOUNT, role, &name).await;
        documents.push_str(&document.unwrap_or_default());
    }
    let filled = "arn:aws:s3:::sandbox-reports/a/b/*";
    assert!(documents.contains(filled), "{documents}");
    let (request, _) = open(&alice, "own-folder", &[]).await;
    assert_eq!(request.parameters["folder"], "none", "the default is told");
}

#[tokio::test]
async fn values_that_do_not_fit_are_refused_by_name_and_policy_decides_on_those_that_do() {
    let world = Shared::own(add_folders).await;
    let alice = world.client("alice").await;
    let long = "a".repeat(129);
    for bad in [
        "*",
        "reports/*",
        "..",
        "reports/../payroll",
        "${aws:username}",
        "a\"b",
        "a'b",
        "{{folder}}",
        "",
        "/reports",
        "reports/",
        "r\u{435}ports",
        "reports\u{202e}",
        "a\nb",
        long.as_str(),
    ] {
        let body = with("folder", &[("folder", bad)]);
        let refused = preview(&alice, body.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{bad:?}");
        let field = ["access_request.parameters.folder"];
        assert_eq!(violated_fields(&refused), field, "{bad:?}");
        let refused = alice.create(body, &uuid()).await.unwrap_err();
        assert_eq!(violated_fields(&refused), field, "{bad:?}");
    }
    for (values, field) in [
        (&[][..], "access_request.parameters.folder"),
        (
            &[("folder", "a"), ("bucket", "b")],
            "access_request.parameters.bucket",
        ),
        (
            &[("folder", "a"), ("x.y\n", "b")],
            "access_request.parameters",
        ),
    ] {
        let refused = preview(&alice, with("folder", values)).await.unwrap_err();
        assert_eq!(violated_fields(&refused), [field], "{values:?}");
    }
    let none = preview(&alice, with("sandbox-reports", &[("folder", "a")])).await;
    let field = ["access_request.parameters.folder"];
    assert_eq!(violated_fields(&none.unwrap_err()), field);

    let (key, body) = (uuid(), with("folder", &[("folder", "payroll")]));
    let denied = alice.create(body, &key).await.unwrap();
    assert_eq!(denied.state(), State::Denied, "{denied:?}");
    assert_eq!(denied.policy_answers[0].policy_ids, ["no-payroll"]);
    let other = alice
        .create(with("folder", &[("folder", "a")]), &key)
        .await
        .unwrap_err();
    assert_eq!(violated_fields(&other), ["request_id"]);
    let deep = preview(&alice, with("folder", &[("folder", "deep/a")])).await;
    assert_eq!(deep.unwrap().state(), State::Denied);
}

#[tokio::test]
async fn the_catalogue_teaches_parameters_and_the_command_line_takes_them() {
    let world = Shared::own(add_folders).await;
    let alice = world.client("alice").await;
    let message = ListEntitlementsRequest::default();
    let list = alice.access.clone().list_entitlements(message).await;
    let list = list.unwrap().into_inner().entitlements;
    let named = |name: &str| list.iter().find(|e| e.name == name).unwrap();
    let folder = &named("entitlements/folder").parameters[0];
    assert_eq!(folder.kind(), ParameterKind::Path);
    assert_eq!(
        (folder.name.as_str(), folder.default_value.as_str()),
        ("folder", "")
    );
    assert!(named("entitlements/sandbox-reports").parameters.is_empty());

    let alice = Cli::of(&world, "alice");
    let catalogue = alice.run(&["entitlements"]).await;
    let line = "  folder  folder: Folder; a path, must be given\n";
    assert!(catalogue.expect(0).contains(line), "{catalogue:?}");
    let ask = |more: &[&'static str]| {
        let usual = ["request", "folder", "--for", "15m", "-m", "CHG-1"];
        [&usual, more].concat()
    };
    let missing = alice.run(&ask(&[])).await;
    missing.expect(64);
    assert!(
        missing.stderr.contains("--param folder must be given"),
        "{missing:?}"
    );
    let plan = alice
        .run(&ask(&["--param", "folder=reports", "--dry-run"]))
        .await;
    assert_eq!(plan.expect(0), "WILL ACTIVATE, with folder=reports\n");
    let first = alice.run(&ask(&["--param", "folder=reports"])).await.id();
    // The same again is the same; another folder is another request.
    let again = alice.run(&ask(&["--param", "folder=reports"])).await;
    assert_eq!(again.id(), first, "{again:?}");
    let other = alice.run(&ask(&["--param", "folder=other"])).await;
    assert_ne!(other.id(), first, "{other:?}");
    // The name alone means two by now; a value says which.
    let name = ["creds", "folder"];
    let which = alice.run(&name).await;
    which.expect(64);
    for told in ["folder=reports", "folder=other", &first] {
        assert!(which.stderr.contains(told), "{which:?}");
    }
    let chosen = [&name[..], &["--param", "folder=reports"]].concat();
    assert_eq!(alice.run(&chosen).await.json()["Version"], 1);
    let write = ["configure", "folder", "--param", "folder=reports"];
    let written = alice.run(&write).await;
    assert_eq!(written.expect(0), "folder-reports\n");
    let give = ["credential-process", "folder", "--param", "folder=other"];
    assert_eq!(alice.run(&give).await.json()["Version"], 1);
    let listed = alice.run(&["ls", "--active"]).await;
    assert!(
        listed.expect(0).contains("folder (folder=reports)"),
        "{listed:?}"
    );
    let shown = alice.run(&["show", &first]).await;
    assert!(shown.expect(0).contains("folder=reports"), "{shown:?}");
    let usage = alice.run(&ask(&["--param", "folder"])).await;
    usage.expect(64);
}

#[tokio::test]
async fn a_link_is_told_beside_the_id_where_one_is_configured() {
    let world = Private::start().await;
    let plain = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-reports", 60).await.unwrap();
    assert_eq!(request.uri, "");
    plain.kill_hard().await;
    let template = "https://look.example.com/r?id={id}";
    world.configure(|config| {
        config.insert("link_template".to_owned(), template.into());
    });
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.get(&request.name).await.unwrap();
    let id = request.name.strip_prefix("accessRequests/").unwrap();
    let link = format!("https://look.example.com/r?id={id}");
    assert_eq!(request.uri, link);
    let previewed = preview(&alice, request_of("sandbox-reports", 60)).await;
    assert!(
        previewed
            .unwrap()
            .uri
            .starts_with("https://look.example.com/r?id=ar-")
    );
}
