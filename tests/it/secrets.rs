//! Secrets are in no history, log, database or file that a whole request leaves behind.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hallpass_proto::v1::Verdict;
use hallpass_proto::v1::access_request::State;
use harness::{Clients, Private, Session, issue, workflow_of};
use prost::Message as _;

/// What is looked for, under a name that may be printed.
struct Secret {
    name: &'static str,
    forms: Vec<Vec<u8>>,
}

impl Secret {
    /// As it is, in hexadecimal, and in base 64 at each of the three offsets that it can have.
    fn new(name: &'static str, value: &str) -> Self {
        assert!(value.len() >= 16, "{name} is too short to be looked for");
        let bytes = value.as_bytes();
        let mut forms = vec![bytes.to_vec(), hex::encode(bytes).into_bytes()];
        forms.push(hex::encode_upper(bytes).into_bytes());
        for skip in 0..3 {
            let whole = (bytes.len() - skip) / 3 * 3;
            let inner = &bytes[skip..skip + whole];
            forms.push(STANDARD_NO_PAD.encode(inner).into_bytes());
            forms.push(URL_SAFE_NO_PAD.encode(inner).into_bytes());
        }
        Self { name, forms }
    }

    fn is_in(&self, place: &[u8]) -> bool {
        self.forms.iter().any(|form| contains(place, form))
    }
}

fn contains(place: &[u8], form: &[u8]) -> bool {
    let first = form[0];
    let mut rest = place;
    while let Some(at) = rest.iter().position(|b| *b == first) {
        rest = &rest[at..];
        if rest.starts_with(form) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

/// Every file under the service's folder that it, Temporal or the emulator has written.
fn files(world: &Private) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![world.dir().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path != world.signing_key_file() {
                found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
            }
        }
    }
    found
}

async fn whole_request(alice: &Clients, bob: &Clients, entitlement: &str) -> (String, Session) {
    let request = alice.ask(entitlement, 60).await.unwrap();
    if request.state() == State::AwaitingApproval {
        bob.decide(&request.name, Verdict::Approve).await.unwrap();
    }
    let session = issue(alice, &request.name).await.unwrap();
    bob.revoke(&request.name).await.unwrap();
    alice.watch_until(&request.name, State::Ended).await;
    (request.name, session)
}

#[tokio::test]
async fn a_whole_request_leaves_no_secret_behind_in_either_mode() {
    let world = Private::start().await;
    let service = world.serve("all").await;
    let tokens = [
        world.issuer.mint("alice").unwrap(),
        world.issuer.mint("bob").unwrap(),
    ];
    let connect = |token: &String| Clients::connect(world.server(), Some(token.clone()));
    let (alice, bob) = (connect(&tokens[0]).await, connect(&tokens[1]).await);
    // A token that is refused is logged as such, and must not be there either.
    let refused = format!("{}x", tokens[0]);
    let stranger = Clients::connect(world.server(), Some(refused.clone())).await;
    stranger.ask("sandbox-reports", 60).await.unwrap_err();

    let mut secrets = vec![
        Secret::new("the service's AWS key", world.service_secret()),
        Secret::new("the requester's token", &tokens[0]),
        Secret::new("the approver's token", &tokens[1]),
        Secret::new(
            "the signature of a token",
            tokens[0].rsplit('.').next().unwrap(),
        ),
        Secret::new("a refused token", &refused),
    ];
    let key = std::fs::read_to_string(world.signing_key_file()).unwrap();
    secrets.push(Secret::new("the signing key", key.trim()));
    let mut places = Vec::new();
    let mut public = Vec::new();
    for entitlement in ["prod-reports", "sandbox-scratch"] {
        let (name, session) = whole_request(&alice, &bob, entitlement).await;
        let secret = &session.secret;
        secrets.push(Secret::new(
            "a secret access key",
            secret.secret_access_key(),
        ));
        secrets.push(Secret::new("a session token", secret.session_token()));
        let id = Secret::new("an access key id", secret.access_key_id());
        let (engine, workflow) = (world.engine(), workflow_of(&name));
        let history = engine.history(&workflow).await.encode_to_vec();
        let shown = engine
            .must(&["show", "-w", &workflow, "--output", "json"])
            .await;
        // The public half is found there: what looks for the secret half looks in the right place.
        assert!(id.is_in(&history), "the history does not name the key id");
        assert!(
            id.is_in(shown.as_bytes()),
            "`temporal workflow show` does not"
        );
        places.push((format!("history of {entitlement}"), history));
        places.push((
            format!("shown history of {entitlement}"),
            shown.into_bytes(),
        ));
        public.push(id);
    }
    let log = service.log.display().to_string();
    assert!(service.terminate().await.success());
    let files = files(&world);
    assert!(
        std::fs::read_to_string(&log)
            .unwrap()
            .contains("\"level\":\"DEBUG\"")
    );
    let database: Vec<_> = files
        .iter()
        .filter(|(f, _)| f.contains("temporal.db"))
        .collect();
    for id in &public {
        assert!(
            database.iter().any(|(_, bytes)| id.is_in(bytes)),
            "the database does not"
        );
    }
    for wanted in [
        log.as_str(),
        "temporal.log",
        "ready-",
        "hallpassd.toml",
        "temporal.db",
    ] {
        assert!(
            files.iter().any(|(f, _)| f.contains(wanted)),
            "no file {wanted}"
        );
    }
    // The emulator stands for AWS, which makes the secrets and may know them.
    places.extend(
        files
            .into_iter()
            .filter(|(f, _)| !f.ends_with("ministack.log")),
    );
    for (place, bytes) in &places {
        for secret in &secrets {
            assert!(!secret.is_in(bytes), "{} is in {place}", secret.name);
        }
    }
}
