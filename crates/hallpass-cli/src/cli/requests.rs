//! Options of the commands that ask for access, list it and end it.

use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use hallpass_types::{EntitlementId, GrantDuration, RequestId};

use super::{Id, parse_entitlement, parse_parameter};
use crate::durations;

/// Of `request`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("waiting").args(["wait", "no_wait"]))]
pub(crate) struct RequestArgs {
    /// What to ask for, one or several; `hallpass entitlements` lists it [default on a terminal:
    /// choose from the list]
    #[arg(value_name = "ENTITLEMENT", value_parser = parse_entitlement)]
    pub(crate) entitlements: Vec<EntitlementId>,
    /// Only what is in this AWS account, by number or by name; names it where one thing fits
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) account: Option<String>,
    /// For how long once granted, as 90s, 30m or 1h30m [default: 1h, or what policy allows]
    #[arg(long = "for", value_name = "DURATION", value_parser = durations::parse_grant)]
    pub(crate) duration: Option<GrantDuration>,
    /// Why; approvers and auditors read it
    #[arg(short = 'm', long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// The ticket or incident it belongs to
    #[arg(long, value_name = "TEXT")]
    pub(crate) ticket: Option<String>,
    /// Break the glass: policy may open at once what people would be asked for; they are told, and
    /// somebody reviews it afterwards
    #[arg(long, conflicts_with = "start")]
    pub(crate) break_glass: bool,
    /// A value for one of its parameters, which `hallpass entitlements` lists; may be given several
    /// times
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_parameter)]
    pub(crate) parameters: Vec<(String, String)>,
    /// When it is to start, at most 7 days ahead: 2026-11-23T09:00:00Z, or in your time zone
    /// "2026-11-23 09:00" or 09:00 [default: once it is approved]
    #[arg(long = "at", value_name = "TIME")]
    pub(crate) start: Option<String>,
    /// Only tell what would happen: granted at once, approvals needed, or denied
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Ask for another, also where one is active, which would be extended, or waits
    #[arg(long)]
    pub(crate) new: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Wait until it is granted or refused [default on a terminal]
    #[arg(long)]
    pub(crate) wait: bool,
    /// Print the id and go [default elsewhere]
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Give up waiting after this long; the request stays
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = durations::parse)]
    pub(crate) timeout: Duration,
    /// Idempotency key: the same key asks once, however often it is sent
    #[arg(long, value_name = "UUID", value_parser = parse_request_id)]
    pub(crate) request_id: Option<RequestId>,
}

/// Of `approve`.
#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// Which requests: `ar-…`, one or several
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<Id>,
    /// For less than was asked: for at most so long once granted, as 90s, 30m or 1h30m
    #[arg(long = "for", value_name = "DURATION", value_parser = durations::parse_grant)]
    pub(crate) at_most: Option<GrantDuration>,
    /// Why, for the record
    #[arg(short = 'm', long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Sign in for it, so that your identity provider signs the decision [default: where policy
    /// wants it]
    #[arg(long)]
    pub(crate) sign: bool,
}

/// Of `deny`.
#[derive(Debug, Args)]
pub(crate) struct DenyArgs {
    /// Which requests: `ar-…`, one or several
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<Id>,
    /// Why; it goes into the record
    #[arg(short = 'm', long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Sign in for it, so that your identity provider signs the decision [default: where policy
    /// wants it]
    #[arg(long)]
    pub(crate) sign: bool,
}

/// Of `review`.
#[derive(Debug, Args)]
pub(crate) struct ReviewArgs {
    /// Which request: `ar-…`
    pub(crate) id: Id,
    /// What you found; it goes into the record
    #[arg(short = 'm', long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// Of `ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Only active ones
    #[arg(long)]
    pub(crate) active: bool,
    /// What waits for your decision, as `hallpass queue` shows it
    #[arg(long, conflicts_with_all = ["active", "pending", "all_requesters", "state", "entitlement"])]
    pub(crate) to_decide: bool,
    /// Only those that wait for approval
    #[arg(long)]
    pub(crate) pending: bool,
    /// Everybody's; policy must let you view all
    #[arg(long)]
    pub(crate) all_requesters: bool,
    /// Only those in this state; may be given several times
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Vec<StateName>,
    /// Only those for this entitlement
    #[arg(long, value_name = "ENTITLEMENT", value_parser = parse_entitlement)]
    pub(crate) entitlement: Option<EntitlementId>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
}

/// Of the commands that end access.
#[derive(Debug, Args)]
pub(crate) struct ProofWait {
    /// Do not wait for the proof that it is over
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Give up waiting after this long; the order stays
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = durations::parse)]
    pub(crate) timeout: Duration,
}

/// How far to follow a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Until {
    /// Granted, or never to be
    Active,
    /// Granted, also if its start is to come, or never to be
    Scheduled,
    /// Over
    End,
}

/// A state by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateName {
    Checking,
    AwaitingApproval,
    Scheduled,
    Provisioning,
    Active,
    Ending,
    Stuck,
    Ended,
    Denied,
    Lapsed,
    Withdrawn,
    Failed,
}

fn parse_request_id(text: &str) -> Result<RequestId, String> {
    RequestId::parse(text).map_err(|e| e.to_string())
}
