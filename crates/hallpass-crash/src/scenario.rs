//! The lives of requests that are played.

use anyhow::bail;
use clap::ValueEnum;
use futures::future::try_join_all;
use hallpass_faults::{Fault, Rule, Target};
use hallpass_proto::v1::Verdict;
use harness::Reading;

use crate::script::{Ends, Part, Stage};

/// A life, named by its mode and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Scenario {
    /// A shared role, until the end.
    AssumeExpired,
    /// A created role, until the end.
    CreateExpired,
    /// A shared role, approved, given back.
    AssumeReturned,
    /// A created role, approved twice, revoked.
    CreateApproved,
    /// A person says no.
    Denied,
    /// Policy says no.
    Refused,
    /// Nobody answers.
    Lapsed,
    /// The question is taken back.
    Withdrawn,
    /// A shared role, revoked.
    AssumeRevoked,
    /// A created role, revoked.
    CreateRevoked,
    /// A shared role, extended, until the later end.
    AssumeExtended,
    /// A created role, extended, given back.
    CreateExtended,
    /// A role is made, and its policy is refused.
    HalfWay,
    /// Two grants on one role, of which one is revoked.
    Neighbours,
    /// Eight requests at once, half given back and half left to expire.
    Storm,
}

const EXPIRED: Ends = &["ended expired"];
/// What is not provisioned by its end has failed, and is cleaned up.
const MADE_OR_NOT: Ends = &["ended expired", "failed"];
/// An order that comes after the end finds it over.
const RETURNED: Ends = &["ended returned"];
const REVOKED: Ends = &["ended revoked"];

impl Scenario {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(crate) fn asker(self) -> &'static str {
        match self {
            Self::Refused => "deploy-bot",
            _ => "alice",
        }
    }

    /// After how many seconds a request lapses; each value takes a world of its own.
    #[must_use]
    pub fn window(self) -> u32 {
        match self {
            Self::Lapsed => 5,
            _ => 3600,
        }
    }

    /// Plays to the end, and returns every request that was made.
    pub(crate) async fn play(self, stage: &Stage) -> anyhow::Result<Vec<Part>> {
        match self {
            Self::AssumeExpired => expire(stage, "sandbox-reports", EXPIRED).await?,
            Self::CreateExpired => expire(stage, "sandbox-scratch", MADE_OR_NOT).await?,
            Self::AssumeReturned => approved(stage, "prod-reports", &["bob"], RETURNED).await?,
            Self::CreateApproved => {
                approved(stage, "prod-export", &["bob", "carol"], REVOKED).await?;
            }
            Self::Denied => denied(stage).await?,
            Self::Refused => settle(stage, "sandbox-scratch", &["denied"]).await?,
            Self::Lapsed => settle(stage, "prod-reports", &["lapsed"]).await?,
            Self::Withdrawn => withdrawn(stage).await?,
            Self::AssumeRevoked => revoked(stage, "sandbox-reports").await?,
            Self::CreateRevoked => revoked(stage, "sandbox-scratch").await?,
            Self::AssumeExtended => extended_and_expired(stage).await?,
            Self::CreateExtended => extended_and_returned(stage).await?,
            Self::HalfWay => half_way(stage).await?,
            Self::Neighbours => neighbours(stage).await?,
            Self::Storm => storm(stage).await?,
        }
        Ok(stage.parts())
    }
}

async fn expire(stage: &Stage, entitlement: &str, ends: Ends) -> anyhow::Result<()> {
    let request = stage.ask("alice", entitlement, 12, ends).await?;
    if stage.opens(&request).await? {
        stage.use_it(&request).await?;
    }
    stage.is_over(&request).await
}

async fn approved(stage: &Stage, entitlement: &str, by: &[&str], ends: Ends) -> anyhow::Result<()> {
    let request = stage.ask("alice", entitlement, 300, ends).await?;
    for who in by {
        stage.decide(who, &request, Verdict::Approve).await?;
    }
    if !stage.opens(&request).await? {
        bail!("{} did not open, though it was approved", request.name);
    }
    stage.use_it(&request).await?;
    match ends == RETURNED {
        true => stage.give_back(&request).await?,
        false => stage.revoke(&request).await?,
    }
    stage.is_over(&request).await
}

async fn denied(stage: &Stage) -> anyhow::Result<()> {
    let request = stage.ask("alice", "prod-reports", 300, &["denied"]).await?;
    stage.decide("bob", &request, Verdict::Deny).await?;
    stage.is_over(&request).await
}

/// Waits for what comes by itself.
async fn settle(stage: &Stage, entitlement: &str, ends: Ends) -> anyhow::Result<()> {
    let who = match ends {
        ["denied"] => "deploy-bot",
        _ => "alice",
    };
    let request = stage.ask(who, entitlement, 300, ends).await?;
    stage.is_over(&request).await
}

async fn withdrawn(stage: &Stage) -> anyhow::Result<()> {
    let ends: Ends = &["withdrawn"];
    let request = stage.ask("alice", "prod-reports", 300, ends).await?;
    stage.withdraw(&request).await?;
    stage.is_over(&request).await
}

async fn revoked(stage: &Stage, entitlement: &str) -> anyhow::Result<()> {
    let request = stage.ask("alice", entitlement, 300, REVOKED).await?;
    if !stage.opens(&request).await? {
        bail!("{} did not open", request.name);
    }
    stage.use_it(&request).await?;
    stage.revoke(&request).await?;
    stage.is_over(&request).await
}

async fn extended_and_expired(stage: &Stage) -> anyhow::Result<()> {
    let request = stage.ask("alice", "sandbox-reports", 12, EXPIRED).await?;
    if stage.opens(&request).await? {
        stage.extend(&request, 6).await?;
        stage.use_it(&request).await?;
    }
    stage.is_over(&request).await
}

async fn extended_and_returned(stage: &Stage) -> anyhow::Result<()> {
    let request = stage.ask("alice", "sandbox-scratch", 300, RETURNED).await?;
    if !stage.opens(&request).await? {
        bail!("{} did not open", request.name);
    }
    stage.extend(&request, 60).await?;
    stage.use_it(&request).await?;
    stage.give_back(&request).await?;
    stage.is_over(&request).await
}

/// The policy is refused once: whoever comes after a kill may have better luck.
async fn half_way(stage: &Stage) -> anyhow::Result<()> {
    let refused = Fault::Error {
        status: 400,
        code: "MalformedPolicyDocument",
    };
    let put = Target::action("PutRolePolicy").about(&stage.first_id);
    stage.eyes.faults.add(Rule::new(put, refused));
    let ends: Ends = &["failed", "ended returned"];
    let request = stage.ask("alice", "sandbox-scratch", 300, ends).await?;
    if stage.opens(&request).await? {
        stage.give_back(&request).await?;
    }
    stage.is_over(&request).await
}

async fn neighbours(stage: &Stage) -> anyhow::Result<()> {
    let one = stage.ask("alice", "sandbox-reports", 300, REVOKED).await?;
    let other = stage.ask("alice", "sandbox-reports", 300, RETURNED).await?;
    for request in [&one, &other] {
        stage.opens(request).await?;
        stage.use_it(request).await?;
    }
    stage.revoke(&one).await?;
    stage.is_over(&one).await?;
    if stage.session_reads(&other).await != Some(Reading::Allowed) {
        bail!("the end of {} cut {} as well", one.name, other.name);
    }
    stage.give_back(&other).await?;
    stage.is_over(&other).await
}

async fn storm(stage: &Stage) -> anyhow::Result<()> {
    let lives = (0..8).map(|n| async move {
        let entitlement = ["sandbox-reports", "sandbox-scratch"][n % 2];
        // Those that come late find it over.
        let ends: Ends = match n < 4 {
            true => &["ended returned", "ended expired", "failed"],
            false => MADE_OR_NOT,
        };
        let request = stage.ask("alice", entitlement, 25, ends).await?;
        if stage.opens(&request).await? {
            stage.use_it(&request).await?;
            if n < 4 {
                stage.give_back(&request).await?;
            }
        }
        stage.is_over(&request).await
    });
    try_join_all(lives).await.map(drop)
}
