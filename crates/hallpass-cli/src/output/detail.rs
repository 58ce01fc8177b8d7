//! One request in full, and its changes line by line.

use hallpass_proto::v1;
use hallpass_proto::v1::access_request::State;

use super::View;
use super::clean::clean;
use super::words;
use crate::durations;
use crate::hints;

const LABEL_WIDTH: usize = 14;

#[derive(Default)]
struct Sheet(String);

impl Sheet {
    fn row(&mut self, label: &str, value: &str) {
        if !value.is_empty() {
            self.0
                .push_str(&format!("  {label:<LABEL_WIDTH$}{value}\n"));
        }
    }

    fn section(&mut self, title: &str, lines: impl Iterator<Item = String>) {
        let mut lines = lines.peekable();
        if lines.peek().is_some() {
            self.0.push_str(&format!("{title}\n"));
            lines.for_each(|line| self.0.push_str(&format!("  {line}\n")));
        }
    }
}

/// Everything about `r`, in words.
pub(crate) fn request(view: &View, r: &v1::AccessRequest) -> String {
    let state = r.state();
    let mut sheet = Sheet(format!(
        "{}  {}\n",
        words::id(r),
        view.paint(words::state(state), words::colour(state))
    ));
    facts(&mut sheet, view, r);
    sheet.section("Policy", r.policy_answers.iter().map(answer));
    sheet.section("Decisions", r.decisions.iter().map(|d| decision(view, d)));
    let reviews = (r.review.iter()).flat_map(|review| reviewing(view, &words::id(r), review));
    sheet.section("Review", reviews);
    sheet.section(
        "Sessions issued",
        r.issued_credentials.iter().map(|c| session(view, c)),
    );
    if let Some(proof) = &r.proof {
        sheet.section("Proof of end", proof_lines(view, r, proof).into_iter());
    }
    sheet.section("Left in AWS", r.leftovers.iter().flat_map(leftover));
    sheet.section(
        "Refused messages",
        r.refusals.iter().map(|m| {
            let at =
                words::instant(m.time.as_ref()).map_or_else(String::new, |at| view.instant(at));
            format!(
                "{at}  {}: {} ({})",
                words::spoken(&m.door),
                clean(&m.why),
                words::spoken(&m.code)
            )
        }),
    );
    sheet.0
}

/// What is asked for, and how far it goes.
fn what(sheet: &mut Sheet, r: &v1::AccessRequest) {
    let name = words::entitlement(&r.entitlement);
    let details = r.entitlement_details.as_ref().map(|e| {
        let (title, account) = (clean(&e.title), clean(&e.account_name));
        let (number, env) = (clean(&e.account), clean(&e.environment));
        format!(
            "{name}: {title} in {account} ({number}, {env}, risk {})",
            words::risk(e.risk)
        )
    });
    sheet.row("entitlement", &details.unwrap_or(name));
    let entitlement = r.entitlement_details.as_ref();
    sheet.row("usable", &words::usable(entitlement));
    if let Some(d) = entitlement.and_then(|e| words::span(e.max_session.as_ref())) {
        let longest = durations::words(d);
        sheet.row("sessions", &format!("at most {longest} each, renewed"));
    }
}

fn facts(sheet: &mut Sheet, view: &View, r: &v1::AccessRequest) {
    what(sheet, r);
    if let Some(p) = &r.requester {
        sheet.row("requester", &words::who_exactly(p));
    }
    sheet.row("reason", &clean(&r.reason));
    sheet.row("ticket", &clean(&r.ticket));
    if let Some(d) = words::span(r.duration.as_ref()) {
        let shorter = words::span(r.granted_duration.as_ref());
        let shorter = shorter.map(|d| format!(", shortened to {}", durations::words(d)));
        let asked = durations::words(d);
        sheet.row("for", &format!("{asked}{}", shorter.unwrap_or_default()));
    }
    if r.break_glass {
        let more = words::unbroken(r).map_or_else(String::new, |said| format!("; {said}"));
        sheet.row("break-glass", &format!("asked for{more}"));
    }
    sheet.row("with", &words::parameters(r));
    if let Some(at) = words::instant(r.start_time.as_ref()) {
        let left = durations::rough(view.until(at));
        let is_open = words::is_final(r.state()) || view.until(at).is_zero();
        let left = if is_open {
            String::new()
        } else {
            format!(" (in {left})")
        };
        sheet.row("starts", &format!("{}{left}", view.exact(at)));
    }
    sheet.row("look at it", &clean(&r.uri));
    if let Some(at) = words::instant(r.create_time.as_ref()) {
        sheet.row("asked", &view.exact(at));
    }
    if let Some(at) = words::instant(r.lapse_time.as_ref()) {
        let left = durations::rough(view.until(at));
        sheet.row("lapses", &format!("{} (in {left})", view.exact(at)));
    }
    if let Some(at) = words::instant(r.end_time.as_ref()) {
        let left = if words::is_final(r.state()) || view.until(at).is_zero() {
            String::new()
        } else {
            format!(" (in {})", durations::rough(view.until(at)))
        };
        sheet.row("end", &format!("{}{left}", view.exact(at)));
    }
    sheet.row("approvals", &approvals(r));
    let asked = r.asked.iter().map(|a| asked(view, a));
    sheet.row("put to", &asked.collect::<Vec<_>>().join("; "));
    sheet.row("role", &clean(&r.role_arn));
    sheet.row("ended because", words::cause(r.end_cause()));
    if let Some(lag) = words::span(r.lag.as_ref()) {
        sheet.row("lag", &durations::measured(lag));
    }
    sheet.row("note", &clean(words::note(r)));
}

fn asked(view: &View, a: &v1::Asked) -> String {
    let at = words::instant(a.time.as_ref()).map_or_else(String::new, |at| view.instant(at));
    format!("{} at {at}", words::groups(&a.groups))
}

fn reviewing(view: &View, id: &str, r: &v1::Review) -> Vec<String> {
    let since = words::instant(r.since_time.as_ref());
    let since = since.map_or_else(String::new, |at| view.instant(at));
    let mut lines = vec![format!("{since}  opened {}", words::owed(r))];
    lines.push(match &r.closed_by {
        Some(who) => {
            let at = words::instant(r.close_time.as_ref());
            let at = at.map_or_else(String::new, |at| view.instant(at));
            let who = words::who_exactly(who);
            format!("{at}  {who} closed it: {}", clean(&r.reason))
        }
        None => {
            let command = hints::typed(&format!("hallpass review {id} -m TEXT"));
            format!("open; when access is over: {command}")
        }
    });
    lines
}

fn approvals(r: &v1::AccessRequest) -> String {
    let (required, counted) = words::tallies(r.approvals.as_ref());
    if required == v1::ApprovalTally::default() {
        return String::new();
    }
    let mut parts = Vec::new();
    for (name, want, have) in [
        ("owner", required.owner, counted.owner),
        ("security", required.security, counted.security),
        ("different people", required.distinct, counted.distinct),
    ] {
        if want > 0 {
            parts.push(format!("{name} {have} of {want}"));
        }
    }
    format!(
        "{} ({})",
        words::progress(r.approvals.as_ref()),
        parts.join(", ")
    )
}

fn answer(a: &v1::PolicyAnswer) -> String {
    let mut said = a.messages.clone();
    said.extend(a.errors.iter().map(|e| format!("error: {e}")));
    let verdict = if a.allowed { "yes" } else { "no" };
    let mut text = format!(
        "{:<22}{verdict:<5}{}",
        words::spoken(&a.gate),
        clean(&said.join("; "))
    );
    if !a.policy_ids.is_empty() {
        text.push_str(&format!(" [{}]", clean(&a.policy_ids.join(", "))));
    }
    text.trim_end().to_owned()
}

fn decision(view: &View, d: &v1::Decision) -> String {
    let at = words::instant(d.sign_time.as_ref()).map_or_else(String::new, |at| view.instant(at));
    let who = d
        .approver
        .as_ref()
        .map_or_else(|| "somebody".to_owned(), words::who_exactly);
    let mut text = format!("{at}  {who} {}", words::decided(d));
    if !d.reason.is_empty() {
        text.push_str(&format!(": {}", clean(&d.reason)));
    }
    if d.evidence() == v1::EvidenceLevel::IdentityProvider {
        text.push_str(" [signed by their identity provider]");
    }
    text
}

fn session(view: &View, c: &v1::IssuedCredential) -> String {
    let at = |t: Option<&prost_types::Timestamp>| {
        words::instant(t).map_or_else(|| "?".to_owned(), |at| view.instant(at))
    };
    format!(
        "{}. {}, AWS refuses after {}, session expires {}",
        c.serial,
        clean(&c.access_key_id),
        at(c.end_time.as_ref()),
        at(c.session_expire_time.as_ref()),
    )
}

fn proof_lines(view: &View, r: &v1::AccessRequest, p: &v1::ProofOfEnd) -> Vec<String> {
    let mut lines = vec![over(view, r), clean(&p.read_back)];
    if !p.allowed_call.is_empty() {
        lines.push(format!("{} was allowed before", clean(&p.allowed_call)));
    }
    if !p.denied_call.is_empty() {
        lines.push(format!(
            "{} answered {}",
            clean(&p.denied_call),
            clean(&p.denied_code)
        ));
    }
    if !p.aws_request_ids.is_empty() {
        lines.push(format!(
            "AWS request ids: {}",
            clean(&p.aws_request_ids.join(", "))
        ));
    }
    lines.retain(|line| !line.is_empty());
    lines
}

fn leftover(l: &v1::Leftover) -> [String; 2] {
    [
        format!("{}: {}", clean(&l.what), clean(&l.error)),
        format!("  cure: {}", clean(&l.cure)),
    ]
}

/// The end and its proof in one sentence.
pub(crate) fn over(view: &View, r: &v1::AccessRequest) -> String {
    let proved = r
        .proof
        .as_ref()
        .and_then(|p| words::instant(p.prove_time.as_ref()));
    let lag = words::span(r.lag.as_ref());
    match (proved, lag) {
        (Some(proved), Some(lag)) => {
            let since = proved.checked_sub(lag).unwrap_or(proved);
            format!(
                "AWS refuses since {}, proved {}, lag {}",
                view.exact(since),
                view.exact(proved),
                durations::measured(lag)
            )
        }
        (Some(proved), None) => format!("AWS refuses, proved {}", view.exact(proved)),
        _ => String::new(),
    }
}

/// What is new in `now` compared with `before`, a line each.
pub(crate) fn changes(
    view: &View,
    before: Option<&v1::AccessRequest>,
    now: &v1::AccessRequest,
) -> Vec<String> {
    let known = before.map_or(0, |b| b.decisions.len());
    let mut lines: Vec<String> = now
        .decisions
        .iter()
        .skip(known)
        .map(|d| {
            let said = clean(&d.reason);
            let colon = if said.is_empty() { "" } else { ": " };
            let who = words::who(d.approver.as_ref());
            format!("{who} {}{colon}{said}", words::decided(d))
        })
        .collect();
    let told = before.map_or(0, |b| b.asked.len());
    // The state that follows says it of the first.
    let escalated = now.asked.iter().skip(told.max(1));
    lines.extend(escalated.map(|a| format!("put to {} as well", words::groups(&a.groups))));
    if before.is_none_or(|b| b.review.is_none())
        && let Some(review) = &now.review
    {
        lines.push(format!("opened {}", words::owed(review)));
    }
    let is_new = |m: &&v1::Refusal| before.is_none_or(|b| !b.refusals.contains(m));
    lines.extend(
        (now.refusals.iter().filter(is_new))
            .map(|m| format!("refused: {} ({})", clean(&m.why), words::spoken(&m.door))),
    );
    if before.is_none_or(|b| b.state() != now.state()) {
        lines.push(state_line(view, now));
        lines.extend(now.leftovers.iter().flat_map(leftover));
    } else if before.and_then(|b| b.end_time) != now.end_time
        && let Some(end) = words::instant(now.end_time.as_ref())
    {
        lines.push(format!("the end is now {}", view.exact(end)));
    }
    lines
}

/// From when to when, for what is to start later: `from 14:00:00 to 15:30:00 (in 1h50m)`.
pub(crate) fn starts(view: &View, r: &v1::AccessRequest) -> Option<String> {
    let start = words::instant(r.start_time.as_ref())?;
    let end = start
        .checked_add(words::span(r.duration.as_ref())?)
        .unwrap_or(start);
    let left = durations::rough(view.until(start));
    let (start, end) = (view.instant(start), view.instant(end));
    Some(format!("from {start} to {end} (in {left})"))
}

/// The state with what matters about it.
pub(crate) fn state_line(view: &View, r: &v1::AccessRequest) -> String {
    let state = r.state();
    let word = view.paint(words::state(state), words::colour(state));
    let more = match state {
        State::AwaitingApproval => format!("needs {}", words::missing(r.approvals.as_ref())),
        State::Scheduled => starts(view, r).unwrap_or_default(),
        State::Active | State::Provisioning => {
            words::instant(r.end_time.as_ref()).map_or_else(String::new, |end| {
                let left = durations::rough(view.until(end));
                format!("until {} (in {left})", view.instant(end))
            })
        }
        State::Denied | State::Failed => words::why_not(r),
        State::Lapsed => "nobody answered in time".to_owned(),
        State::Ending => words::cause(r.end_cause()).to_owned(),
        State::Ended => {
            let mut parts = vec![words::cause(r.end_cause()).to_owned(), over(view, r)];
            parts.push(reviewed(r));
            parts.retain(|part| !part.is_empty());
            parts.join("; ")
        }
        State::Stuck => "something could not be taken back yet; retried without end".to_owned(),
        _ => clean(&r.note),
    };
    if more.is_empty() {
        word
    } else {
        format!("{word}: {more}")
    }
}

fn reviewed(r: &v1::AccessRequest) -> String {
    match &r.review {
        Some(review) if review.closed_by.is_none() => "review open".to_owned(),
        Some(review) => format!("reviewed by {}", words::who(review.closed_by.as_ref())),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::clean::is_hostile;
    use crate::output::samples;

    #[test]
    fn a_pending_request_in_full() {
        let text = request(&samples::view(None), &samples::pending());
        assert!(!text.replace('\n', "").chars().any(is_hostile), "{text:?}");
        insta::assert_snapshot!(text, @"
        ar-0123456789abcdefghjkmnpqrs  waiting for approval
          entitlement   prod-db-admin: Database admin in prod-data (111122223333, prod, risk high)
          requester     Ada (https://idp.example#ada, person)
          reason        stuck[2J migration of orders
          ticket        INC-42
          for           1h30m
          with          prefix=orders
          asked         2026-03-01 12:00:00.000 UTC
          lapses        2026-03-01 13:00:00.000 UTC (in 50m)
          approvals     1 of 2 (owner 1 of 1, security 0 of 1, different people 1 of 2)
        Policy
          request               yes  on call this week [on-call-may-ask]
        Decisions
          12:00:30  Bob (https://idp.example#bob, person) approved: seen
        ");
    }

    #[test]
    fn whoever_decides_sees_what_sessions_are_bound_to() {
        let bound = v1::AccessRequest {
            entitlement_details: Some(samples::bound()),
            ..samples::pending()
        };
        let text = request(&samples::view(None), &bound);
        let lines: Vec<_> = text.lines().skip(1).take(4).map(str::trim_start).collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        entitlement   prod-db-admin: Database admin in prod-data (111122223333, prod, risk high)
        usable        only from 203.0.113.0/24 or vpce-1a2b3c4d, in organization o-a1b2c3d4e5
        sessions      at most 15m each, renewed
        requester     Ada (https://idp.example#ada, person)
        ");
    }

    #[test]
    fn an_ended_request_shows_its_proof() {
        insta::assert_snapshot!(request(&samples::view(None), &samples::ended()), @"
        ar-0123456789abcdefghjkmnpqrs  ended
          entitlement   prod-db-admin: Database admin in prod-data (111122223333, prod, risk high)
          requester     Ada (https://idp.example#ada, person)
          reason        stuck[2J migration of orders
          ticket        INC-42
          for           1h30m
          with          prefix=orders
          asked         2026-03-01 12:00:00.000 UTC
          end           2026-03-01 13:40:00.000 UTC
          approvals     1 of 2 (owner 1 of 1, security 0 of 1, different people 1 of 2)
          role          arn:aws:iam::111122223333:role/db-admin
          ended because returned by its requester
          lag           0.4 s
        Policy
          request               yes  on call this week [on-call-may-ask]
        Decisions
          12:00:30  Bob (https://idp.example#bob, person) approved: seen
        Sessions issued
          1. ASIAEXAMPLE, AWS refuses after 13:40:00, session expires 13:01:40
        Proof of end
          AWS refuses since 2026-03-01 12:08:20.000 UTC, proved 2026-03-01 12:08:20.400 UTC, lag 0.4 s
          deny hallpass-cuts stands on the shared role
          s3 GET /reports was allowed before
          s3 GET /reports answered AccessDenied
          AWS request ids: req-1
        ");
    }

    #[test]
    fn a_stuck_request_shows_what_is_left_and_the_cure() {
        let text = request(&samples::view(None), &samples::stuck());
        let at = text.find("Left in AWS").unwrap();
        insta::assert_snapshot!(&text[at..], @"
        Left in AWS
          arn:aws:iam::111122223333:role/db-admin: AccessDenied on PutRolePolicy
            cure: give hallpass iam:PutRolePolicy on the role
        Refused messages
          12:00:40  decide: the signature does not verify (bad signature)
        ");
    }

    #[test]
    fn changes_say_who_decided_and_what_it_led_to() {
        let view = samples::view(None);
        let mut before = samples::pending();
        before.decisions.clear();
        let mut all = changes(&view, None, &before);
        all.extend(changes(&view, Some(&before), &samples::pending()));
        all.extend(changes(
            &view,
            Some(&samples::pending()),
            &samples::active(),
        ));
        let mut later = samples::active();
        later.end_time = Some(samples::at(7_800));
        all.extend(changes(&view, Some(&samples::active()), &later));
        all.extend(changes(&view, Some(&later), &samples::stuck()));
        all.extend(changes(&view, Some(&samples::stuck()), &samples::ended()));
        insta::assert_snapshot!(all.join("\n"), @"
        waiting for approval: needs 1 security
        Bob approved: seen
        active: until 13:40:00 (in 1h30m)
        the end is now 2026-03-01 14:10:00.000 UTC
        refused: the signature does not verify (decide)
        stuck: something could not be taken back yet; retried without end
        arn:aws:iam::111122223333:role/db-admin: AccessDenied on PutRolePolicy
          cure: give hallpass iam:PutRolePolicy on the role
        ended: returned by its requester; AWS refuses since 2026-03-01 12:08:20.000 UTC, proved 2026-03-01 12:08:20.400 UTC, lag 0.4 s
        ");
    }

    #[test]
    fn what_is_shorter_escalated_or_opened_by_exception_is_told() {
        let view = samples::view(None);
        let (before, now) = (samples::pending(), samples::excepted());
        let text = request(&view, &now);
        for line in [
            "for           1h30m, shortened to 30m",
            "break-glass   asked for",
            "put to        data-owners at 12:00:00; security at 12:15:00",
            "approved for at most 30m: seen",
            "opened by break-glass: pages security, reviewed afterwards by leads",
            "Carol (https://idp.example#carol, person) closed it: rightly so",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        let lines = changes(&view, Some(&before), &now).join("\n");
        assert!(lines.contains("put to security as well"), "{lines}");
        assert!(state_line(&view, &now).ends_with("; reviewed by Carol"));
        let mut open = now;
        open.review.as_mut().unwrap().closed_by = None;
        assert!(state_line(&view, &open).ends_with("; review open"));
    }

    #[test]
    fn colours_are_only_there_when_wanted() {
        let mut view = samples::view(None);
        assert!(!state_line(&view, &samples::active()).contains('\u{1b}'));
        view.colour = true;
        assert!(state_line(&view, &samples::active()).starts_with("\u{1b}[32mactive\u{1b}[0m"));
    }
}
