//! Whether an emulator still tells the truth about what the ends of access lean on.

mod checks;
mod place;

use anyhow::Context as _;
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use hallpass_standins::{Ministack, MinistackOptions, Tools};
use url::Url;

pub use checks::{CHECKS, Check, Observation};
pub use place::Place;

/// Which emulators.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The address of another emulator that runs already, for instance of localemu with
    /// `IAM_ENFORCEMENT=1 ROOT_ACCESS_KEYS=222233334444`: what the ends lean on must hold there.
    #[arg(long, value_name = "URL")]
    pub second_opinion: Option<Url>,
    /// The address of an emulator that runs already, instead of the pinned one.
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<Url>,
}

/// Runs every check and prints a table; whether the emulator behaves as AWS does.
///
/// # Errors
/// When an emulator could not be started.
pub fn run(options: &Options) -> LocalBoxFuture<'_, anyhow::Result<bool>> {
    show(options).boxed_local()
}

async fn show(options: &Options) -> anyhow::Result<bool> {
    let tools = Tools::locate_or_install(&Tools::default_dir()?, &())?;
    let logs = std::env::temp_dir();
    let mut emulator = None;
    let endpoint = match &options.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => {
            let started = Ministack::start(&tools, MinistackOptions::new(&logs)).await?;
            emulator.insert(started).endpoint().parse()?
        }
    };
    let first = ask(&endpoint).await?;
    let second = match &options.second_opinion {
        Some(other) => Some(ask(other).await?),
        None => None,
    };
    let all_well = table(&first, second.as_deref());
    if let Some(mut emulator) = emulator {
        emulator.process().stop().await?;
    }
    Ok(all_well)
}

/// Prints what was answered; whether the first is as AWS, and the second in what the ends lean on.
fn table(first: &[Answer], second: Option<&[Answer]>) -> bool {
    let mut all_well = true;
    for (index, (check, seen)) in first.iter().enumerate() {
        let well = is_as_aws(seen);
        all_well &= well;
        let other = second.and_then(|second| second.get(index));
        let opinion = match other {
            None => "",
            Some((_, seen)) if is_as_aws(seen) == well => "agreed ",
            Some(_) => "OTHERS ",
        };
        all_well &= other.is_none_or(|(_, seen)| !check.ends || is_as_aws(seen));
        let word = if well { "as AWS" } else { "WRONG " };
        println!("{word} {opinion} {:<4} {}", check.id, check.says);
        let all = seen.iter().chain(other.iter().flat_map(|(_, seen)| seen));
        for wrong in all.filter(|o| !o.holds()) {
            println!("        {wrong}");
        }
    }
    all_well
}

fn is_as_aws(seen: &[Observation]) -> bool {
    seen.iter().all(Observation::holds)
}

/// A check and what was seen.
pub type Answer = (&'static Check, Vec<Observation>);

/// What an emulator answers to every check.
///
/// # Errors
/// When it does not answer at all.
pub fn ask(endpoint: &Url) -> LocalBoxFuture<'_, anyhow::Result<Vec<Answer>>> {
    ask_all(endpoint).boxed_local()
}

async fn ask_all(endpoint: &Url) -> anyhow::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    for check in CHECKS {
        let place = Place::new(endpoint, check.id).await;
        let place = place.with_context(|| format!("{} cannot be prepared", check.id))?;
        let seen = (check.look)(place).await;
        let seen = seen.with_context(|| format!("{} cannot be asked", check.id))?;
        answers.push((check, seen));
    }
    Ok(answers)
}
