//! Who calls too much is told when to call again, and neither others nor ends feel it.

use std::time::Duration;

use futures::future::join_all;
use hallpass_proto::v1::WhoAmIRequest;
use hallpass_proto::v1::access_request::State;
use harness::{Clients, Private, Reading, issue, until};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Calls at once, in one wave.
const WAVE: usize = 60;
/// The objective of docs/operate.md for the proof of an end.
const PROVED_WITHIN: i64 = 60;

async fn who_am_i(clients: &Clients) -> Result<(), Status> {
    let asked = clients.access.clone().who_am_i(WhoAmIRequest {}).await;
    asked.map(|_| ())
}

#[tokio::test]
async fn who_calls_too_much_is_told_when_to_call_again_and_ends_are_on_time() {
    let world = Private::start().await;
    world.configure(|config| {
        let limits = toml::toml! {
            calls_per_minute = 120
            burst = 30
        };
        config.insert("limits".to_owned(), limits.into());
    });
    let _service = world.serve("all").await;
    let (alice, erin) = (world.client("alice").await, world.client("erin").await);
    let request = alice.ask("sandbox-reports", 10).await.unwrap();
    let session = issue(&alice, &request.name).await.unwrap();

    let ended = erin.watch_until(&request.name, State::Ended);
    let flood = async {
        let mut others = Some(&erin);
        loop {
            let wave = join_all((0..WAVE).map(|_| who_am_i(&alice))).await;
            let refused: Vec<_> = wave.into_iter().filter_map(Result::err).collect();
            assert!(!refused.is_empty(), "every call of {WAVE} was let in");
            for status in refused {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                let told = status.get_error_details();
                let told = told.retry_info().and_then(|r| r.retry_delay);
                let told = told.unwrap_or_else(|| panic!("no RetryInfo: {status:?}"));
                assert!(
                    told > Duration::ZERO && told <= Duration::from_secs(1),
                    "{told:?}"
                );
            }
            if let Some(erin) = others.take() {
                who_am_i(erin).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::select! {
        ended = ended => ended,
        () = flood => unreachable!("it never ends"),
    };

    let instant = |t: prost_types::Timestamp| jiff::Timestamp::new(t.seconds, t.nanos).unwrap();
    let proved = instant(ended.proof.clone().unwrap().prove_time.unwrap());
    let lag = proved.duration_since(instant(ended.end_time.unwrap()));
    assert!(
        (0..=PROVED_WITHIN).contains(&lag.as_secs()),
        "proved {lag:?} after the end"
    );
    let reading = world.aws().read(&session.secret, "sandbox-reports").await;
    assert!(matches!(reading, Reading::Refused(_)), "{reading:?}");
    until("alice is let in again", || async {
        who_am_i(&alice).await.ok()
    })
    .await;
}
