//! What a gate costs with few and with many policies, as ratios to the bare `is_authorized` call.
//!
//! Fails when the gate costs more than twice as much among many policies as among few.
//!
//! `cargo run --release -p hallpass-policy --example gate_cost`
#![expect(clippy::unwrap_used, reason = "a measurement may fail by panicking")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cedar_policy::{Authorizer, Context, Entities, EntityUid, Request};
use hallpass_policy::Bundle;
use hallpass_types::{
    AuthFacts, EntitlementId, GrantDuration, PolicyAnswer, Principal, PrincipalId, PrincipalKind,
};
use jiff::Timestamp;
use serde_json::Value;

const ENTITLEMENT: &str = r#"
[[entitlement]]
id = "e3"
title = "Asked for"
account = "111122223333"
account_name = "prod"
environment = "prod"
region = "us-east-1"
risk = 1
owners = ["g3"]
max_duration = "1h"
assume = { role_arn = "arn:aws:iam::111122223333:role/x" }
probe = { service = "s3", path = "/x" }
"#;

/// Rows in files of 2,000.
fn bundle(n: usize) -> Bundle {
    let row = |i: usize| {
        format!(
            "@id(\"row-{i}\") permit (principal in Hallpass::Group::\"g{}\", action == \
             Hallpass::Action::\"request\", resource == Hallpass::Entitlement::\"e{i}\") \
             when {{ context.seconds <= 3600 }};\n",
            i % 50
        )
    };
    let mut files = BTreeMap::from([("entitlements.toml".to_owned(), ENTITLEMENT.into())]);
    for (k, chunk) in (0..n).collect::<Vec<_>>().chunks(2000).enumerate() {
        let text: String = chunk.iter().map(|i| row(*i)).collect();
        files.insert(format!("policies/{k}.cedar"), text.into_bytes());
    }
    Bundle::parse(&files).unwrap()
}

/// The fastest of several rounds: others use the machine as well.
fn fastest(mut call: impl FnMut()) -> Duration {
    let round = || {
        let begun = Instant::now();
        (0..20).for_each(|_| call());
        begun.elapsed() / 20
    };
    std::iter::repeat_with(round).take(15).min().unwrap()
}

/// The same question to the bare library, over all policies.
fn bare(bundle: &Bundle, answer: &PolicyAnswer) -> Duration {
    let input = |name: &str| serde_json::from_str::<Value>(&answer.inputs[name]).unwrap();
    let uid = |name: &str| EntityUid::from_json(input(name)).unwrap();
    let (schema, action) = (bundle.schema(), uid("action"));
    let context = Context::from_json_value(input("context"), Some((schema, &action))).unwrap();
    let request = Request::new(uid("principal"), action, uid("resource"), context, None).unwrap();
    let entities = Entities::from_json_value(input("entities"), Some(schema)).unwrap();
    let authorizer = Authorizer::new();
    fastest(|| {
        black_box(authorizer.is_authorized(&request, bundle.policy_set(), &entities));
    })
}

/// How much more the gate may cost among the most policies than among the fewest.
const MOST: f64 = 2.0;

fn main() -> ExitCode {
    let somebody = Principal {
        id: PrincipalId::new("https://idp.example", "somebody").unwrap(),
        kind: PrincipalKind::Human,
        display_name: None,
        groups: ["g3".to_owned()].into(),
        acting_for: None,
        auth: AuthFacts {
            mfa: true,
            authenticated_at: Timestamp::UNIX_EPOCH,
            client: None,
            evidence: Default::default(),
        },
    };
    let (id, duration) = (
        EntitlementId::parse("e3").unwrap(),
        GrantDuration::from_seconds(900),
    );
    let (duration, now) = (duration.unwrap(), Timestamp::UNIX_EPOCH);
    let (mut unit, mut gates) = (None, Vec::new());
    println!(
        "{:>8}  {:>10}  {:>7}  {:>10}  {:>7}",
        "policies", "gate", "ratio", "bare", "ratio"
    );
    for n in [10, 1000, 10_000] {
        let bundle = bundle(n);
        let asked = bundle.entitlement(&id).unwrap();
        let ask = || bundle.request(&somebody, asked, duration, None, now);
        assert!(ask().allows());
        let gate = fastest(|| drop(black_box(ask())));
        gates.push(gate);
        let bare = bare(&bundle, &ask());
        let unit = *unit.get_or_insert(bare);
        let ratio = |d: Duration| d.as_secs_f64() / unit.as_secs_f64();
        println!(
            "{n:>8}  {gate:>10.1?}  {:>7.1}  {bare:>10.1?}  {:>7.1}",
            ratio(gate),
            ratio(bare)
        );
    }
    let spread = |(least, most): (&Duration, &Duration)| most.as_secs_f64() / least.as_secs_f64();
    let spread = gates
        .iter()
        .min()
        .zip(gates.iter().max())
        .map_or(f64::MAX, spread);
    println!("the gate's cost differs by {spread:.2}, at most {MOST} is allowed");
    if spread <= MOST {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
