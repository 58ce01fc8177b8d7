//! What a bundle's transparency log proves: that every closed history is in it, as exported.

use std::collections::BTreeSet;

use hallpass_archive::{Checkpoint, Consistency, Inclusion, KeyName, LogKey, SignedCheckpoint};
use hallpass_audit::{Check, Verdict};
use hallpass_bundle::{Bundle, CHECKPOINT, CONSISTENCY, INCLUSION};
use hallpass_evidence::Keyring;
use jiff::SignedDuration;

use crate::chain;
use crate::verify::Seen;

const CLAIM: &str = "the transparency log includes every closed history, as it is here";
const NEEDS_FORMER: &str = "the proof that an earlier log was kept needs --former-checkpoint";
/// A request that closed so long before the export should have been in the log.
const LATE: SignedDuration = SignedDuration::from_hours(1);

/// What an auditor knows of the log from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Its key, with its name; derived from the service's keys where none is named.
    pub key: Option<LogKey>,
    /// A checkpoint that the auditor kept from an earlier time.
    pub former: Option<String>,
}

/// Checks what a bundle's log proves; `None` of a bundle without any.
pub(crate) fn logged(
    bundle: &Bundle,
    seen: &Seen<'_>,
    keys: Option<&Keyring>,
    log: &Log,
) -> Option<Check> {
    if bundle.proofs().next().is_none() && log.former.is_none() {
        return None;
    }
    let Some(note) = proof(bundle, CHECKPOINT) else {
        let why = "there is no checkpoint of a log".to_owned();
        return Some(Check::of("logged", CLAIM, vec![why], ""));
    };
    let trusted = match (&log.key, keys) {
        (Some(key), _) => vec![key.clone()],
        (None, Some(keys)) => of_service(&note, keys),
        (None, None) => {
            let why = "no public keys were named: pass --keys with the service's own, or --log-key";
            return Some(Check::unchecked("logged", CLAIM, why));
        }
    };
    let head = match SignedCheckpoint::open(&note, &trusted) {
        Ok(head) => head,
        Err(error) => {
            let why = format!("the checkpoint does not verify: {}", chain(&error));
            return Some(Check::of("logged", CLAIM, vec![why], ""));
        }
    };
    Some(under(bundle, seen, (&head, &trusted), log))
}

fn under(
    bundle: &Bundle,
    times: &Seen<'_>,
    (head, trusted): (&SignedCheckpoint, &[LogKey]),
    log: &Log,
) -> Check {
    let mut wrong = Vec::new();
    let (mut included, mut encrypted, mut fresh) = (0, 0, 0);
    let proofs: BTreeSet<&str> = bundle.proofs().collect();
    for page in bundle.pages() {
        for request in page.requests.iter().filter(|r| r.closed) {
            let name = format!("{}{INCLUSION}", request.id);
            let there = proofs.contains(name.as_str());
            let shown = there.then(|| {
                let text = proof(bundle, &name).ok_or("its proof is no text")?;
                includes(&text, trusted, head.checkpoint())
            });
            match shown {
                Some(Ok((id, digest))) => {
                    included += 1;
                    let stored = request.stored_digest.as_ref();
                    encrypted += usize::from(stored.is_some());
                    let logged = stored.unwrap_or(&request.history_digest);
                    if id != request.id || digest != logged.as_str() {
                        wrong.push(format!("{}: the log has another history", request.id));
                    }
                }
                Some(Err(why)) => wrong.push(format!("{}: {why}", request.id)),
                None => {
                    let at = times.get(request.id.as_str()).and_then(|g| g.last);
                    let age = at.map(|at| page.exported_at.duration_since(at));
                    if age.is_none_or(|age| age > LATE) {
                        wrong.push(format!("{} is over and not in the log", request.id));
                    }
                    fresh += 1;
                }
            }
        }
    }
    let known = bundle
        .pages()
        .flat_map(|p| &p.requests)
        .filter(|r| r.closed);
    let known = known.count();
    let files = proofs
        .iter()
        .filter(|name| name.ends_with(INCLUSION))
        .count();
    if files + fresh != known {
        wrong.push("there are proofs for requests that are not here, or not over".to_owned());
    }
    let former = former(bundle, trusted, head, log);
    let size = head.checkpoint().size;
    let mut seen = format!("{included} of {size} records of {}", trusted_name(trusted));
    if fresh > 0 {
        seen.push_str(&format!("; {fresh} closed just before the export"));
    }
    match former {
        Ok(None) => {}
        Ok(Some(words)) => seen.push_str(&format!("; {words}")),
        Err(why) => wrong.push(why),
    }
    let needs_former = proofs.contains(CONSISTENCY) && log.former.is_none();
    let check = Check::of("logged", CLAIM, wrong, seen);
    left_open(check, encrypted, needs_former)
}

/// A check that holds as far as it goes, and what it leaves open.
fn left_open(mut check: Check, encrypted: usize, needs_former: bool) -> Check {
    let open = [
        (encrypted > 0).then(|| {
            format!(
                "the log has {encrypted} of them encrypted: that they open to this is the \
                 service's word"
            )
        }),
        needs_former.then(|| NEEDS_FORMER.to_owned()),
    ];
    let open: Vec<_> = open.into_iter().flatten().collect();
    if check.verdict == Verdict::Holds && !open.is_empty() {
        check.evidence.extend(open);
        check.verdict = Verdict::Unchecked;
    }
    check
}

/// Whether the log begins with the one whose checkpoint the auditor kept.
fn former(
    bundle: &Bundle,
    trusted: &[LogKey],
    head: &SignedCheckpoint,
    log: &Log,
) -> Result<Option<String>, String> {
    let Some(note) = &log.former else {
        return Ok(None);
    };
    let opened = SignedCheckpoint::open(note, trusted);
    let opened = opened.map_err(|e| format!("the former checkpoint: {}", chain(&e)))?;
    let (old, new) = (opened.checkpoint(), head.checkpoint());
    let kept = format!(
        "it begins with the {} records of the former checkpoint",
        old.size
    );
    let shown = proof(bundle, CONSISTENCY);
    match shown.as_deref().map(Consistency::parse) {
        None if old == new => Ok(Some(kept)),
        None => Err("nothing shows that the log begins with the former one".to_owned()),
        Some(Err(error)) => Err(format!("the consistency proof: {}", chain(&error))),
        Some(Ok(proof)) => match proof.verify(old, trusted) {
            Ok(shown) if shown == new => Ok(Some(kept)),
            Ok(_) => Err("the consistency proof is for another checkpoint".to_owned()),
            Err(error) => Err(format!(
                "the log does not begin with the former: {}",
                chain(&error)
            )),
        },
    }
}

/// The request and the history's digest that a proof shows to be in the log.
fn includes(text: &str, trusted: &[LogKey], head: Checkpoint) -> Result<(String, String), String> {
    let proof = Inclusion::parse(text).map_err(|e| chain(&e))?;
    let (record, _, shown) = proof.verify(trusted).map_err(|e| chain(&e))?;
    if shown != head {
        return Err("its proof is for another checkpoint".to_owned());
    }
    if record.closed.is_none() {
        return Err("the log has it as it was while still open".to_owned());
    }
    Ok((
        record.access_request.to_string(),
        record.history.to_string(),
    ))
}

/// The keys that the service's would be for the log that a checkpoint names.
fn of_service(note: &str, keys: &Keyring) -> Vec<LogKey> {
    let name = note
        .lines()
        .next()
        .and_then(|name| KeyName::parse(name).ok());
    let of = |name: KeyName| {
        keys.keys()
            .map(move |key| LogKey::new(name.clone(), key.clone()))
    };
    name.into_iter().flat_map(of).collect()
}

fn trusted_name(trusted: &[LogKey]) -> String {
    trusted
        .first()
        .map(|key| key.name().to_string())
        .unwrap_or_default()
}

/// A checkpoint or a proof of the bundle, where it is there and text.
fn proof(bundle: &Bundle, name: &str) -> Option<String> {
    String::from_utf8(bundle.proof(name).ok()??).ok()
}
