//! Policy changes while people ask.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use hallpass_proto::v1::{AccessRequest, WhoAmIRequest};
use harness::{Clients, Private, until};

/// Whoever reads the folder sees the old file or the new one.
fn replace(file: &Path, text: &str) {
    let partial = file.with_extension("partial");
    std::fs::write(&partial, text).unwrap();
    std::fs::rename(partial, file).unwrap();
}

async fn digest_in_force(clients: &Clients) -> String {
    let who = clients.access.clone().who_am_i(WhoAmIRequest {}).await;
    who.unwrap().into_inner().policy_digest
}

async fn until_changed(clients: &Clients, from: &str) -> String {
    until("another policy in force", || async {
        let now = digest_in_force(clients).await;
        (now != from).then_some(now)
    })
    .await
}

#[tokio::test]
async fn each_request_names_the_policy_that_decided_it_while_policies_change() {
    let world = Private::start().await;
    let service = world.serve("all").await;
    let alice = world.client("alice").await;
    let file = world.dir().join("pack/policies/20-access.cedar");
    let first_text = std::fs::read_to_string(&file).unwrap();
    let second_text = first_text.replace("@id(\"engineering-asks\")", "@id(\"engineers-ask\")");
    assert_ne!(first_text, second_text);
    let over = AtomicBool::new(false);
    let asking = async {
        let mut asked: Vec<AccessRequest> = Vec::new();
        while !over.load(Ordering::Acquire) {
            let four = std::array::from_fn::<_, 4, _>(|_| alice.ask("prod-reports", 900));
            asked.extend(futures::future::try_join_all(four).await.unwrap());
        }
        asked
    };
    let changing = async {
        let first = digest_in_force(&alice).await;
        replace(&file, &second_text);
        let second = until_changed(&alice, &first).await;
        replace(&file, "permit (");
        until("the refusal in the log", || async {
            let log = std::fs::read_to_string(&service.log).unwrap();
            log.contains("policy was not reloaded").then_some(())
        })
        .await;
        assert_eq!(digest_in_force(&alice).await, second);
        replace(&file, &first_text);
        assert_eq!(until_changed(&alice, &second).await, first);
        over.store(true, Ordering::Release);
        (first, second)
    };
    let (asked, (first, second)) = tokio::join!(asking, changing);
    let mut seen = [0, 0];
    for request in &asked {
        let request = alice.get(&request.name).await.unwrap();
        let gate = request.policy_answers.iter().find(|a| a.gate == "request");
        let answer = gate.unwrap();
        let which = [&first, &second]
            .iter()
            .position(|d| **d == answer.policy_digest);
        let which = which.unwrap();
        let expected = ["engineering-asks", "engineers-ask"][which];
        assert_eq!(answer.policy_ids, [expected], "{}", request.name);
        seen[which] += 1;
    }
    assert!(seen.iter().all(|n| *n > 0), "{seen:?}");
}
