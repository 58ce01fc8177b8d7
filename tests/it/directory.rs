//! People are looked up again: whoever left, or lost the group, while a request waited does not
//! count, and a directory that is away lets nobody pass.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use aws_sdk_identitystore::config::{BehaviorVersion, Region};
use aws_sdk_identitystore::types::MemberId;
use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{AccessRequest, Verdict};
use hallpass_standins::{Moto, MotoTool, Tools};
use harness::{Clients, Private, ScimService, activities, request_of, until, uuid, workflow_of};
use tonic::Code;

/// All that the record says about why.
fn words(request: &AccessRequest) -> String {
    let answers = request.policy_answers.iter();
    let answers: Vec<_> = answers.flat_map(|a| a.messages.clone()).collect();
    format!("{} {}", answers.join(" "), request.note)
}

async fn waits(client: &Clients, name: &str, needle: &str) -> AccessRequest {
    let request = until(needle, || async {
        let request = client.get(name).await.ok()?;
        words(&request).contains(needle).then_some(request)
    })
    .await;
    assert_eq!(request.state(), State::AwaitingApproval, "{request:?}");
    request
}

async fn with_scim() -> (Private, ScimService) {
    let (private, scim) = tokio::join!(Private::start(), ScimService::start());
    private.look_people_up_in(&scim);
    scim.put("alice", true, &["engineering"]);
    scim.put("bob", true, &["engineering", "reports-owners"]);
    scim.put(
        "carol",
        true,
        &["everyone", "other", "reports-owners", "security"],
    );
    scim.put("dave", true, &["admins", "security"]);
    (private, scim)
}

#[tokio::test]
async fn whoever_left_or_lost_the_group_meanwhile_does_not_count() {
    let (private, scim) = with_scim().await;
    let _service = private.serve("all").await;
    let alice = private.client("alice").await;
    let bob = private.client("bob").await;
    let carol = private.client("carol").await;

    // The token still has the group, the directory does not.
    let asked = alice.ask("prod-reports", 300).await.unwrap();
    scim.put("bob", true, &["engineering"]);
    let decided = bob.decide(&asked.name, Verdict::Approve).await.unwrap();
    assert_eq!(decided.state(), State::AwaitingApproval, "{decided:?}");
    assert_eq!(decided.approvals.unwrap().counted.unwrap().distinct, 0);
    scim.put("bob", true, &["engineering", "reports-owners"]);

    // An approval that counted does not any more once its maker is deactivated, or deleted.
    let asked = alice.ask("prod-export", 300).await.unwrap();
    bob.decide(&asked.name, Verdict::Approve).await.unwrap();
    scim.put("bob", false, &["engineering", "reports-owners"]);
    carol.decide(&asked.name, Verdict::Approve).await.unwrap();
    let request = waits(&alice, &asked.name, "bob does not count").await;
    assert!(
        words(&request).contains("is not active any more"),
        "{request:?}"
    );
    scim.delete("bob");
    scim.lists_groups_with_users(true);
    let dave = private.client("dave").await;
    dave.decide(&asked.name, Verdict::Approve).await.unwrap();
    let request = alice.watch_until(&asked.name, State::Active).await;
    assert!(
        words(&request).contains("is not there any more"),
        "{request:?}"
    );

    // A requester who left is not given what others approve.
    let asked = alice.ask("prod-reports", 300).await.unwrap();
    scim.put("alice", false, &["engineering"]);
    carol.decide(&asked.name, Verdict::Approve).await.unwrap();
    let request = carol.get(&asked.name).await.unwrap();
    assert_eq!(request.state(), State::AwaitingApproval, "{request:?}");
    let refused = alice.ask("prod-reports", 300).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(
        refused.message().contains("is not active any more"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_directory_that_is_away_lets_nobody_pass_and_the_request_says_so() {
    let (private, scim) = with_scim().await;
    let _service = private.serve("all").await;
    let alice = private.client("alice").await;
    scim.is_down(true);
    let key = uuid();
    let body = || request_of("sandbox-reports", 300);
    let waiting = alice.create(body(), &key).await.unwrap_err();
    assert_eq!(waiting.code(), Code::Unavailable, "{waiting:?}");
    assert!(
        waiting.message().contains("the directory at 127.0.0.1"),
        "{waiting:?}"
    );
    assert!(waiting.message().contains("503"), "{waiting:?}");
    scim.is_down(false);
    let asked = until("the directory is back", || async {
        alice.create(body(), &key).await.ok()
    })
    .await;
    alice.watch_until(&asked.name, State::Active).await;
}

/// A request that an owner has approved, which is being weighed for as long as the directory is away.
async fn being_weighed(private: &Private, scim: &ScimService) -> AccessRequest {
    let (alice, bob) = (private.client("alice").await, private.client("bob").await);
    let asked = alice.ask("prod-reports", 300).await.unwrap();
    scim.is_down(true);
    let name = asked.name.clone();
    let recorded = bob.decide(&name, Verdict::Approve).await.unwrap();
    assert_eq!(recorded.state(), State::AwaitingApproval, "{recorded:?}");
    until("the approval is weighed", || async {
        let history = private.engine().history(&workflow_of(&name)).await;
        let weighed = activities(&history).contains(&"hallpass.weigh".to_owned());
        weighed.then_some(())
    })
    .await;
    asked
}

#[tokio::test]
async fn a_word_that_comes_while_an_approval_is_weighed_counts() {
    let (private, scim) = with_scim().await;
    let _service = private.serve("all").await;
    let (alice, carol) = (private.client("alice").await, private.client("carol").await);
    let over = async |name: &str| {
        until("it is over", || async {
            let now = alice.get(name).await.ok()?;
            (now.state() != State::AwaitingApproval).then_some(now)
        })
        .await
    };
    let asked = being_weighed(&private, &scim).await;
    alice.withdraw(&asked.name).await.unwrap();
    scim.is_down(false);
    let gone = over(&asked.name).await;
    assert_eq!(gone.state(), State::Withdrawn, "{gone:?}");

    let asked = being_weighed(&private, &scim).await;
    let recorded = carol.decide(&asked.name, Verdict::Deny).await.unwrap();
    assert_eq!(recorded.state(), State::AwaitingApproval, "{recorded:?}");
    scim.is_down(false);
    let denied = over(&asked.name).await;
    assert_eq!(denied.state(), State::Denied, "{denied:?}");
    for request in [gone, denied] {
        let history = private.engine().history(&workflow_of(&request.name)).await;
        assert!(!activities(&history).contains(&"hallpass.provision".to_owned()));
    }
}

/// The users of an identity store, as an administrator makes them.
async fn identity_store(endpoint: &str) -> aws_sdk_identitystore::Client {
    let keys = aws_credential_types::Credentials::new("test", "test", None, None, "test");
    let config = aws_sdk_identitystore::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(keys)
        .build();
    aws_sdk_identitystore::Client::from_conf(config)
}

const STORE: &str = "d-1234567890";

async fn user(store: &aws_sdk_identitystore::Client, name: &str) -> String {
    let name_of = aws_sdk_identitystore::types::Name::builder()
        .given_name(name)
        .family_name("Example")
        .build();
    let user = store
        .create_user()
        .identity_store_id(STORE)
        .user_name(name)
        .display_name(name)
        .name(name_of)
        .send();
    user.await.unwrap().user_id().to_owned()
}

async fn group(store: &aws_sdk_identitystore::Client, name: &str) -> String {
    let group = store
        .create_group()
        .identity_store_id(STORE)
        .display_name(name);
    group.send().await.unwrap().group_id().to_owned()
}

async fn join(store: &aws_sdk_identitystore::Client, group: &str, user: &str) -> String {
    let membership = store
        .create_group_membership()
        .identity_store_id(STORE)
        .group_id(group)
        .member_id(MemberId::UserId(user.to_owned()));
    membership.send().await.unwrap().membership_id().to_owned()
}

#[tokio::test]
async fn identity_center_says_who_is_there_and_in_which_groups() {
    let dir = tempfile::tempdir().unwrap();
    let tools = Tools::default_dir().unwrap();
    let install = move || MotoTool::locate_or_install(&tools, &());
    let tool = tokio::task::spawn_blocking(install).await.unwrap().unwrap();
    let (private, moto) = tokio::join!(Private::start(), Moto::start(&tool, dir.path()));
    let moto = moto.unwrap();
    let store = identity_store(&moto.endpoint()).await;
    let (alice_id, bob_id) = (user(&store, "alice").await, user(&store, "bob").await);
    let engineering = group(&store, "engineering").await;
    let owners = group(&store, "reports-owners").await;
    join(&store, &engineering, &alice_id).await;
    join(&store, &engineering, &bob_id).await;
    let owns = join(&store, &owners, &bob_id).await;

    let issuer = private.issuer.issuer().to_owned();
    private.configure(|config| {
        let mut directory = toml::toml! {
            kind = "identity_center"
            lookup = "user_name"
            [store]
            id = "d-1234567890"
            region = "us-east-1"
        };
        directory["store"]
            .as_table_mut()
            .unwrap()
            .insert("endpoint_url".to_owned(), moto.endpoint().into());
        directory.insert("issuers".to_owned(), vec![issuer].into());
        config.insert("directory".to_owned(), directory.into());
    });
    let _service = private.serve("all").await;
    let alice = private.client("alice").await;
    let bob = private.client("bob").await;
    // Carol has a token, and is in no store.
    let carol = private.client("carol").await;
    let refused = carol.ask("prod-reports", 300).await.unwrap_err();
    assert!(
        refused.message().contains("is not there any more"),
        "{refused:?}"
    );

    let asked = alice.ask("prod-reports", 300).await.unwrap();
    let leave = store
        .delete_group_membership()
        .identity_store_id(STORE)
        .membership_id(owns);
    leave.send().await.unwrap();
    let decided = bob.decide(&asked.name, Verdict::Approve).await.unwrap();
    assert_eq!(decided.state(), State::AwaitingApproval, "{decided:?}");
    join(&store, &owners, &bob_id).await;
    bob.decide(&asked.name, Verdict::Approve).await.unwrap();
    alice.watch_until(&asked.name, State::Active).await;
}
