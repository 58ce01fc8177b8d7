//! Temporal: the namespace, its search attributes, and how long it keeps what is over.

use std::time::Duration;

use hallpass_policy::Bundle;
use hallpass_types::AwsAccountId;
use hallpass_workflows::names::Queues;
use temporalio_client::Client;
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeNamespaceRequest;

use super::{Finding, words};
use crate::config::Config;
use crate::temporal;

pub(super) async fn look(config: &Config, bundle: &Bundle) -> Vec<Finding> {
    let address = config.temporal.address.to_string();
    let what = format!("temporal {address}");
    let client = match temporal::dial(config).await {
        Ok(client) => client,
        Err(error) => {
            let cure = "start it, or correct temporal.address, temporal.tls and temporal.api_key";
            return vec![Finding::wrong(what, words(&error), cure)];
        }
    };
    let mut findings = vec![Finding::right(what, "answers")];
    let name = &config.temporal.namespace;
    match retention(&client, name).await {
        Ok(kept) => findings.push(keeps(name, kept, needed(config, bundle))),
        Err(status) => {
            let what = format!("namespace {name}");
            let cure = format!("make it: temporal operator namespace create -n {name}");
            findings.push(Finding::wrong(what, words(&status), cure));
            return findings;
        }
    }
    findings.push(attributes(&client, name).await);
    for account in config.aws.elsewhere() {
        findings.push(own_workers(&client, name, account).await);
    }
    findings
}

/// Whether an account's own workers are there.
async fn own_workers(client: &Client, namespace: &str, account: &AwsAccountId) -> Finding {
    let what = format!("workers of {account}");
    let queues = Queues::of(account);
    let mut silent = Vec::new();
    for queue in [queues.giving, queues.ends, queues.cuts] {
        match temporal::pollers(client, namespace, &queue).await {
            Ok(0) => silent.push(queue),
            Ok(_) => {}
            Err(status) => return Finding::wrong(what, words(&status), "try again"),
        }
    }
    if silent.is_empty() {
        return Finding::right(what, "poll their queues");
    }
    let found = format!("nobody polls {}", silent.join(", "));
    let cure =
        format!("start them with that account's credentials: hallpassd serve --account {account}");
    Finding::note(what, found, cure)
}

async fn retention(client: &Client, namespace: &str) -> Result<Duration, tonic::Status> {
    let request = DescribeNamespaceRequest {
        namespace: namespace.to_owned(),
        ..Default::default()
    };
    let mut service = client.connection().workflow_service();
    let answer = service.describe_namespace(tonic::Request::new(request));
    let config = answer.await?.into_inner().config.unwrap_or_default();
    let kept = config.workflow_execution_retention_ttl.unwrap_or_default();
    Ok(Duration::from_secs(
        kept.seconds.try_into().unwrap_or_default(),
    ))
}

/// How long Temporal must keep a request that is over: so that one asked for again with its key is
/// found for as long as it could have run, and that the archive has it before it is gone.
fn needed(config: &Config, bundle: &Bundle) -> Duration {
    let longest = bundle
        .entitlements()
        .map(|e| e.max_duration.as_seconds())
        .max();
    let window = bundle.settings().approval_window_seconds;
    let grant = Duration::from_secs(u64::from(longest.unwrap_or_default()) + u64::from(window));
    let archive = config.archive.as_ref();
    grant.max(archive.map_or(Duration::ZERO, |a| a.late_after() + a.interval()))
}

fn keeps(namespace: &str, kept: Duration, needed: Duration) -> Finding {
    let what = format!("namespace {namespace}");
    let found = format!("keeps what is over for {}", hours(kept));
    if kept >= needed {
        return Finding::right(what, found);
    }
    let found = format!(
        "{found}, less than the {} of the longest request",
        hours(needed)
    );
    let days = needed.as_secs().div_ceil(86_400);
    let cure = format!("temporal operator namespace update -n {namespace} --retention {days}d");
    Finding::wrong(what, found, cure)
}

fn hours(duration: Duration) -> String {
    let minutes = duration.as_secs().div_ceil(60);
    match minutes % 60 {
        0 => format!("{} h", minutes / 60),
        rest => format!("{} h {rest} min", minutes / 60),
    }
}

async fn attributes(client: &Client, namespace: &str) -> Finding {
    let what = "search attributes";
    match temporal::missing_search_attributes(client, namespace).await {
        Err(error) => {
            let cure = "let hallpassd read them, and give it a namespace of its own";
            Finding::wrong(what, words(&error), cure)
        }
        Ok(missing) if missing.is_empty() => Finding::right(what, "all there"),
        Ok(missing) => {
            let mut names: Vec<_> = missing.into_keys().collect();
            names.sort();
            let found = format!("not yet there: {}", names.join(", "));
            Finding::note(what, found, "hallpassd registers them when it starts")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn retention_must_reach_the_longest_request() {
        let day = Duration::from_secs(86_400);
        assert_eq!(keeps("n", day, day).verdict, Verdict::Right);
        let short = keeps("n", day, day + Duration::from_secs(5_400));
        assert_eq!(short.verdict, Verdict::Wrong);
        assert!(short.found.contains("25 h 30 min"), "{}", short.found);
        assert!(short.cure.ends_with("--retention 2d"), "{}", short.cure);
    }
}
