//! Which request is meant when an entitlement is named, or nothing is.

use std::collections::BTreeMap;

use hallpass_proto::v1;
use hallpass_proto::v1::access_request::State;
use hallpass_types::{AccessRequestId, EntitlementId};
use jiff::Timestamp;

use super::choices::Choices;
use super::list::tell_unreachable;
use super::{Context, entitlements, get, pick};
use crate::cli::{Aim, Target};
use crate::connect::{Session, timed};
use crate::errors::{Candidate, CliError};
use crate::output::words;
use crate::retry::Patience;
use crate::store::Noted;

const LARGEST_PAGE: i32 = 200;

/// States in which a request is not over.
pub(super) const OPEN: [State; 5] = [
    State::Checking,
    State::AwaitingApproval,
    State::Scheduled,
    State::Provisioning,
    State::Active,
];

/// What a request must be to be meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Active.
    Active,
    /// Active, or else anything that is not over.
    Open,
    /// Waiting, for people or for its start.
    Waiting,
}

/// Who looks for a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct For {
    /// The command, as it is typed.
    pub(super) command: &'static str,
    /// What it needs.
    pub(super) need: Need,
}

impl For {
    /// A command that uses active access.
    pub(super) fn active(command: &'static str) -> Self {
        let need = Need::Active;
        Self { command, need }
    }

    /// A command that looks at what is not over.
    pub(super) fn open(command: &'static str) -> Self {
        let need = Need::Open;
        Self { command, need }
    }
}

/// The caller's requests that are not over, as far as they could be read.
#[derive(Debug)]
pub(super) struct Mine {
    /// As they are now.
    pub(super) requests: Vec<v1::AccessRequest>,
    /// The names of those that cannot be read for now.
    unreachable: Vec<String>,
}

impl Mine {
    /// What there is to choose from; whoever chooses is told what is missing.
    pub(super) fn told(self, cx: &Context) -> Vec<v1::AccessRequest> {
        tell_unreachable(cx, &self.unreachable);
        self.requests
    }
}

/// The request that is meant. An id is taken as it is.
///
/// # Errors
/// [`CliError::NothingActive`], [`CliError::Unread`], [`CliError::Ambiguous`], [`CliError::Usage`] when
/// nothing is named and nobody can be asked, [`CliError::NothingChosen`], and as every call.
pub(super) async fn find(
    cx: &Context,
    session: &Session,
    aim: &Aim,
    who: For,
) -> Result<AccessRequestId, CliError> {
    let choices = Choices::of(&aim.values.parameters)?;
    let entitlement = match &aim.target {
        Some(Target::Request(id)) if choices.parameters.is_empty() => return Ok(id.clone()),
        Some(Target::Request(id)) => {
            return Err(CliError::Usage(format!(
                "--param goes with an entitlement: {id} has the values that it was asked for with"
            )));
        }
        Some(Target::Entitlement(entitlement)) => entitlement,
        None if cx.terminal.can_ask => {
            let mut mine = open_among(cx, session, None).await?.told(cx);
            mine.retain(|request| choices.named_by(request));
            return pick::request(cx, &fitting(mine.iter(), who.need));
        }
        None => {
            let command = who.command;
            return Err(CliError::Usage(format!(
                "say which request: hallpass {command} ar-…, or the name of an entitlement"
            )));
        }
    };
    let mine = open_among(cx, session, Some(std::slice::from_ref(entitlement))).await?;
    mine.requests.iter().for_each(|request| cx.note(request));
    match chosen(&mine.requests, entitlement, &choices, who) {
        Err(CliError::NothingActive { is_open, .. }) if !mine.unreachable.is_empty() => {
            Err(CliError::Unread {
                entitlement: entitlement.to_string(),
                ids: mine
                    .unreachable
                    .iter()
                    .map(|n| bare(n).to_owned())
                    .collect(),
                is_open,
            })
        }
        Err(error @ CliError::NothingActive { waiting: None, .. }) => {
            must_exist(session, entitlement).await?;
            Err(error)
        }
        found => {
            tell_unreachable(cx, &mine.unreachable);
            found
        }
    }
}

/// The id in a name.
pub(super) fn bare(name: &str) -> &str {
    name.strip_prefix("accessRequests/").unwrap_or(name)
}

/// A name that nothing has is a mistake, and not access that is over.
async fn must_exist(session: &Session, entitlement: &EntitlementId) -> Result<(), CliError> {
    let all = entitlements::all(session, true).await?;
    entitlements::named(&all, entitlement).map(|_| ())
}

/// The one request of `open` that is meant.
fn chosen(
    open: &[v1::AccessRequest],
    entitlement: &EntitlementId,
    choices: &Choices,
    who: For,
) -> Result<AccessRequestId, CliError> {
    let name = entitlement.name();
    let of_it = open
        .iter()
        .filter(|r| r.entitlement == name && choices.named_by(r));
    let of_it: Vec<_> = of_it.collect();
    let mut found: Vec<&v1::AccessRequest> = Vec::new();
    for request in fitting(of_it.iter().copied(), who.need) {
        // Of active access with the same values, what ends last is as good as all.
        let same = found.iter_mut().find(|r| {
            r.parameters == request.parameters
                && r.state() == State::Active
                && r.state == request.state
        });
        match same {
            Some(known) if ends(known) < ends(request) => *known = request,
            Some(_) => {}
            None => found.push(request),
        }
    }
    match found.as_slice() {
        [] => Err(CliError::NothingActive {
            entitlement: entitlement.to_string(),
            ask: words::ask_again(entitlement.as_str(), &choices.parameters),
            // What is granted for later neither is of use now nor keeps anybody from asking.
            waiting: (of_it.iter())
                .find(|r| who.need == Need::Active && r.state() != State::Scheduled)
                .map(|r| words::id(r)),
            is_open: who.need != Need::Active,
        }),
        [one] => id_of(one),
        several => Err(CliError::Ambiguous {
            entitlement: entitlement.to_string(),
            candidates: candidates(several, entitlement, who.command),
        }),
    }
}

/// Those that are as needed.
fn fitting<'a>(
    mine: impl Iterator<Item = &'a v1::AccessRequest>,
    need: Need,
) -> Vec<&'a v1::AccessRequest> {
    let (active, others): (Vec<_>, Vec<_>) = mine.partition(|r| r.state() == State::Active);
    match need {
        Need::Active => active,
        Need::Open if active.is_empty() => others,
        Need::Open => active,
        Need::Waiting => (others.into_iter())
            .filter(|r| r.state() != State::Provisioning)
            .collect(),
    }
}

fn ends(request: &v1::AccessRequest) -> Option<Timestamp> {
    words::instant(request.end_time.as_ref())
}

fn id_of(request: &v1::AccessRequest) -> Result<AccessRequestId, CliError> {
    AccessRequestId::parse_name(&request.name)
        .map_err(|_| CliError::Answer("it names no access request"))
}

/// Each with the command that means it: by its values where they tell them apart, else by its id.
fn candidates(
    several: &[&v1::AccessRequest],
    entitlement: &EntitlementId,
    command: &str,
) -> Vec<Candidate> {
    let values = |r: &v1::AccessRequest| -> BTreeMap<String, String> {
        r.parameters.clone().into_iter().collect()
    };
    let is_told = |r: &v1::AccessRequest| {
        let parameters = values(r);
        let choices = Choices {
            parameters,
            start: None,
        };
        several.iter().filter(|s| choices.named_by(s)).count() == 1
    };
    let tail = if command == "exec" { " -- COMMAND" } else { "" };
    let candidate = |r: &&v1::AccessRequest| {
        let target = match is_told(r) {
            true => format!("{entitlement}{}", words::arguments(&values(r))),
            false => words::id(r),
        };
        Candidate {
            id: words::id(r),
            values: words::parameters(r),
            state: words::state(r.state()),
            command: format!("hallpass {command} {target}{tail}"),
        }
    };
    several.iter().map(candidate).collect()
}

/// What this machine remembers of an entitlement with these values, where that is one access, and
/// whether it must be what is meant. It may have ended early since.
pub(super) fn noted(
    cx: &Context,
    entitlement: &EntitlementId,
    choices: &Choices,
) -> Option<(AccessRequestId, bool)> {
    let mut all = cx.store()?.noted(Timestamp::now());
    let fits =
        |noted: &Noted| noted.entitlement == *entitlement && choices.fits_values(&noted.parameters);
    all.retain(fits);
    let is_one = all.windows(2).all(|pair| match pair {
        [one, two] => one.parameters == two.parameters,
        _ => true,
    });
    let first = all.into_iter().next().filter(|_| is_one)?;
    let is_sure = first.parameters.is_empty() || !choices.parameters.is_empty();
    Some((first.id, is_sure))
}

/// The active request for `entitlement` that ends last.
pub(super) fn latest<'a>(
    open: &'a [v1::AccessRequest],
    entitlement: &EntitlementId,
) -> Option<&'a v1::AccessRequest> {
    let name = entitlement.name();
    open.iter()
        .filter(|r| r.entitlement == name && r.state() == State::Active)
        .max_by_key(|r| ends(r))
}

/// The caller's requests for `wanted`, or for anything, that are not over, as they are now: the list
/// may lag behind, so what this machine remembers is looked at as well.
///
/// # Errors
/// As every call.
pub(super) async fn open_among(
    cx: &Context,
    session: &Session,
    wanted: Option<&[EntitlementId]>,
) -> Result<Mine, CliError> {
    let noted = cx
        .store()
        .map_or_else(Vec::new, |s| s.noted(Timestamp::now()));
    let noted = noted
        .into_iter()
        .filter(|n| wanted.is_none_or(|w| w.contains(&n.entitlement)));
    let mut ids: Vec<AccessRequestId> = noted.map(|noted| noted.id).collect();
    let one = match wanted {
        Some([one]) => Some(one),
        _ => None,
    };
    let (listed, unreachable) = open(session, one).await?;
    for listed in listed {
        let is_wanted = wanted.is_none_or(|w| w.iter().any(|e| e.name() == listed.entitlement));
        if let Ok(id) = AccessRequestId::parse_name(&listed.name)
            && is_wanted
            && !ids.contains(&id)
        {
            ids.push(id);
        }
    }
    // What the list could not read, asking for it alone would not read either.
    ids.retain(|id| !unreachable.contains(&id.name()));
    let mut requests = Vec::new();
    for id in ids {
        match get(session, &id).await {
            Ok(request) if OPEN.contains(&request.state()) => requests.push(request),
            Ok(request) => cx.note(&request),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Mine {
        requests,
        unreachable,
    })
}

/// The caller's requests that are not over, and the names of those that cannot be read.
async fn open(
    session: &Session,
    entitlement: Option<&EntitlementId>,
) -> Result<(Vec<v1::AccessRequest>, Vec<String>), CliError> {
    let (mut list, mut unreachable) = (Vec::new(), Vec::new());
    let mut message = v1::ListAccessRequestsRequest {
        page_size: LARGEST_PAGE,
        states: OPEN.map(i32::from).into(),
        entitlement: entitlement.map(EntitlementId::name).unwrap_or_default(),
        ..Default::default()
    };
    loop {
        let page = session
            .call(Patience::Read, || {
                let (mut client, message) = (session.access(), message.clone());
                async move { client.list_access_requests(timed(message)).await }
            })
            .await?;
        list.extend(page.access_requests);
        unreachable.extend(page.unreachable);
        if page.next_page_token.is_empty() {
            return Ok((list, unreachable));
        }
        message.page_token = page.next_page_token;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    fn entitlement() -> EntitlementId {
        EntitlementId::parse("prod-db-admin").unwrap()
    }

    /// Active access with this value that ends at `end`.
    fn active(id: char, prefix: &str, end: i64) -> v1::AccessRequest {
        v1::AccessRequest {
            name: format!("accessRequests/ar-{id}123456789abcdefghjkmnpqrs"),
            parameters: [("prefix".to_owned(), prefix.to_owned())].into(),
            end_time: Some(samples::at(end)),
            ..samples::active()
        }
    }

    fn find(open: &[v1::AccessRequest], prefix: Option<&str>, who: For) -> Result<char, CliError> {
        let given: Vec<_> = prefix
            .map(|p| ("prefix".to_owned(), p.to_owned()))
            .into_iter()
            .collect();
        let choices = Choices::of(&given).unwrap();
        let found = chosen(open, &entitlement(), &choices, who)?;
        Ok(found.as_str().chars().nth(3).unwrap())
    }

    #[test]
    fn of_the_same_values_the_latest_end_is_meant_and_others_must_be_told_apart() {
        let creds = For::active("creds");
        let same = [active('1', "a", 6_000), active('2', "a", 7_000)];
        assert_eq!(find(&same, None, creds).unwrap(), '2');
        let differ = [active('1', "a", 6_000), active('2', "b/c", 7_000)];
        assert_eq!(find(&differ, Some("a"), creds).unwrap(), '1');
        let error = find(&differ, None, For::active("exec")).unwrap_err();
        insta::assert_snapshot!(error.human(), @"
        error: you have several requests for prod-db-admin: say which
          ar-1123456789abcdefghjkmnpqrs  prefix=a  active
          ar-2123456789abcdefghjkmnpqrs  prefix=b/c  active
          next: hallpass exec prod-db-admin --param prefix=a -- COMMAND
          next: hallpass exec prod-db-admin --param prefix=b/c -- COMMAND
        ");
        assert_eq!(error.exit(), crate::exit::Exit::Usage);
    }

    #[test]
    fn what_no_value_tells_from_another_is_told_by_its_id() {
        let mut usual = active('1', "a", 6_000);
        usual.parameters.clear();
        let error = find(&[usual, active('2', "b", 7_000)], None, For::active("env"));
        let human = error.unwrap_err().human();
        let commands = "  next: hallpass env ar-1123456789abcdefghjkmnpqrs\n  \
                        next: hallpass env prod-db-admin --param prefix=b\n";
        assert!(human.ends_with(commands), "{human}");
    }

    #[test]
    fn what_is_needed_decides_what_is_meant() {
        let waits = v1::AccessRequest {
            state: State::AwaitingApproval.into(),
            ..active('3', "a", 0)
        };
        let both = [active('1', "a", 6_000), waits.clone()];
        let withdraw = For {
            command: "withdraw",
            need: Need::Waiting,
        };
        assert_eq!(find(&both, None, For::open("show")).unwrap(), '1');
        assert_eq!(find(&both, None, withdraw).unwrap(), '3');
        assert_eq!(find(&both[1..], None, For::open("watch")).unwrap(), '3');
        let error = find(&both[1..], None, For::active("creds")).unwrap_err();
        assert_eq!(error.exit(), crate::exit::Exit::Pending);
        let error = find(&[], Some("a b"), For::active("creds")).unwrap_err();
        assert_eq!(error.exit(), crate::exit::Exit::Over);
        let ask = "next: hallpass request prod-db-admin --param 'prefix=a b' -m WHY\n";
        assert!(error.human().ends_with(ask), "{}", error.human());
    }

    #[test]
    fn what_waits_twice_is_told_apart_by_its_id() {
        let waits = |id| v1::AccessRequest {
            state: State::AwaitingApproval.into(),
            ..active(id, "a", 0)
        };
        let error = find(&[waits('1'), waits('2')], None, For::open("watch")).unwrap_err();
        assert!(
            error
                .human()
                .contains("next: hallpass watch ar-2123456789abcdefghjkmnpqrs\n"),
            "{}",
            error.human()
        );
    }
}
