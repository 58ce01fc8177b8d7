//! One run: a scenario is played, somebody is killed on the way, and the end is looked at.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use hallpass_faults::Target;
use harness::{uuid, workflow_of};

use crate::check;
use crate::scenario::Scenario;
use crate::script::Stage;
use crate::totals::{Fault, Outcome};
use crate::world::{Eyes, World};

/// How long a run may take before what is not over counts as stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Victim {
    /// The process that serves gRPC.
    Api,
    /// The process with workflows and the activities that give.
    Worker,
    /// The process with the activities that end access.
    Ends,
    /// Both processes that call AWS.
    Workers,
    /// The Temporal server.
    Temporal,
}

impl Victim {
    pub(crate) fn roles(self) -> &'static [&'static str] {
        match self {
            Self::Api => &["api"],
            Self::Worker => &["worker"],
            Self::Ends => &["ends"],
            Self::Workers => &["worker", "ends"],
            Self::Temporal => &[],
        }
    }
}

/// When somebody is killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// When the history of the first request has so many events.
    Event(usize),
    /// When AWS has executed this call for the `skip + 1`th time, before anybody hears of it.
    Call {
        /// Service and action.
        name: String,
        /// How many pass first.
        skip: u32,
    },
}

/// A call in the form `iam:CreateRole` or, for its second time, `iam:CreateRole+1`.
impl FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, skip) = text.split_once('+').unwrap_or((text, "0"));
        let skip = skip.parse().map_err(|_| "no number after the +")?;
        match name.split_once(':') {
            Some((service, action)) if !service.is_empty() && !action.is_empty() => {
                let name = name.to_owned();
                Ok(Self::Call { name, skip })
            }
            _ => Err("want service:Action, for instance iam:CreateRole".to_owned()),
        }
    }
}

/// A kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Who.
    pub victim: Victim,
    /// When.
    pub moment: Moment,
}

/// A scenario, and who dies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What is played.
    pub scenario: Scenario,
    /// Who is killed, if anybody.
    pub kill: Option<Kill>,
}

/// The arguments that repeat it.
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--scenario {}", self.scenario.name())?;
        let Some(Kill { victim, moment }) = &self.kill else {
            return f.write_str(" --no-kill");
        };
        let victim = victim.to_possible_value();
        let victim = victim.as_ref().map_or("", |value| value.get_name());
        write!(f, " --kill {victim}")?;
        match moment {
            Moment::Event(count) => write!(f, " --event {count}"),
            Moment::Call { name, skip: 0 } => write!(f, " --call {name}"),
            Moment::Call { name, skip } => write!(f, " --call {name}+{skip}"),
        }
    }
}

impl Run {
    /// Plays the scenario in a world where everything runs, and leaves it so.
    pub fn play<'a>(&'a self, world: &'a mut World) -> LocalBoxFuture<'a, Outcome> {
        self.guarded(world).boxed_local()
    }

    async fn guarded(&self, world: &mut World) -> Outcome {
        let begun = Instant::now();
        let played = AssertUnwindSafe(self.act(world)).catch_unwind().await;
        let mut outcome = match played {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::broken(format!("{error:#}")),
            Err(panic) => Outcome::broken(words(panic.as_ref())),
        };
        outcome.took = begun.elapsed();
        outcome
    }

    async fn act(&self, world: &mut World) -> anyhow::Result<Outcome> {
        world.ensure_up().await;
        let eyes = world.eyes().await;
        eyes.faults.clear();
        eyes.faults.forget();
        let key = uuid();
        let id = world.private.request_id(self.scenario.asker(), &key);
        let workflow = workflow_of(&id.name());
        let stage = Stage::new(eyes.clone(), id.to_string(), key, Instant::now() + PATIENCE);
        let mut struck = false;
        let played = {
            let play = self.scenario.play(&stage);
            let strike = self.strike(world, &eyes, &workflow, id.as_str(), &mut struck);
            tokio::pin!(play, strike);
            tokio::select! {
                played = &mut play => played,
                // Whoever was killed is back; the rest of the play.
                struck = &mut strike => match struck {
                    Ok(()) => play.await,
                    Err(error) => Err(error),
                },
            }
        };
        world.ensure_up().await;
        let (parts, unplayed) = match played {
            Ok(parts) => (parts, None),
            Err(error) => (stage.parts(), Some(format!("{error:#}"))),
        };
        let mut faults = check::look(&eyes, &parts, stage.deadline()).await;
        faults.extend(unplayed.map(Fault::Stuck));
        Ok(Outcome {
            reached: struck || self.kill.is_none(),
            events: tokio::time::timeout(PATIENCE, eyes.engine.until_events(&workflow, 1)).await?,
            faults,
            calls: eyes.faults.calls(),
            id: id.to_string(),
            took: Duration::ZERO,
        })
    }

    /// Kills at the moment, and starts again; never returns when there is nobody to be killed.
    async fn strike(
        &self,
        world: &mut World,
        eyes: &Eyes,
        workflow: &str,
        id: &str,
        struck: &mut bool,
    ) -> anyhow::Result<()> {
        let Some(Kill { victim, moment }) = &self.kill else {
            return std::future::pending().await;
        };
        match moment {
            Moment::Event(count) => {
                if eyes.engine.until_events(workflow, *count).await < *count {
                    return std::future::pending().await;
                }
            }
            Moment::Call { name, skip } => {
                let target = Target::action(name).about(id);
                eyes.faults.hold(target, *skip).executed().await;
            }
        }
        *struck = true;
        world.kill(*victim).await?;
        world.ensure_up().await;
        Ok(())
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_as_they_are_shown() {
        for text in ["iam:CreateRole", "sts:AssumeRole+2"] {
            let moment: Moment = text.parse().unwrap();
            let run = Run {
                scenario: Scenario::CreateRevoked,
                kill: Some(Kill {
                    victim: Victim::Workers,
                    moment,
                }),
            };
            let shown = format!("--scenario create-revoked --kill workers --call {text}");
            assert_eq!(run.to_string(), shown);
        }
        for text in ["CreateRole", "iam:", ":x", "iam:CreateRole+x"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }
}
