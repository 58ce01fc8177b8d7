//! Every byte of every recorded bundle, changed: what no check notices is counted.

use std::collections::BTreeMap;

use hallpass_bundle::{
    Bundle, ExportFilter, FileEntry, HISTORIES, HISTORY, KEYS, PAGES, Page, RequestEntry, compress,
    write_tar,
};
use hallpass_evidence::{Keyring, SigningKey};
use hallpass_types::Sha256Digest;
use prost::Message as _;
use temporalio_common::protos::temporal::api::history::v1::History;

use super::archive::SEED;
use super::exported::policies;
use super::variants::recorded;

/// Changes each byte of the bundle of each recorded history, every `step`th one, and prints how many
/// were tried and how many went undetected.
pub(crate) fn mutations(step: usize) -> anyhow::Result<()> {
    let (mut all, mut missed) = (0, 0);
    println!(
        "  {:<36} {:>8} {:>8} {:>10}",
        "", "bytes", "tried", "undetected"
    );
    for (name, bytes) in recorded()? {
        let bundle = bundle(&name, &History::decode(bytes.as_slice())?)?;
        let (tried, undetected) = try_all(&bundle, step)?;
        println!(
            "  {name:<36} {:>8} {tried:>8} {undetected:>10}",
            bundle.len()
        );
        all += tried;
        missed += undetected;
    }
    println!("  {:<36} {:>8} {all:>8} {missed:>10}", "all", "");
    anyhow::ensure!(missed == 0, "{missed} changes were not detected");
    Ok(())
}

/// How many changes were tried, and how many of them nothing noticed.
fn try_all(bundle: &[u8], step: usize) -> anyhow::Result<(usize, usize)> {
    let keys = Keyring::new([SigningKey::from_seed(&SEED).public_key()]);
    let holds = |bytes: &[u8]| Bundle::read(bytes).is_ok_and(|b| b.verify(&keys).is_ok());
    anyhow::ensure!(holds(bundle), "it does not hold unchanged");
    let mut changed = bundle.to_vec();
    let (mut tried, mut undetected) = (0, 0);
    for at in (0..bundle.len()).step_by(step.max(1)) {
        let Some(byte) = changed.get_mut(at) else {
            break;
        };
        let flip = 1 << (at % 8);
        *byte ^= flip;
        tried += 1;
        undetected += usize::from(holds(&changed));
        if let Some(byte) = changed.get_mut(at) {
            *byte ^= flip;
        }
    }
    Ok((tried, undetected))
}

/// A bundle of one history, with the policies that it was decided with.
fn bundle(name: &str, history: &History) -> anyhow::Result<Vec<u8>> {
    let key = SigningKey::from_seed(&SEED);
    let id = name.replace('/', "-");
    let asked = hallpass_audit::answers(history);
    let mut files = policies()?;
    files.retain(|name, _| {
        let named = |digest: &Sha256Digest| name.contains(digest.as_str());
        asked.iter().any(|a| named(&a.answer.policy_digest))
    });
    let packed = compress(&history.encode_to_vec())?;
    files.insert(format!("{HISTORIES}{id}{HISTORY}"), packed);
    files.insert(
        KEYS.to_owned(),
        (String::from(key.public_key()) + "\n").into(),
    );
    let entry = |(name, bytes): (&String, &Vec<u8>)| FileEntry {
        name: name.clone(),
        size: bytes.len() as u64,
        sha256: Sha256Digest::of(bytes),
    };
    let page = Page {
        deployment: "test".to_owned(),
        exported_at: jiff::Timestamp::UNIX_EPOCH,
        exported_for: "https://idp.example#erin".to_owned(),
        filter: ExportFilter::default(),
        page: 1,
        previous: None,
        cursor: None,
        next_cursor: None,
        requests: vec![RequestEntry {
            id,
            events: history.events.len() as u64,
            history_digest: hallpass_audit::digest(history)?,
            stored_digest: None,
            closed: true,
        }],
        files: files.iter().map(entry).collect::<Vec<_>>(),
    };
    files.insert(format!("{PAGES}000001.json"), page.sign(&key)?);
    Ok(write_tar(&BTreeMap::from_iter(files))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_change_of_any_recorded_bundle_goes_undetected() {
        let recorded = recorded().unwrap();
        assert!(recorded.len() >= 17);
        for (name, bytes) in recorded {
            let bundle = bundle(&name, &History::decode(bytes.as_slice()).unwrap()).unwrap();
            let (tried, undetected) = try_all(&bundle, bundle.len() / 97).unwrap();
            assert!(
                tried >= 97 && undetected == 0,
                "{name}: {undetected} of {tried}"
            );
        }
    }
}
