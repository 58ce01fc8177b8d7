//! A slice of the policies answers as all of them.

use std::collections::BTreeSet;

use cedar_policy::{Authorizer, Context, Entities, EntityUid, Request};
use hallpass_policy::Bundle;
use hallpass_types::PolicyAnswer;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{asked, now, person, with_policies};

/// Scopes of every form that Cedar has, on entities that match the questions and on others.
fn policy() -> impl Strategy<Value = String> {
    let principal = prop_oneof![
        Just("principal".to_owned()),
        Just("principal is Hallpass::User".to_owned()),
        "(engineering|security|nobody)"
            .prop_map(|g| format!("principal in Hallpass::Group::\"{g}\"")),
        "(security|engineering)"
            .prop_map(|g| format!("principal is Hallpass::User in Hallpass::Group::\"{g}\"")),
        "(alice|bob)".prop_map(|p| {
            format!("principal == Hallpass::User::\"https://dev.hallpass.example#{p}\"")
        }),
    ];
    let target = prop_oneof![
        Just(("request", "resource".to_owned())),
        Just((
            "request",
            "resource == Hallpass::Entitlement::\"prod-reports\"".to_owned()
        )),
        Just((
            "request",
            "resource == Hallpass::Entitlement::\"prod-export\"".to_owned()
        )),
        Just((
            "request",
            "resource in Hallpass::Account::\"111122223333\"".to_owned()
        )),
        Just((
            "activate",
            "resource in Hallpass::Entitlement::\"prod-reports\"".to_owned()
        )),
        Just(("activate", "resource is Hallpass::AccessRequest".to_owned())),
        Just((
            "activate",
            "resource in Hallpass::Account::\"444455556666\"".to_owned()
        )),
        Just(("approveAsOwner", "resource".to_owned())),
        Just((
            "approve",
            "resource in Hallpass::Account::\"111122223333\"".to_owned()
        )),
    ];
    let condition = prop_oneof![
        Just(""),
        Just("when { principal.kind == \"human\" }"),
        Just("when { 9223372036854775807 + (if principal.kind == \"agent\" then 1 else 0) > 0 }"),
    ];
    let effect = prop_oneof![3 => Just("permit"), 1 => Just("forbid")];
    (effect, principal, target, condition).prop_map(
        |(effect, principal, (action, resource), when)| {
            let is_group = action == "approve";
            let action = match is_group {
                true => "action in Hallpass::Action::\"approve\"".to_owned(),
                false => format!("action == Hallpass::Action::\"{action}\""),
            };
            format!("{effect} ({principal}, {action}, {resource}) {when};")
        },
    )
}

/// The recorded question, put to all policies.
fn by_all(bundle: &Bundle, answer: &PolicyAnswer) -> (bool, BTreeSet<String>, usize) {
    let input = |name: &str| serde_json::from_str::<Value>(&answer.inputs[name]).unwrap();
    let uid = |name: &str| EntityUid::from_json(input(name)).unwrap();
    let action = uid("action");
    let schema = bundle.schema();
    let context = Context::from_json_value(input("context"), Some((schema, &action))).unwrap();
    let request = Request::new(
        uid("principal"),
        action,
        uid("resource"),
        context,
        Some(schema),
    );
    let entities = Entities::from_json_value(input("entities"), Some(schema)).unwrap();
    let response =
        Authorizer::new().is_authorized(&request.unwrap(), bundle.policy_set(), &entities);
    let errors = response.diagnostics().errors().count();
    let allowed = response.decision() == cedar_policy::Decision::Allow;
    let reasons = response
        .diagnostics()
        .reason()
        .map(ToString::to_string)
        .collect();
    (allowed && errors == 0, reasons, errors)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_slice_answers_as_all_policies(policies in vec(policy(), 0..12)) {
        let named = policies.iter().enumerate();
        let text: String = named.map(|(i, p)| format!("@id(\"p{i}\") {p}\n")).collect();
        let bundle = with_policies(&text);
        for who in ["alice", "bob", "alice-agent"] {
            let asked = asked(&bundle, who, "prod-reports", 15);
            let facts = asked.facts();
            let approver = person("dave");
            let answers = [
                bundle.request(&asked.requester, &asked.entitlement, asked.duration, None, now()),
                bundle.activate(&facts, Default::default(), now()),
                bundle.approve(&facts, &approver, hallpass_types::Capacity::Owner, now()),
                bundle.approve(&facts, &approver, hallpass_types::Capacity::Security, now()),
                bundle.view_all(&approver, now()),
            ];
            for answer in answers {
                let (allowed, reasons, errors) = by_all(&bundle, &answer);
                prop_assert_eq!(answer.allows(), allowed, "{}\n{}", text, answer.gate);
                prop_assert_eq!(answer.errors.len(), errors);
                if errors == 0 {
                    let ids: BTreeSet<String> = answer.policy_ids.into_iter().collect();
                    prop_assert_eq!(ids, reasons);
                }
            }
        }
    }
}
