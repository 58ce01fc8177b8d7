//! Many callers, few issues: what asks with one id has one session, however often it asks.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{IssueCredentialsRequest, SealedCredentials};
use hallpass_seal::RecipientKey;
use harness::{Clients, Private, Shared, issue, request_of, until, uuid, workflow_of};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const CALLS: usize = 1_000;
const IDS: usize = 10;
const AT_ONCE: usize = 40;

/// Asks as a client does: again, with the same message, while the answer is lost or deferred.
async fn ask(clients: Clients, order: IssueCredentialsRequest) -> SealedCredentials {
    let once = || {
        let (mut access, order) = (clients.access.clone(), order.clone());
        async move {
            let answer: Result<SealedCredentials, Status> = access
                .issue_credentials(order)
                .await
                .map(tonic::Response::into_inner);
            match answer {
                Ok(sealed) => Some(sealed),
                Err(status) => {
                    let again = [Code::Unavailable, Code::ResourceExhausted];
                    assert!(again.contains(&status.code()), "{status}");
                    None
                }
            }
        }
    };
    harness::until("the issue is answered", once).await
}

#[tokio::test]
async fn a_thousand_calls_with_ten_ids_are_ten_issues_and_a_thousand_right_answers() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-reports", 1_800).await.unwrap();
    let keys: Vec<RecipientKey> = (0..IDS).map(|_| RecipientKey::generate()).collect();
    let orders: Vec<IssueCredentialsRequest> = keys
        .iter()
        .map(|key| IssueCredentialsRequest {
            name: request.name.clone(),
            request_id: uuid(),
            recipient_public_key: key.public_key().as_bytes().to_vec(),
        })
        .collect();
    let calls = (0..CALLS).map(|call| {
        let (index, clients) = (call % IDS, alice.clone());
        let order = orders[index].clone();
        async move { (index, ask(clients, order).await) }
    });
    let answers: Vec<(usize, SealedCredentials)> = futures::stream::iter(calls)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    assert_eq!(answers.len(), CALLS);
    let mut sessions = BTreeSet::new();
    for (index, sealed) in &answers {
        let secret = hallpass_seal::open(
            &keys[*index],
            &sealed.suite,
            &sealed.encapsulated_key,
            &sealed.ciphertext,
            &sealed.associated_data,
        )
        .unwrap();
        let facts = sealed.credential.as_ref().unwrap();
        assert_eq!(secret.access_key_id(), facts.access_key_id);
        sessions.insert((*index, facts.access_key_id.clone(), facts.serial));
    }
    assert_eq!(sessions.len(), IDS, "one session for each id: {sessions:?}");
    let serials: BTreeSet<i32> = sessions.iter().map(|(_, _, serial)| *serial).collect();
    assert_eq!(serials, (1..=10).collect());
    let now = alice.get(&request.name).await.unwrap();
    assert_eq!(now.issued_credentials.len(), IDS);
    alice.give_back(&request.name).await.unwrap();
}

#[tokio::test]
async fn a_grant_gives_no_more_sessions_than_its_limit_and_repeats_those_it_gave() {
    let world = Shared::own(|pack| {
        let path = pack.join("entitlements.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let few = text.replace("max_credential_issues = 1000", "max_credential_issues = 3");
        assert_ne!(few, text);
        std::fs::write(path, few).unwrap();
    })
    .await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-reports", 600).await.unwrap();
    let order = || IssueCredentialsRequest {
        name: request.name.clone(),
        request_id: uuid(),
        recipient_public_key: RecipientKey::generate().public_key().as_bytes().to_vec(),
    };
    let orders = [order(), order(), order()];
    let mut answers = Vec::new();
    for order in &orders {
        answers.push(ask(alice.clone(), order.clone()).await);
    }
    let refused = alice.access.clone().issue_credentials(order()).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let details = refused.get_error_details();
    let violation = &details.precondition_failure().unwrap().violations[0];
    assert_eq!(violation.r#type, "LIMIT");
    for (order, answer) in orders.into_iter().zip(answers) {
        assert_eq!(ask(alice.clone(), order).await, answer);
    }
    alice.give_back(&request.name).await.unwrap();
}

#[tokio::test]
async fn what_temporal_lost_is_not_served_from_memory_and_may_be_asked_for_again() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let (body, key) = (request_of("sandbox-reports", 600), uuid());
    let asked = alice.create(body.clone(), &key).await.unwrap();
    // The API knows its run from now on.
    issue(&alice, &asked.name).await.unwrap();
    let workflow = workflow_of(&asked.name);
    let delete = ["delete", "--workflow-id", &workflow, "--yes"];
    world.engine().must(&delete).await;
    let refused = until("the loss to show", || async {
        issue(&alice, &asked.name).await.err()
    })
    .await;
    assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
    let again = alice.create(body, &key).await.unwrap();
    assert_eq!(again.name, asked.name);
    assert_eq!(again.state(), State::Active, "{again:?}");
    issue(&alice, &again.name).await.unwrap();
    let now = alice.get(&again.name).await.unwrap();
    assert_eq!(now.issued_credentials.len(), 1, "of the new run alone");
    alice.give_back(&again.name).await.unwrap();
}
