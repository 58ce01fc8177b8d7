//! `explain`: why a request would be allowed or denied, what it needs, and who can give it.

use hallpass_policy::Bundle;
use hallpass_types::{ApprovalTally, PolicyAnswer, Principal, Ticket};
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::ExplainArgs;
use crate::errors::ToolError;
use crate::outlook::{self, Asked};
use crate::pack::Pack;
use crate::people::SignIn;
use crate::report::{Exit, Screen, table};

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained {
    who: String,
    what: String,
    duration: String,
    at: Timestamp,
    digest: String,
    request: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    longest: Option<String>,
    /// The fewest approvals that open it; absent when none do.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<ApprovalTally>,
    given: ApprovalTally,
    /// What is missing of `needs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<ApprovalTally>,
    activate: Verdict,
    approvers: Vec<Approver>,
    told: Vec<String>,
}

/// What a gate says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    allowed: bool,
    why: String,
    policies: Vec<String>,
}

/// Somebody of `people.toml` as an approver.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Approver {
    name: String,
    counts_as: Vec<&'static str>,
    approved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
}

pub(crate) fn run(args: &ExplainArgs, screen: &Screen) -> Result<Exit, ToolError> {
    let pack = Pack::load(&args.folder)?;
    let now = args.at.unwrap_or_else(Timestamp::now);
    let who = pack.people.named(&args.who, now, SignIn::default())?;
    let asked = Asked::new(&pack.bundle, who, &args.what, &args.values(), args.duration)?;
    let named = |name: &String| pack.people.named(name, now, SignIn::default());
    let approvers: Vec<_> = args
        .approved_by
        .iter()
        .map(named)
        .collect::<Result<_, _>>()?;
    let explained = explain(args, &pack, &asked, &approvers, now)?;
    screen.show(&explained, || words(&explained, screen))?;
    Ok(Exit::when(explained.request.allowed))
}

fn explain(
    args: &ExplainArgs,
    pack: &Pack,
    asked: &Asked,
    approved: &[Principal],
    now: Timestamp,
) -> Result<Explained, ToolError> {
    let (bundle, facts) = (&pack.bundle, asked.facts());
    let ticket = args.ticket.as_deref().map(Ticket::parse).transpose();
    let ticket = ticket.map_err(|e| ToolError::Usage(e.to_string()))?;
    let entitlement = &asked.entitlement;
    let request = bundle.request(
        &asked.requester,
        entitlement,
        asked.duration,
        ticket.as_ref(),
        now,
    );
    let weighed = asked.weigh(bundle, approved, now);
    let approver = |(name, person): (String, Principal)| {
        let counts = bundle.capacities(&facts, &person, now);
        let why_not = bundle.why_not_approve(&facts, &person, now);
        Approver {
            approved: approved.iter().any(|p| p.id == person.id),
            name,
            counts_as: counts.iter().map(|(c, _)| outlook::capacity(*c)).collect(),
            why_not: counts.is_empty().then(|| why_not.explain()),
        }
    };
    let told = bundle.stages(&entitlement.id).map(|stages| {
        let told = stages.told(&entitlement.owners, std::time::Duration::ZERO);
        told.into_iter().map(str::to_owned).collect()
    });
    let longest = bundle.longest(&asked.requester, entitlement, now);
    let needs = bundle.approvals_required(&facts, now);
    Ok(Explained {
        who: args.who.clone(),
        what: entitlement.id.to_string(),
        duration: asked.duration.to_string(),
        at: now,
        digest: bundle.digest().to_string(),
        request: verdict(bundle, &request),
        longest: longest.map(|d| d.to_string()),
        needs,
        given: weighed.tally,
        missing: needs.map(|needs| missing(needs, weighed.tally)),
        activate: verdict(bundle, &bundle.activate(&facts, weighed.tally, now)),
        approvers: pack
            .people
            .everybody(now)
            .into_iter()
            .map(approver)
            .collect(),
        told: told.unwrap_or_default(),
    })
}

fn missing(needs: ApprovalTally, given: ApprovalTally) -> ApprovalTally {
    let owner = needs.owner.saturating_sub(given.owner);
    let security = needs.security.saturating_sub(given.security);
    // Whoever has given in one capacity may be missing in the other, but it takes somebody else.
    let distinct = needs.distinct.saturating_sub(given.distinct);
    ApprovalTally {
        owner,
        security,
        distinct: distinct.max(owner).max(security),
        evidence: Default::default(),
    }
}

fn verdict(bundle: &Bundle, answer: &PolicyAnswer) -> Verdict {
    let written = |id: &String| match bundle.policy_place(id) {
        Some((file, place)) => format!("{id} ({file}:{})", place.line),
        None => id.clone(),
    };
    Verdict {
        allowed: answer.allows(),
        why: answer.explain(),
        policies: answer.policy_ids.iter().map(written).collect(),
    }
}

fn words(explained: &Explained, screen: &Screen) -> String {
    let mut text = format!(
        "{} asks for {} for {} at {}\npolicy {}\n\n",
        explained.who, explained.what, explained.duration, explained.at, explained.digest
    );
    let gate = |verdict: &Verdict| match verdict.allowed {
        true => screen.good("allow"),
        false => screen.bad("deny"),
    };
    let mut rows = Vec::new();
    for (name, verdict) in [
        ("request", &explained.request),
        ("activate", &explained.activate),
    ] {
        rows.push(vec![name.to_owned(), gate(verdict), verdict.why.clone()]);
        for policy in &verdict.policies {
            rows.push(vec![String::new(), "by".to_owned(), policy.clone()]);
        }
    }
    let longest = explained.longest.as_deref().unwrap_or("nothing");
    rows.push(vec![
        "longest".to_owned(),
        longest.to_owned(),
        String::new(),
    ]);
    text.push_str(&table(&[], rows));
    text.push('\n');
    text.push_str(&match explained.needs {
        Some(needs) => format!("needs {}\n", outlook::people(needs)),
        None => "needs more approvals than anybody can give\n".to_owned(),
    });
    text.push_str(&format!("given {}\n", outlook::people(explained.given)));
    if let Some(missing) = explained.missing {
        text.push_str(&format!("missing {}\n", outlook::people(missing)));
    }
    text.push_str(&format!("told at once: {}\n", explained.told.join(", ")));
    let row = |a: &Approver| {
        let can = match (&a.why_not, a.approved) {
            (None, true) => "has approved".to_owned(),
            (None, false) => "can approve".to_owned(),
            (Some(_), _) => "cannot".to_owned(),
        };
        let why = a
            .why_not
            .clone()
            .unwrap_or_else(|| format!("as {}", a.counts_as.join(" and ")));
        vec![a.name.clone(), can, why]
    };
    text.push('\n');
    text.push_str(&table(
        &["WHO", "APPROVES", "WHY"],
        explained.approvers.iter().map(row).collect(),
    ));
    text
}
