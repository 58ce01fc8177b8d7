//! The words of a request on the wire, and what asking with them would do.

use std::time::Duration;

use hallpass_proto::{convert, v1};
use hallpass_types::{EntitlementId, GrantDuration};
use jiff::Timestamp;

use super::plan::{Plan, Step};
use crate::commands::choices::Choices;
use crate::commands::{entitlements, extend, new_request_id};
use crate::connect::{Session, timed};
use crate::errors::CliError;
use crate::output::words;
use crate::retry::Patience;

const USUAL_DURATION: Duration = Duration::from_secs(3_600);

/// What is said with every request of one command.
pub(super) struct Words {
    pub(super) reason: String,
    pub(super) ticket: String,
    pub(super) break_glass: bool,
    pub(super) request_id: Option<String>,
    pub(super) choices: Choices,
}

/// What asking for each would do.
pub(super) async fn plans(
    session: &Session,
    wanted: &[EntitlementId],
    duration: Option<GrantDuration>,
    mut words: Words,
    open: &[v1::AccessRequest],
) -> Result<(Words, Vec<Plan>), CliError> {
    let compared = open.iter().any(|r| !r.parameters.is_empty());
    let list = if duration.is_none() || compared {
        entitlements::all(session, true).await?
    } else {
        Vec::new()
    };
    let fitting = open.iter().filter(|r| words.choices.fit(&list, r));
    let fitting: Vec<_> = fitting.cloned().collect();
    // One key from the question to the order, so that the answer is about the same request.
    if wanted.len() == 1 && words.request_id.is_none() {
        words.request_id = Some(new_request_id());
    }
    let mut plans = Vec::new();
    for entitlement in wanted {
        let said = duration.map(GrantDuration::as_std);
        let duration = said.unwrap_or_else(|| usual_duration(&list, entitlement));
        let now = Timestamp::now();
        let plan = match Plan::of_open(&fitting, entitlement, (duration, said), now) {
            Some(plan) => confirmed(session, plan, &words.reason).await?,
            None => {
                let message = message(entitlement, duration, &words, true);
                let answer = create(session, &message).await?;
                Plan::of_answer(entitlement, duration, answer)
            }
        };
        plans.push(plan);
    }
    Ok((words, plans))
}

/// What the gates say to an extension, which they are asked before anybody is told that it will be.
async fn confirmed(session: &Session, mut plan: Plan, reason: &str) -> Result<Plan, CliError> {
    if let Step::Extend { by } = plan.step {
        let id = super::id_of(&plan.request)?;
        match extend::preview(session, &id, by, reason.to_owned()).await {
            Ok(_) => {}
            Err(error) => match error.denial() {
                Some(why) => plan.step = Step::Deny { why },
                None => return Err(error),
            },
        }
    }
    Ok(plan)
}

pub(super) fn message(
    entitlement: &EntitlementId,
    duration: Duration,
    words: &Words,
    validate_only: bool,
) -> v1::CreateAccessRequestRequest {
    v1::CreateAccessRequestRequest {
        access_request: Some(v1::AccessRequest {
            entitlement: entitlement.name(),
            duration: Some(convert::duration(duration)),
            reason: words.reason.clone(),
            ticket: words.ticket.clone(),
            break_glass: words.break_glass,
            parameters: words.choices.parameters.clone().into_iter().collect(),
            start_time: words.choices.start.map(convert::timestamp),
            ..Default::default()
        }),
        request_id: words.request_id.clone().unwrap_or_else(new_request_id),
        validate_only,
    }
}

pub(super) async fn create(
    session: &Session,
    wanted: &v1::CreateAccessRequestRequest,
) -> Result<v1::AccessRequest, CliError> {
    session
        .call(Patience::Write, || {
            let (mut client, message) = (session.access(), wanted.clone());
            async move { client.create_access_request(timed(message)).await }
        })
        .await
}

/// An hour, or what policy allows if that is less.
fn usual_duration(list: &[v1::Entitlement], entitlement: &EntitlementId) -> Duration {
    let name = entitlement.name();
    let longest = list.iter().find(|e| e.name == name).and_then(|e| {
        words::span(e.allowed_duration.as_ref()).or_else(|| words::span(e.max_duration.as_ref()))
    });
    longest.map_or(USUAL_DURATION, usual)
}

fn usual(longest: Duration) -> Duration {
    let least = Duration::from_secs(GrantDuration::MIN_SECONDS.into());
    Duration::from_secs(longest.min(USUAL_DURATION).max(least).as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_duration_is_an_hour_or_less() {
        let s = Duration::from_secs;
        assert_eq!(
            [usual(s(43_200)), usual(s(900)), usual(s(0))],
            [s(3_600), s(900), s(5)]
        );
    }
}
