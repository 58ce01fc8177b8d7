//! A token of each kind of issuer, in the shape that issuer gives it, through that issuer's preset.

use hallpass_identity::{ConfigError, DevIssuer, IssuerConfig, Reject};
use hallpass_types::{Principal, PrincipalKind};
use serde_json::{Value, json};

use crate::support::{bare, in_seconds, issuer, verifier};

/// The preset's settings, but with the keys of an issuer at hand.
fn settings(dev: &DevIssuer, lines: &str) -> IssuerConfig {
    let (issuer, jwks) = (dev.issuer(), format!("{}/jwks", dev.issuer()));
    let ours = format!("issuer = '{issuer}'\njwks_uri = '{jwks}'\nalgorithms = ['ES256']\n");
    toml::from_str(&format!("{ours}{lines}")).unwrap()
}

/// A token with these claims and, where there is one, this `typ`.
fn token(dev: &DevIssuer, typ: Option<&str>, claims: &Value) -> String {
    let now = in_seconds(0).as_second();
    let mut header = json!({"alg": "ES256", "kid": dev.jwks()["keys"][0]["kid"]});
    if let Some(typ) = typ {
        header["typ"] = json!(typ);
    }
    let mut whole = json!({"iss": dev.issuer(), "iat": now, "exp": now + 300});
    let whole_map = whole.as_object_mut().unwrap();
    whole_map.extend(claims.as_object().unwrap().clone());
    dev.sign_raw(&header.to_string(), &whole.to_string())
        .unwrap()
}

async fn read(lines: &str, typ: Option<&str>, claims: Value) -> Result<Principal, Reject> {
    let dev = issuer().await;
    let config = settings(&dev, lines);
    config.validate().unwrap();
    let token = token(&dev, typ, &claims);
    let verified = bare(&verifier(config), &token, in_seconds(0)).await;
    verified.map(|v| v.principal)
}

fn groups(principal: &Principal) -> Vec<&str> {
    principal.groups.iter().map(String::as_str).collect()
}

const OKTA: &str = "preset = 'okta'\naudiences = ['api://hallpass']\nclients = ['0oacli']\n\
                    workload_clients = ['0oabot']";

fn okta() -> Value {
    json!({
        "ver": 1, "jti": "AT.x", "aud": "api://hallpass", "cid": "0oacli", "uid": "00ualice",
        "scp": ["openid", "profile"], "auth_time": in_seconds(-60).as_second(),
        "sub": "alice@example.test", "groups": ["Everyone", "sre"],
    })
}

#[tokio::test]
async fn okta_people_are_known_by_their_id_and_not_by_their_e_mail() {
    let alice = read(OKTA, None, okta()).await.unwrap();
    assert_eq!(alice.id.subject(), "00ualice");
    assert_eq!(alice.display_name.as_deref(), Some("alice@example.test"));
    assert_eq!(
        (alice.kind, groups(&alice)),
        (PrincipalKind::Human, vec!["Everyone", "sre"])
    );
    assert_eq!(alice.auth.client.as_deref(), Some("0oacli"));
    let mut nameless = okta();
    nameless["uid"] = Value::Null;
    let refused = read(OKTA, None, nameless).await;
    assert_eq!(refused, Err(Reject::ClaimInvalid));
    let mut nameless = okta();
    nameless.as_object_mut().unwrap().remove("uid");
    assert_eq!(
        read(OKTA, None, nameless).await,
        Err(Reject::SubjectMissing)
    );
}

#[tokio::test]
async fn okta_clients_are_workloads() {
    let bot = json!({"aud": "api://hallpass", "cid": "0oabot", "sub": "0oabot", "scp": ["ask"]});
    let bot = read(OKTA, None, bot).await.unwrap();
    assert_eq!(
        (bot.id.subject(), bot.kind),
        ("0oabot", PrincipalKind::Workload)
    );
    let other = json!({"aud": "api://hallpass", "cid": "0oaother", "sub": "0oaother"});
    assert_eq!(read(OKTA, None, other).await, Err(Reject::ClientNotAllowed));
}

#[tokio::test]
async fn okta_org_servers_and_google_give_id_tokens() {
    let org = "preset = 'okta_org'\naudiences = ['0oacli']";
    let claims = json!({
        "sub": "00ualice", "name": "Alice Arden", "email": "alice@example.test", "ver": 1,
        "aud": "0oacli", "amr": ["mfa", "otp", "pwd"], "idp": "00o1", "nonce": "n",
        "preferred_username": "alice@example.test", "at_hash": "x", "groups": ["sre"],
    });
    let alice = read(org, None, claims).await.unwrap();
    assert_eq!((alice.id.subject(), alice.auth.mfa), ("00ualice", true));
    let google = "preset = 'google'\naudiences = ['1.apps.googleusercontent.com']\n\
                  required_claims = { hd = ['example.test'] }";
    let claims = |hd: Value| {
        json!({
            "azp": "1.apps.googleusercontent.com", "aud": "1.apps.googleusercontent.com",
            "sub": "10769150350006150715113082367", "hd": hd, "email": "alice@example.test",
            "email_verified": true, "name": "Alice Arden", "nonce": "n",
        })
    };
    let alice = read(google, Some("JWT"), claims(json!("example.test")))
        .await
        .unwrap();
    assert_eq!(alice.id.subject(), "10769150350006150715113082367");
    assert_eq!(alice.display_name.as_deref(), Some("Alice Arden"));
    assert!(alice.groups.is_empty());
    for hd in [json!("evil.test"), json!(null), json!({"example.test": 1})] {
        let refused = read(google, Some("JWT"), claims(hd)).await;
        assert_eq!(refused, Err(Reject::ClaimNotAllowed));
    }
    let untyped = read(google, None, claims(json!("example.test"))).await;
    assert_eq!(untyped, Err(Reject::TypeNotAllowed));
}

#[tokio::test]
async fn keycloak_access_tokens_are_told_from_its_other_tokens() {
    let keycloak = "preset = 'keycloak'\naudiences = ['hallpass']\nclients = ['hallpass-cli']\n\
                    groups_claim = '/realm_access/roles'\nmfa_acr_values = ['2']\n\
                    workload_clients = ['deployer']";
    let claims = |typ: &str, client: &str| {
        json!({
            "typ": typ, "azp": client, "aud": ["hallpass", "account"], "acr": "2",
            "sub": "f3a1-uuid", "sid": "s", "realm_access": {"roles": ["sre", "offline_access"]},
            "scope": "openid email", "name": "Alice Arden", "preferred_username": "alice",
        })
    };
    let alice = read(keycloak, Some("JWT"), claims("Bearer", "hallpass-cli"))
        .await
        .unwrap();
    assert_eq!(groups(&alice), ["offline_access", "sre"]);
    assert_eq!((alice.kind, alice.auth.mfa), (PrincipalKind::Human, true));
    for typ in ["ID", "Refresh", "Offline"] {
        let refused = read(keycloak, Some("JWT"), claims(typ, "hallpass-cli")).await;
        assert_eq!(refused, Err(Reject::ClaimNotAllowed), "{typ}");
    }
    let bot = read(keycloak, Some("JWT"), claims("Bearer", "deployer"))
        .await
        .unwrap();
    assert_eq!(bot.kind, PrincipalKind::Workload);
}

#[tokio::test]
async fn github_jobs_are_of_our_organization_by_its_id() {
    let github = "preset = 'github_actions'\naudiences = ['hallpass']\n\
                  required_claims = { repository_owner_id = ['65'] }";
    let claims = |owner: &str| {
        json!({
            "jti": "x", "sub": "repo:octo-org/octo-repo:environment:prod", "aud": "hallpass",
            "ref": "refs/heads/main", "sha": "1", "repository": "octo-org/octo-repo",
            "repository_owner": "octo-org", "actor_id": "12", "repository_id": "74",
            "repository_owner_id": owner, "environment": "prod", "run_id": "30",
            "job_workflow_ref": "octo-org/octo-repo/.github/workflows/w.yml@refs/heads/main",
        })
    };
    let job = read(github, Some("JWT"), claims("65")).await.unwrap();
    assert_eq!(job.id.subject(), "repo:octo-org/octo-repo:environment:prod");
    assert_eq!(
        (job.kind, groups(&job)),
        (PrincipalKind::Workload, vec!["74"])
    );
    // The name was registered again by somebody else.
    let refused = read(github, Some("JWT"), claims("66")).await;
    assert_eq!(refused, Err(Reject::ClaimNotAllowed));
}

#[tokio::test]
async fn kubernetes_tokens_are_short_lived_and_for_us() {
    let kubernetes = "preset = 'kubernetes'\naudiences = ['hallpass']";
    let now = in_seconds(0).as_second();
    let claims = |audience: &str, seconds: i64| {
        json!({
            "aud": [audience], "exp": now + seconds, "nbf": now, "jti": "x",
            "sub": "system:serviceaccount:payments:deployer",
            "kubernetes.io": {
                "namespace": "payments", "pod": {"name": "p", "uid": "1"},
                "serviceaccount": {"name": "deployer", "uid": "2"},
            },
        })
    };
    let pod = read(kubernetes, None, claims("hallpass", 600))
        .await
        .unwrap();
    assert_eq!(pod.id.subject(), "system:serviceaccount:payments:deployer");
    assert_eq!(
        (pod.kind, groups(&pod)),
        (PrincipalKind::Workload, vec!["payments"])
    );
    let default = "https://kubernetes.default.svc.cluster.local";
    let refused = read(kubernetes, None, claims(default, 600)).await;
    assert_eq!(refused, Err(Reject::AudienceMismatch));
    let year = read(kubernetes, None, claims("hallpass", 31_536_000)).await;
    assert_eq!(year, Err(Reject::LifetimeTooLong));
}

#[tokio::test]
async fn aws_roles_are_known_by_their_arn() {
    let aws = "preset = 'aws'\naudiences = ['https://hallpass.example']\n\
               groups_claim = '/https:~1~1sts.amazonaws.com~1/principal_tags/team'\n\
               required_claims = { '/https:~1~1sts.amazonaws.com~1/org_id' = ['o-abc'] }";
    let claims = |org: &str| {
        json!({
            "aud": "https://hallpass.example", "jti": "x",
            "sub": "arn:aws:iam::123456789012:role/DataProcessing",
            "https://sts.amazonaws.com/": {
                "aws_account": "123456789012", "source_region": "us-east-1", "org_id": org,
                "principal_tags": {"team": "data"}, "request_tags": {"job-id": "1"},
            },
        })
    };
    let role = read(aws, Some("JWT"), claims("o-abc")).await.unwrap();
    assert_eq!(
        role.id.subject(),
        "arn:aws:iam::123456789012:role/DataProcessing"
    );
    assert_eq!(
        (role.kind, groups(&role)),
        (PrincipalKind::Workload, vec!["data"])
    );
    let refused = read(aws, Some("JWT"), claims("o-evil")).await;
    assert_eq!(refused, Err(Reject::ClaimNotAllowed));
}

#[tokio::test]
async fn a_delegated_token_is_its_actors_who_acts_for_its_subject() {
    let plain = "audiences = ['hallpass']\nkind = 'human'\nallow_untyped = true";
    let delegating = format!("{plain}\ndelegation = true");
    let claims =
        |act: Value| json!({"aud": "hallpass", "sub": "alice", "amr": ["mfa"], "act": act});
    let refused = read(plain, None, claims(json!({"sub": "agent-7"}))).await;
    assert_eq!(refused, Err(Reject::DelegationNotAllowed));
    let nested = json!({"sub": "agent-7", "act": {"sub": "agent-1"}});
    let agent = read(&delegating, None, claims(nested)).await.unwrap();
    assert_eq!(
        (agent.id.subject(), agent.kind),
        ("agent-7", PrincipalKind::Agent)
    );
    assert_eq!(agent.acting_for.unwrap().subject(), "alice");
    assert!(!agent.auth.mfa, "the second factor was the person's");
    for act in [json!("agent"), json!({}), json!({"sub": "alice"})] {
        let refused = read(&delegating, None, claims(act.clone())).await;
        assert_eq!(refused, Err(Reject::ClaimInvalid), "{act}");
    }
    let foreign = json!({"sub": "agent-7", "iss": "https://other.example"});
    let refused = read(&delegating, None, claims(foreign)).await;
    assert_eq!(refused, Err(Reject::ClaimInvalid));
}

#[test]
fn issuers_of_the_whole_world_need_a_claim_that_says_it_is_ours() {
    for (preset, issuer, claim) in [
        ("google", "https://accounts.google.com", "hd"),
        (
            "github_actions",
            "https://token.actions.githubusercontent.com",
            "repository_owner_id",
        ),
    ] {
        let lines = format!("preset = '{preset}'\nissuer = '{issuer}'\naudiences = ['x']\n");
        let open: IssuerConfig = toml::from_str(&lines).unwrap();
        let answer = open.validate();
        assert!(
            matches!(
                answer,
                Err(ConfigError::Field {
                    field: "required_claims",
                    ..
                })
            ),
            "{preset} {answer:?}"
        );
        let ours = format!("{lines}required_claims = {{ {claim} = ['65'] }}");
        let ours: IssuerConfig = toml::from_str(&ours).unwrap();
        assert_eq!(ours.validate(), Ok(()), "{preset}");
    }
}

#[test]
fn presets_fill_in_where_the_keys_are() {
    for (preset, issuer, keys) in [
        ("okta", "https://x.okta.com/oauth2/default", "/v1/keys"),
        ("okta_org", "https://x.okta.com", "/oauth2/v1/keys"),
        (
            "keycloak",
            "https://k/realms/r",
            "/protocol/openid-connect/certs",
        ),
        (
            "kubernetes",
            "https://oidc.eks.us-east-1.amazonaws.com/id/X",
            "/openid/v1/jwks",
        ),
        (
            "aws",
            "https://a.tokens.sts.global.api.aws",
            "/.well-known/jwks.json",
        ),
    ] {
        let lines = format!("preset = '{preset}'\nissuer = '{issuer}'\naudiences = ['x']\n");
        let config: IssuerConfig = toml::from_str(&lines).unwrap();
        assert_eq!(config.jwks_uri, format!("{issuer}{keys}"), "{preset}");
        assert_eq!(config.validate(), Ok(()), "{preset}");
        // What was filled in is written out, and reads back without the preset.
        let written = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<IssuerConfig>(&written).unwrap(), config);
        let misspelt = format!("{lines}grups_claim = 'x'");
        let error = toml::from_str::<IssuerConfig>(&misspelt).unwrap_err();
        assert!(
            error.message().starts_with("unknown field `grups_claim`"),
            "{error}"
        );
    }
    let bare = toml::from_str::<IssuerConfig>("issuer = 'https://x'\naudiences = ['x']");
    assert_eq!(bare.unwrap_err().message(), "missing field `jwks_uri`");
}
