//! The archived histories as a bundle: in pages as the service makes them, put together as the client
//! does.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hallpass_archive::{RunId, SignedCheckpoint, checkpoint, find, prove_inclusion};
use hallpass_bundle::{
    CHECKPOINT, ExportFilter, FileEntry, HISTORIES, HISTORY, INCLUSION, KEYS, PAGES, POLICIES,
    PROOFS, Page, Parts, RequestEntry, compress,
};
use hallpass_evidence::SigningKey;
use hallpass_types::Sha256Digest;
use jiff::Timestamp;
use prost::Message as _;

use super::archive::{Archived, SEED};
use super::usage::Watch;
use super::variants::{Variants, repository};
use crate::stats::Row;

/// Requests of a page, as the service has it by default.
const PAGE: u32 = 50;

type Files = BTreeMap<String, Vec<u8>>;

/// Exports everything; the bundle, and what that took.
pub(crate) async fn exported(scratch: &Path, from: &Archived) -> anyhow::Result<(PathBuf, Row)> {
    let variants = Variants::new(SEED)?;
    let key = SigningKey::from_seed(&SEED);
    let trusted = [from.signer.verifier()];
    let head = checkpoint(from.store.as_ref(), &trusted).await?;
    let head = head.context("the log is empty")?;
    let policies = policies()?;
    let parts = Parts::open(&scratch.join("parts"))?;
    let mut watch = Watch::over(usize::try_from(from.count)?);
    let mut previous = None;
    for number in 0..from.count.div_ceil(PAGE) {
        let begun = watch.begin();
        let numbers = number * PAGE..((number + 1) * PAGE).min(from.count);
        let mut files = policies.clone();
        files.insert(
            KEYS.to_owned(),
            (String::from(key.public_key()) + "\n").into(),
        );
        let note = head.as_str().as_bytes().to_vec();
        files.insert(format!("{PROOFS}{CHECKPOINT}"), note);
        let mut requests = Vec::new();
        for n in numbers {
            requests.push(request(&variants, n, from, &head, &mut files).await?);
        }
        let done = requests.len();
        let last = (number + 1) * PAGE >= from.count;
        let page = page(number, last, previous.take(), requests, &files);
        let signed = page.sign(&key)?;
        previous = Some(Sha256Digest::of(&signed));
        files.insert(format!("{PAGES}{:06}.json", page.page), signed);
        for (name, bytes) in files {
            parts.keep(&name, &bytes)?;
        }
        if last {
            parts.assemble(BufWriter::new(File::create(scratch.join("export.tar"))?))?;
            std::fs::remove_dir_all(parts.folder())?;
        }
        watch.done(&begun, done);
    }
    let bundle = scratch.join("export.tar");
    let size = std::fs::metadata(&bundle)?.len() >> 10;
    let mib = f64::from(u32::try_from(size)?) / 1024.0;
    Ok((
        bundle,
        watch.row("exported, a history").counting("MiB", mib),
    ))
}

/// The files of one request.
async fn request(
    variants: &Variants,
    n: u32,
    from: &Archived,
    head: &SignedCheckpoint,
    files: &mut Files,
) -> anyhow::Result<RequestEntry> {
    let variant = variants.make(n)?;
    let id = &variant.id;
    let packed = compress(&variant.history.encode_to_vec())?;
    files.insert(format!("{HISTORIES}{id}{HISTORY}"), packed);
    let run = RunId::parse(&variant.run).map_err(anyhow::Error::msg)?;
    let found = find(from.store.as_ref(), id, &run).await?;
    let (index, _) = found.context("a history is not in the log")?;
    let proof = prove_inclusion(from.store.as_ref(), head, index).await?;
    let name = format!("{PROOFS}{id}{INCLUSION}");
    files.insert(name, proof.to_string().into_bytes());
    Ok(RequestEntry {
        id: id.to_string(),
        events: variant.history.events.len() as u64,
        history_digest: hallpass_audit::digest(&variant.history)?,
        stored_digest: None,
        closed: true,
    })
}

fn page(
    number: u32,
    last: bool,
    previous: Option<Sha256Digest>,
    requests: Vec<RequestEntry>,
    files: &Files,
) -> Page {
    let place = |n: u32| Sha256Digest::of(&n.to_be_bytes());
    let entry = |(name, bytes): (&String, &Vec<u8>)| FileEntry {
        name: name.clone(),
        size: bytes.len() as u64,
        sha256: Sha256Digest::of(bytes),
    };
    Page {
        deployment: "test".to_owned(),
        exported_at: Timestamp::now(),
        exported_for: "https://idp.example#erin".to_owned(),
        filter: ExportFilter::default(),
        page: number + 1,
        previous,
        cursor: (number > 0).then(|| place(number)),
        next_cursor: (!last).then(|| place(number + 1)),
        requests,
        files: files.iter().map(entry).collect(),
    }
}

/// The policy bundles that the recorded histories were decided with.
pub(crate) fn policies() -> anyhow::Result<Files> {
    let root = repository().join("tests/policies");
    let mut files = Files::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&root)?.display().to_string();
            files.insert(format!("{POLICIES}{name}"), std::fs::read(&path)?);
        }
    }
    Ok(files)
}
