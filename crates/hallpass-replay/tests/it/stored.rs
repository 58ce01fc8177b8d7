//! The histories that the repository keeps, whatever they are.

use std::path::{Path, PathBuf};

use hallpass_workflows::names::ACCESS_REQUEST_WORKFLOW;
use prost::Message as _;
use temporalio_common::protos::temporal::api::history::v1::History;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every recorded history by `version/kind`, sorted.
pub(crate) fn all() -> Vec<(String, History)> {
    let mut found = Vec::new();
    let folder = repository().join("tests/histories");
    for version in std::fs::read_dir(&folder).unwrap() {
        for file in std::fs::read_dir(version.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let history = History::decode(std::fs::read(&path).unwrap().as_slice()).unwrap();
            let name = path.strip_prefix(&folder).unwrap().with_extension("");
            found.push((name.display().to_string(), history));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!found.is_empty(), "no history was recorded");
    found
}

/// The newest history of a kind, for instance `extended`.
pub(crate) fn named(kind: &str) -> History {
    let end = format!("/{kind}");
    let found = all()
        .into_iter()
        .rev()
        .find(|(name, _)| name.ends_with(&end));
    found.expect("a history of that kind").1
}

/// Those of access requests: a release may keep histories of other workflows as well.
pub(crate) fn requests() -> Vec<(String, History)> {
    let mut found = all();
    found.retain(|(_, history)| match &history.events[0].attributes {
        Some(Attributes::WorkflowExecutionStartedEventAttributes(a)) => {
            let kind = a.workflow_type.as_ref().map(|t| t.name.as_str());
            kind == Some(ACCESS_REQUEST_WORKFLOW)
        }
        _ => false,
    });
    found
}
