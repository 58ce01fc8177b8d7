//! A bundle verified as `hallpass-audit verify` does it, and its histories through the bare replayer.

use std::fs::File;
use std::path::Path;

use hallpass_audit::{Trust, Verdict, read_history};
use hallpass_bundle::Bundle;
use hallpass_evidence::{Keyring, SigningKey};
use hallpass_replay::{Log, Policies, Replayer, Verifier};
use hallpass_workflows::AccessRequest;
use temporalio_client::WorkflowHistory;
use temporalio_sdk::workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions};

use super::archive::SEED;
use super::usage::Watch;
use crate::stats::Row;

/// The bundle opened, verified, and its histories replayed bare.
pub(crate) async fn rows(file: &Path) -> anyhow::Result<Vec<Row>> {
    let mut opening = Watch::over(1);
    let begun = opening.begin();
    let bundle = Bundle::open(File::open(file)?)?;
    let verifier = Verifier {
        replayer: Replayer::new()?,
        trust: Trust {
            keys: Some(Keyring::new([SigningKey::from_seed(&SEED).public_key()])),
            deployment: Some("test".to_owned()),
        },
        policies: Policies::of(&bundle.policies()?)?,
        issuer_keys: None,
        log: Log::default(),
    };
    let mut wrong = Vec::new();
    let checks = verifier.of_bundle(&bundle);
    let failed = |c: &hallpass_audit::Check| c.verdict != Verdict::Holds;
    wrong.extend(checks.into_iter().filter(failed));
    opening.done(&begun, 1);
    let count = bundle.pages().map(|page| page.requests.len()).sum();
    let mut verifying = Watch::over(count);
    let mut holds = 0u32;
    for (id, packed) in bundle.histories() {
        let begun = verifying.begin();
        let report = verifier.history(id, &read_history(&packed?)?).await;
        verifying.done(&begun, 1);
        holds += u32::from(report.verdict() == Verdict::Holds);
        wrong.extend(report.checks.into_iter().filter(failed));
    }
    anyhow::ensure!(wrong.is_empty(), "it does not hold: {:#?}", wrong.first());
    let options = WorkflowReplayerOptions::new()
        .register_workflow::<AccessRequest>()?
        .build();
    let mut bare = Watch::over(count);
    for (_, packed) in bundle.histories() {
        let begun = bare.begin();
        let replayer = WorkflowReplayer::new(options.clone())?;
        let history = WorkflowHistory::from(read_history(&packed?)?);
        replayer.replay_workflow(history).await?;
        bare.done(&begun, 1);
    }
    Ok(vec![
        opening.row("the bundle itself: bytes, pages, proofs"),
        verifying
            .row("verified, a history")
            .counting("holds", holds.into()),
        bare.row("the bare replayer, a history"),
    ])
}
