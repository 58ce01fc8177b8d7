//! Bundles of the recorded histories, mutated: every change is detected.

use std::collections::BTreeMap;

use hallpass_bundle::{
    Bundle, ExportFilter, FileEntry, HISTORIES, HISTORY, KEYS, PAGES, POLICIES, Page, RequestEntry,
    compress, write_tar,
};
use hallpass_evidence::{Keyring, SigningKey};
use hallpass_types::Sha256Digest;
use prost::Message as _;
use temporalio_common::protos::temporal::api::history::v1::History;

use crate::stored;

/// How many bytes of a large bundle are changed; of a small one it is every byte.
const SAMPLE: usize = 1500;
/// The history of a small bundle.
const SMALL: &str = "/withdrawn";

type Files = BTreeMap<String, Vec<u8>>;

fn service() -> SigningKey {
    SigningKey::from_seed(&[5; 32])
}

fn entry(name: &str, bytes: &[u8]) -> FileEntry {
    FileEntry {
        name: name.to_owned(),
        size: bytes.len() as u64,
        sha256: Sha256Digest::of(bytes),
    }
}

/// An export of all recorded histories, `per_page` on each page.
fn export(per_page: usize) -> Files {
    export_of(&stored::all(), per_page)
}

fn small() -> Files {
    let mut all = stored::all();
    all.retain(|(name, _)| name.ends_with(SMALL));
    assert!(!all.is_empty());
    export_of(&all, 1)
}

fn export_of(all: &[(String, History)], per_page: usize) -> Files {
    let mut files = Files::new();
    let mut previous = None;
    let pages: Vec<_> = all.chunks(per_page).collect();
    let cursor = |n: usize| (n > 0).then(|| Sha256Digest::of(format!("place {n}").as_bytes()));
    for (n, page) in pages.iter().enumerate() {
        let mut own = Files::new();
        let mut requests = Vec::new();
        for (kind, history) in *page {
            let id = kind.replace('/', "-");
            let packed = compress(&history.encode_to_vec()).unwrap();
            own.insert(format!("{HISTORIES}{id}{HISTORY}"), packed);
            requests.push(RequestEntry {
                id,
                events: history.events.len() as u64,
                history_digest: hallpass_audit::digest(history).unwrap(),
                stored_digest: None,
                closed: true,
            });
        }
        let keys = String::from(service().public_key()) + "\n";
        own.insert(KEYS.to_owned(), keys.into_bytes());
        own.insert(
            format!("{POLICIES}x/entitlements.toml"),
            b"# policy\n".to_vec(),
        );
        let last = n + 1 == pages.len();
        let page = Page {
            deployment: "test".to_owned(),
            exported_at: "2026-11-22T10:00:00Z".parse().unwrap(),
            exported_for: "https://idp.example#erin".to_owned(),
            filter: ExportFilter::default(),
            page: u32::try_from(n + 1).unwrap(),
            previous: previous.clone(),
            cursor: cursor(n),
            next_cursor: if last { None } else { cursor(n + 1) },
            requests,
            files: own.iter().map(|(n, b)| entry(n, b)).collect(),
        };
        let signed = page.sign(&service()).unwrap();
        previous = Some(Sha256Digest::of(&signed));
        files.insert(format!("{PAGES}{:06}.json", n + 1), signed);
        files.extend(own);
    }
    files
}

/// What `hallpass-audit verify` does before it looks into histories.
fn holds(bytes: &[u8]) -> bool {
    let keys = Keyring::new([service().public_key()]);
    Bundle::read(bytes).is_ok_and(|b| b.verify(&keys).is_ok())
}

#[derive(Default)]
struct Count {
    tried: usize,
    undetected: Vec<String>,
}

impl Count {
    fn mutation(&mut self, what: impl FnOnce() -> String, bytes: &[u8]) {
        self.tried += 1;
        if holds(bytes) {
            self.undetected.push(what());
        }
    }

    fn done(self, what: &str) {
        let (tried, undetected) = (self.tried, self.undetected.len());
        println!("{what}: {tried} mutations tried, {undetected} undetected");
        assert!(self.undetected.is_empty(), "{:?}", self.undetected);
        assert!(tried > 0);
    }
}

#[test]
fn every_changed_byte_is_detected() {
    let mut count = Count::default();
    for (files, sampled) in [(small(), false), (export(4), true)] {
        let bytes = write_tar(&files).unwrap();
        assert!(holds(&bytes), "as exported");
        let step = if sampled { bytes.len() / SAMPLE } else { 1 };
        for at in (0..bytes.len()).step_by(step) {
            let mut changed = bytes.clone();
            changed[at] ^= if at % 2 == 0 { 0x01 } else { 0x80 };
            count.mutation(|| format!("byte {at}"), &changed);
        }
        for cut in [1, 511, 512, 1024, bytes.len() / 2] {
            count.mutation(|| format!("cut {cut}"), &bytes[..bytes.len() - cut]);
        }
        count.mutation(|| "trailing".to_owned(), &[&bytes[..], &[0; 512]].concat());
        count.mutation(|| "trailing".to_owned(), &[&bytes[..], b"x"].concat());
    }
    count.done("bytes");
}

#[test]
fn every_removed_doubled_swapped_renamed_or_added_record_is_detected() {
    let mut count = Count::default();
    for per_page in [1, 4] {
        let files = export(per_page);
        let names: Vec<&String> = files.keys().collect();
        for name in &names {
            let mut without = files.clone();
            without.remove(*name);
            count.mutation(|| format!("without {name}"), &write_tar(&without).unwrap());
            let mut twice = files.clone();
            twice.insert(format!("{name}x"), files[*name].clone());
            count.mutation(|| format!("{name} twice"), &write_tar(&twice).unwrap());
            let mut renamed = without.clone();
            renamed.insert(format!("{name}x"), files[*name].clone());
            count.mutation(|| format!("{name} renamed"), &write_tar(&renamed).unwrap());
            for other in names.iter().filter(|o| files[**o] != files[*name]) {
                let mut swapped = files.clone();
                swapped.insert((*name).clone(), files[*other].clone());
                swapped.insert((*other).clone(), files[*name].clone());
                count.mutation(
                    || format!("{name} and {other}"),
                    &write_tar(&swapped).unwrap(),
                );
            }
        }
        for cut in 1..files.keys().filter(|n| n.starts_with(PAGES)).count() {
            let mut fewer = files.clone();
            fewer.retain(|n, _| !n.starts_with(PAGES) || *n <= format!("{PAGES}{cut:06}.json"));
            count.mutation(|| format!("{cut} pages"), &write_tar(&fewer).unwrap());
        }
    }
    count.done("records");
}

#[test]
fn headers_in_another_order_are_detected() {
    let files = export(4);
    let bytes = write_tar(&files).unwrap();
    let mut blocks = Vec::new();
    for (name, content) in &files {
        let one = write_tar(&Files::from([(name.clone(), content.clone())])).unwrap();
        blocks.push(one[..one.len() - 1024].to_vec());
    }
    let end = vec![0; 1024];
    assert_eq!([blocks.concat(), end.clone()].concat(), bytes);
    let mut count = Count::default();
    for at in 1..blocks.len() {
        let mut swapped = blocks.clone();
        swapped.swap(at - 1, at);
        count.mutation(
            || format!("swap {at}"),
            &[swapped.concat(), end.clone()].concat(),
        );
        let mut doubled = blocks.clone();
        doubled.insert(at, blocks[at].clone());
        count.mutation(
            || format!("double {at}"),
            &[doubled.concat(), end.clone()].concat(),
        );
    }
    count.done("order");
}

#[test]
fn pages_that_a_stranger_signed_are_detected() {
    let bytes = write_tar(&export(4)).unwrap();
    let stranger = Keyring::new([SigningKey::from_seed(&[6; 32]).public_key()]);
    let bundle = Bundle::read(&bytes).unwrap();
    assert!(bundle.verify(&stranger).is_err());
    assert_eq!(bundle.histories().count(), stored::all().len());
}
