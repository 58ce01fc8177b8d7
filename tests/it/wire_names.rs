//! Names that histories and other processes hold us to change only on purpose.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hallpass_types::AwsAccountId;
use hallpass_workflows::names::Queues;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::taskqueue::v1::TaskQueue;

use crate::replay::recorded;

/// The account whose own workers are in recorded histories.
const ACCOUNT: &str = crate::operate::accounts::SANDBOX;

/// Attributes of the workflow macros, and what they name.
const ATTRIBUTES: [(&str, &str); 5] = [
    ("#[run(", "workflow"),
    ("#[signal(", "signal"),
    ("#[query(", "query"),
    ("#[update(", "update"),
    ("#[activity(", "activity"),
];

fn golden() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/wire-names.txt");
    let text = std::fs::read_to_string(path).expect("tests/golden/wire-names.txt");
    text.lines().map(str::to_owned).collect()
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../workflows/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found
}

fn quoted(text: &str) -> Option<&str> {
    text.split('"').nth(1)
}

/// Every name that the workflow package gives anything, as its source says it.
fn in_code() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines().map(str::trim) {
            for (attribute, kind) in ATTRIBUTES {
                if line.starts_with(attribute) {
                    let name = quoted(line);
                    let name = name.unwrap_or_else(|| panic!("{line} has no name of its own"));
                    names.insert(format!("{kind} {name}"));
                }
            }
        }
    }
    let consts = include_str!("../../workflows/src/names.rs").lines();
    for line in consts.filter(|l| l.starts_with("pub const ") && l.contains(": &str = ")) {
        let name = line
            .trim_start_matches("pub const ")
            .split(':')
            .next()
            .unwrap();
        let kind = match name {
            _ if name.starts_with("SA_") => "search-attribute",
            _ if name.ends_with("TASK_QUEUE") => "task-queue",
            _ if name.ends_with("_WORKFLOW") => "workflow",
            _ => "workflow-id",
        };
        names.insert(format!("{kind} {}", quoted(line).unwrap()));
    }
    let account = AwsAccountId::parse(ACCOUNT).unwrap();
    let Queues { giving, ends, cuts } = Queues::of(&account);
    for queue in [giving, ends, cuts] {
        names.insert(format!("task-queue {}", of_any_account(&queue)));
    }
    for (name, kind) in hallpass_workflows::names::SEARCH_ATTRIBUTES {
        names.insert(format!("search-attribute-type {name} {kind}"));
    }
    names
}

/// The name of an account's own queue, without the account.
fn of_any_account(queue: &str) -> String {
    queue.replace(ACCOUNT, "{account}")
}

fn in_event(event: &HistoryEvent, names: &mut BTreeSet<String>) {
    let mut add = |kind: &str, name: &str| {
        names.insert(format!("{kind} {name}"));
    };
    let queue = |queue: &Option<TaskQueue>| of_any_account(&queue.clone().unwrap_or_default().name);
    match event.attributes.as_ref() {
        Some(Attributes::WorkflowExecutionStartedEventAttributes(a)) => {
            add("workflow", &a.workflow_type.clone().unwrap().name);
            add("task-queue", &queue(&a.task_queue));
            for name in a
                .search_attributes
                .clone()
                .unwrap_or_default()
                .indexed_fields
                .keys()
            {
                add("search-attribute", name);
            }
        }
        Some(Attributes::WorkflowExecutionSignaledEventAttributes(a)) => {
            add("signal", &a.signal_name);
        }
        Some(Attributes::WorkflowExecutionUpdateAcceptedEventAttributes(a)) => {
            let request = a.accepted_request.clone().unwrap();
            add("update", &request.input.unwrap().name);
        }
        Some(Attributes::ActivityTaskScheduledEventAttributes(a)) => {
            add("activity", &a.activity_type.clone().unwrap().name);
            add("task-queue", &queue(&a.task_queue));
        }
        Some(Attributes::UpsertWorkflowSearchAttributesEventAttributes(a)) => {
            for name in a
                .search_attributes
                .clone()
                .unwrap_or_default()
                .indexed_fields
                .keys()
            {
                add("search-attribute", name);
            }
        }
        _ => {}
    }
}

#[test]
fn names_in_code_are_those_of_the_golden_list() {
    let (code, golden) = (in_code(), golden());
    let gone: Vec<_> = golden.difference(&code).collect();
    let new: Vec<_> = code.difference(&golden).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "gone: {gone:#?}, new: {new:#?}"
    );
}

#[test]
fn names_in_recorded_histories_are_in_the_golden_list() {
    let mut names = BTreeSet::new();
    for (_, history) in recorded() {
        for event in &history.events {
            in_event(event, &mut names);
        }
    }
    let unknown: Vec<_> = names.difference(&golden()).cloned().collect();
    assert_eq!(unknown, Vec::<String>::new());
    // The histories show every door and every activity of a request.
    for kind in [
        "workflow ",
        "signal ",
        "update ",
        "task-queue ",
        "search-attribute ",
    ] {
        assert!(
            names.iter().any(|n| n.starts_with(kind)),
            "no {kind}in the histories"
        );
    }
    assert!(names.len() >= 20, "{names:#?}");
}
