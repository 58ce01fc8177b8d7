//! `hallpass login` against a certified OpenID provider, and a request with what it gave.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::path::PathBuf;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Json, Router};
use harness::{Browser, Cli, OpenId, Page, Private, Ran, Service, Shared, finish, until};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::Child;

const ASK: [&str; 8] = [
    "request",
    "prod-reports",
    "--for",
    "5m",
    "-m",
    "INC-1: totals",
    "--yes",
    "--no-wait",
];

/// A service that sends people to a provider of its own.
struct World {
    provider: OpenId,
    private: Private,
    _service: Service,
}

impl World {
    async fn start(change: impl FnOnce(&mut toml::Table)) -> Self {
        let people = json!({
            "alice": {"groups": ["engineering"], "name": "Alice Arden", "email": "a@example.test"},
            "bob": {"groups": ["engineering", "reports-owners"], "name": "Bob Bell"},
        });
        let (provider, private) = tokio::join!(OpenId::start(&people), Private::start());
        private.configure(|config| {
            let issuer = provider.issuer_table();
            config.insert(
                "issuers".to_owned(),
                toml::Value::Array(vec![issuer.into()]),
            );
            config.insert("login".to_owned(), provider.login_table().into());
            // A rotation is seen at once.
            let tokens = toml::toml! { jwks_min_gap_seconds = 0 };
            config.insert("tokens".to_owned(), tokens.into());
            change(config);
        });
        let service = private.serve("all").await;
        Self {
            provider,
            private,
            _service: service,
        }
    }

    fn person(&self) -> Cli {
        Cli::at(self.private.server())
    }
}

/// A login under way, and the lines it said so far.
struct Login {
    child: Child,
    errors: BufReader<tokio::process::ChildStderr>,
}

impl Login {
    fn start(person: &Cli, arguments: &[&str]) -> Self {
        let mut child = person.start(arguments);
        let errors = BufReader::new(child.stderr.take().unwrap());
        Self { child, errors }
    }

    /// The next line with `before` in it, from there on.
    async fn said(&mut self, before: &str) -> String {
        let mut seen = String::new();
        let mut line = String::new();
        while self.errors.read_line(&mut line).await.unwrap() > 0 {
            if let Some((_, after)) = line.split_once(before) {
                return after.trim().to_owned();
            }
            seen.push_str(&line);
            line.clear();
        }
        panic!("never said {before:?}: {seen}");
    }

    async fn finish(mut self) -> Ran {
        let mut rest = String::new();
        let child = self.child;
        let (mut ran, read) = tokio::join!(finish(child), self.errors.read_to_string(&mut rest));
        read.unwrap();
        ran.stderr = rest;
        ran
    }
}

/// Logs in in a browser in which `name` is signed in.
async fn log_in(person: &Cli, name: &str) -> (Ran, Page) {
    let mut login = Login::start(person, &["login", "--no-browser"]);
    let page = login.said("open ").await;
    let page = Browser::of(name).open(&page).await;
    (login.finish().await, page)
}

/// The file that keeps the login.
fn kept(person: &Cli) -> PathBuf {
    let tokens = std::fs::read_dir(person.folder().join("tokens")).unwrap();
    let mut files = tokens.map(|entry| entry.unwrap().path());
    files
        .find(|path| path.extension().is_none_or(|e| e != "lock"))
        .unwrap()
}

fn read(person: &Cli) -> Value {
    serde_json::from_slice(&std::fs::read(kept(person)).unwrap()).unwrap()
}

/// Makes the kept token one that is about to expire.
fn age(person: &Cli) -> Value {
    let mut login = read(person);
    login["expires_at"] = json!("2026-01-01T00:00:00Z");
    std::fs::write(kept(person), login.to_string()).unwrap();
    login
}

#[tokio::test]
async fn a_person_logs_in_in_a_browser_asks_is_renewed_once_and_logs_out() {
    let world = World::start(|_| {}).await;
    let alice = world.person();
    assert_eq!(alice.run(&["whoami"]).await.code, 5);

    // Somebody on this machine who guesses does not stop the login.
    let mut login = Login::start(&alice, &["login", "--no-browser"]);
    let page: url::Url = login.said("open ").await.parse().unwrap();
    let query = |name: &str| {
        let mut pairs = page.query_pairs().filter(|(n, _)| n == name);
        pairs.next().unwrap().1.into_owned()
    };
    assert_eq!(query("code_challenge_method"), "S256");
    let guess = format!("{}?code=x&state=guessed", query("redirect_uri"));
    assert_eq!(Browser::of("alice").open(&guess).await.status, 404);
    let landed = Browser::of("alice").open(page.as_str()).await;
    assert_eq!(landed.status, 200, "{landed:?}");
    assert!(
        landed.text.contains("go back to the terminal"),
        "{landed:?}"
    );
    let login = login.finish().await;
    assert!(login.expect(0).starts_with("Alice Arden "), "{login:?}");

    let who = alice.run(&["whoami", "-o", "json"]).await.json();
    assert_eq!(who["principal"]["groups"], json!(["engineering"]));
    assert_eq!(who["principal"]["mfa"], json!(true));
    assert!(who["tokenExpireTime"].is_string(), "{who}");
    let may_ask = who["mayAskFor"].as_array().unwrap();
    assert!(
        may_ask.contains(&json!("entitlements/prod-reports")),
        "{who}"
    );
    assert!(alice.run(&ASK).await.id().starts_with("ar-"));

    // The provider gives each refresh token out once, and ends the login of whoever shows an old
    // one: several commands at once renew once.
    let old = age(&alice);
    let (one, two, three) = tokio::join!(
        alice.run(&["whoami"]),
        alice.run(&["whoami"]),
        alice.run(&["whoami"])
    );
    for ran in [one, two, three] {
        ran.expect(0);
    }
    let new = read(&alice);
    assert_ne!(new["bearer"], old["bearer"]);
    assert_ne!(new["renewal"]["refresh"], old["renewal"]["refresh"]);

    let stolen = age(&alice);
    let path = kept(&alice);
    alice.run(&["logout"]).await.expect(0);
    assert_eq!(alice.run(&["whoami"]).await.code, 5);
    std::fs::write(&path, stolen.to_string()).unwrap();
    set_private(&path);
    let over = alice.run(&["whoami"]).await;
    assert_eq!(over.code, 5, "{over:?}");
    assert!(over.stderr.contains("the login is over"), "{over:?}");

    let stranger = world.person();
    let (refused, _) = log_in(&stranger, "nobody").await;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("access_denied"), "{refused:?}");
}

fn set_private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn a_person_logs_in_on_another_device_with_id_tokens_and_a_pipeline_with_its_secret() {
    let world = World::start(|config| {
        let login = config["login"].as_table_mut().unwrap();
        login.insert("token".to_owned(), "id".into());
        let issuer = config["issuers"][0].as_table_mut().unwrap();
        let audiences = vec!["hallpass-cli", "urn:hallpass"];
        issuer.insert("audiences".to_owned(), audiences.into());
        issuer.insert("allow_untyped".to_owned(), true.into());
        issuer.remove("clients");
    })
    .await;
    let alice = world.person();
    let mut login = Login::start(&alice, &["login", "--device"]);
    let code = login.said(" and enter ").await;
    let page = login.said("or open ").await;
    let (page, shown) = page.split_once(" and compare ").unwrap();
    assert_eq!(shown, code);
    let mut browser = Browser::of("alice");
    let form = browser.open(page).await;
    let done = browser.submit(&form, &[("confirm", "yes")]).await;
    assert!(done.text.contains("Sign-in Success"), "{done:?}");
    let login = login.finish().await;
    assert!(login.expect(0).starts_with("Alice Arden "), "{login:?}");
    assert!(alice.run(&ASK).await.id().starts_with("ar-"));

    let bot = world
        .person()
        .with("HALLPASS_CLIENT_ID", "deploy-bot")
        .with("HALLPASS_CLIENT_SECRET", "deploy-bot-secret");
    let who = bot.run(&["whoami", "-o", "json"]).await.json();
    assert_eq!(who["principal"]["kind"], "PRINCIPAL_KIND_WORKLOAD", "{who}");
    assert_eq!(who["principal"]["groups"], json!(["pipelines"]));
    assert!(bot.run(&ASK).await.id().starts_with("ar-"));
    assert_eq!(bot.run(&["login"]).await.code, 64);
    assert!(!bot.folder().join("tokens").exists(), "nothing is kept");
    let wrong = bot.with("HALLPASS_CLIENT_SECRET", "guessed");
    let wrong = wrong.run(&["whoami"]).await;
    assert_eq!(wrong.code, 5, "{wrong:?}");
    assert!(wrong.stderr.contains("invalid_client"), "{wrong:?}");
    assert!(!wrong.stderr.contains("guessed"));
}

#[tokio::test]
async fn keys_rotate_while_people_work_and_known_keys_outlive_the_provider() {
    let mut world = World::start(|_| {}).await;
    let (early, late) = (world.person(), world.person());
    log_in(&early, "alice").await.0.expect(0);
    world.provider.rotate().await;
    log_in(&late, "alice").await.0.expect(0);
    for person in [&early, &late] {
        person.run(&["whoami"]).await.expect(0);
    }
    assert_ne!(kid(&read(&early)), kid(&read(&late)));

    // A token whose key is gone is refused, and replaced without a word.
    world.provider.replace_keys().await;
    let newest = world.person();
    log_in(&newest, "alice").await.0.expect(0);
    let before = read(&early)["bearer"].clone();
    early.run(&["whoami"]).await.expect(0);
    assert_ne!(read(&early)["bearer"], before);

    world.provider.process().stop().await.unwrap();
    early.run(&["whoami"]).await.expect(0);
    assert!(early.run(&ASK).await.id().starts_with("ar-"));
    let away = world.person().run(&["login", "--no-browser"]).await;
    assert_eq!(away.code, 1, "{away:?}");
    assert!(away.stderr.contains("cannot be reached"), "{away:?}");
    // Logging out works without the provider, and says that it was not told.
    let out = newest.run(&["logout"]).await;
    out.expect(0);
    assert!(out.stderr.contains("was not told"), "{out:?}");
    assert_eq!(newest.run(&["whoami"]).await.code, 5);
}

/// The key that signed a kept token.
fn kid(login: &Value) -> Value {
    use base64::Engine as _;
    let header = login["bearer"].as_str().unwrap().split('.').next().unwrap();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header);
    let header: Value = serde_json::from_slice(&header.unwrap()).unwrap();
    header["kid"].clone()
}

/// What GitHub's runner answers: a token, to whoever shows the job's own and names an audience.
#[derive(Clone)]
struct Runner {
    token: String,
}

async fn id_token(
    State(runner): State<Runner>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Json<Value> {
    let asked_well = headers["authorization"] == "bearer job-token"
        || headers["authorization"] == "Bearer job-token";
    let query = query.unwrap_or_default();
    match asked_well && query == "api-version=2.0&audience=hallpass" {
        true => Json(json!({"count": 1, "value": runner.token})),
        false => Json(json!({"message": query})),
    }
}

#[tokio::test]
async fn pipelines_bring_their_tokens_and_keep_nothing() {
    let world = Shared::get().await;
    let token = world.token("deploy-bot").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let runner = format!(
        "http://{}/id?api-version=2.0",
        listener.local_addr().unwrap()
    );
    let router = Router::new().route("/id", get(id_token));
    let router = router.with_state(Runner {
        token: token.clone(),
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let job = Cli::at(world.server())
        .with("ACTIONS_ID_TOKEN_REQUEST_URL", &runner)
        .with("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "job-token");
    let unsaid = job.run(&["whoami"]).await;
    assert_eq!(unsaid.code, 1, "{unsaid:?}");
    assert!(unsaid.stderr.contains("HALLPASS_AUDIENCE"), "{unsaid:?}");
    let job = job.with("HALLPASS_AUDIENCE", "hallpass");
    let who = job.run(&["whoami"]).await;
    assert!(who.expect(0).starts_with("Deploy pipeline "), "{who:?}");
    assert!(!job.folder().join("tokens").exists());

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let pod = Cli::at(world.server()).with("HALLPASS_TOKEN_FILE", &file.display().to_string());
    let missing = pod.run(&["whoami"]).await;
    assert_eq!(missing.code, 1, "{missing:?}");
    std::fs::write(&file, &token).unwrap();
    let who = until("the projected token", || async {
        let who = pod.run(&["whoami"]).await;
        (who.code == 0).then_some(who)
    });
    assert!(who.await.stdout.starts_with("Deploy pipeline "));
    assert!(!pod.folder().join("tokens").exists());
}

#[tokio::test]
async fn an_approver_signs_in_once_more_and_the_provider_signs_the_decision() {
    let world = World::start(|_| {}).await;
    let (alice, bob) = (world.person(), world.person());
    assert_eq!(log_in(&alice, "alice").await.0.code, 0);
    assert_eq!(log_in(&bob, "bob").await.0.code, 0);
    let mut ask = ASK;
    ask[1] = "prod-export";
    let asked = alice.run(&ask).await;
    let id = asked.stdout.trim().to_owned();
    assert_eq!(asked.code, 6, "{asked:?}");

    // Somebody else sits at the browser: the provider signs, but in another name.
    let mut approving = Login::start(&bob, &["approve", &id, "-m", "seen"]);
    assert!(
        approving
            .said("sign in so that ")
            .await
            .contains("prod-export")
    );
    let page = approving.said("open ").await;
    Browser::of("alice").open(&page).await;
    let refused = approving.finish().await;
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(refused.stderr.contains("somebody else"), "{refused:?}");

    let mut approving = Login::start(&bob, &["approve", &id, "-m", "seen"]);
    let page: url::Url = approving.said("open ").await.parse().unwrap();
    let query = |name: &str| {
        let mut pairs = page.query_pairs();
        pairs.find(|(n, _)| n == name).map(|(_, v)| v.into_owned())
    };
    assert_eq!(query("max_age").as_deref(), Some("0"));
    assert_eq!(query("prompt").as_deref(), Some("login"));
    assert_eq!(query("client_id").as_deref(), Some("hallpass-decisions"));
    assert!(query("nonce").unwrap().starts_with("hpd1-"));
    Browser::of("bob").open(page.as_str()).await;
    let approved = approving.finish().await;
    assert_eq!(approved.code, 0, "{approved:?}");
    assert!(approved.stdout.contains("approved"), "{approved:?}");
    let shown = bob.run(&["show", &id, "-o", "json"]).await;
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    let level = "EVIDENCE_LEVEL_IDENTITY_PROVIDER";
    assert_eq!(shown["decisions"][0]["evidence"], level, "{shown}");
    assert_eq!(shown["decisions"].as_array().unwrap().len(), 1);
    assert_eq!(shown["approvals"]["counted"]["owner"], 1);
}
