//! `diff`: what changes for the people and entitlements there are, and for every request there can
//! be where a solver is at hand.

mod catalogue;
mod formal;

use hallpass_policy::Bundle;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::{DiffArgs, Formal};
use crate::errors::ToolError;
use crate::pack::Pack;
use crate::report::{Exit, Screen, table};
use crate::solver::Prover;

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Compared {
    old_digest: String,
    new_digest: String,
    entitlements: Vec<catalogue::Changed>,
    newly_allowed: Vec<Change>,
    newly_denied: Vec<Change>,
    /// Absent when no solver was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    formal: Option<Vec<formal::Widened>>,
}

/// One decision that is another one now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Change {
    gate: String,
    who: String,
    what: String,
    /// An example of the question, in words.
    example: String,
    /// The policies that decide it now.
    by: Vec<String>,
}

pub(crate) fn run(args: &DiffArgs, screen: &Screen) -> Result<Exit, ToolError> {
    let old = Pack::load(&args.old)?;
    let new = Pack::load(&args.new)?;
    let now = args.at.unwrap_or_else(Timestamp::now);
    let (newly_allowed, newly_denied) = catalogue::changes(&old, &new, now)?;
    let prover = match args.formal {
        Formal::No => None,
        Formal::Yes => Some(Prover::start(screen)?),
        Formal::Auto => Prover::start_if_installed()?,
    };
    let formal = prover
        .map(|prover| widened(&old.bundle, &new.bundle, prover))
        .transpose()?;
    let compared = Compared {
        old_digest: old.bundle.digest().to_string(),
        new_digest: new.bundle.digest().to_string(),
        entitlements: catalogue::entitlements(&old.bundle, &new.bundle),
        newly_allowed,
        newly_denied,
        formal,
    };
    screen.show(&compared, || words(&compared, screen))?;
    let wider = compared
        .formal
        .as_ref()
        .is_some_and(|f| f.iter().any(|w| w.wider.is_some()));
    Ok(Exit::when(compared.newly_allowed.is_empty() && !wider))
}

fn widened(
    old: &Bundle,
    new: &Bundle,
    mut prover: Prover,
) -> Result<Vec<formal::Widened>, ToolError> {
    formal::widened(old, new, &mut prover)
}

fn words(compared: &Compared, screen: &Screen) -> String {
    let mut text = format!("old {}\nnew {}\n", compared.old_digest, compared.new_digest);
    if !compared.entitlements.is_empty() {
        let row = |c: &catalogue::Changed| vec![c.entitlement.clone(), c.what.clone()];
        text.push('\n');
        let rows = compared.entitlements.iter().map(row).collect();
        text.push_str(&table(&["ENTITLEMENT", "CHANGE"], rows));
    }
    for (title, changes) in [
        (screen.bad("newly allowed"), &compared.newly_allowed),
        (screen.good("newly denied"), &compared.newly_denied),
    ] {
        if changes.is_empty() {
            continue;
        }
        let row = |c: &Change| {
            let by = if c.by.is_empty() {
                "no policy".to_owned()
            } else {
                c.by.join(", ")
            };
            vec![
                c.gate.clone(),
                c.who.clone(),
                c.what.clone(),
                c.example.clone(),
                by,
            ]
        };
        text.push_str(&format!("\n{title}\n"));
        let header = ["GATE", "WHO", "WHAT", "FOR EXAMPLE", "BY"];
        text.push_str(&table(&header, changes.iter().map(row).collect()));
    }
    if compared.newly_allowed.is_empty() && compared.newly_denied.is_empty() {
        text.push_str("\nno decision changes for these people and entitlements\n");
    }
    match &compared.formal {
        None => {
            text.push_str("\nnot compared for every request: no cvc5 (--formal yes installs it)\n")
        }
        Some(all) => {
            text.push_str("\nfor every request there can be, policies allow\n");
            for widened in all {
                let verdict = match (&widened.wider, &widened.narrower) {
                    (None, None) => "the same",
                    (None, Some(_)) => "less",
                    (Some(_), None) => "more",
                    (Some(_), Some(_)) => "other things",
                };
                text.push_str(&format!("  {:<20}{verdict}\n", widened.action));
                if let Some(example) = &widened.wider {
                    text.push_str(&example.words());
                }
            }
        }
    }
    text
}
