//! Archives and verifies many histories in a folder, and prints throughput and memory.
//!
//! `cargo run --release -p hallpass-archive --example archive_bench -- --count 10000`
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use hallpass_archive::{
    Closed, Directory, Entry, KeyName, LogSigner, Record, RunId, Sequencer, digest, verify,
};
use hallpass_evidence::SigningKey;
use hallpass_types::{AccessRequestId, Sha256Digest};
use jiff::Timestamp;

/// Archives and verifies many histories, and prints throughput and memory.
#[derive(Parser)]
struct Options {
    /// How many.
    #[arg(long, default_value_t = 10_000)]
    count: u64,
    /// Events in each history; one takes about 700 bytes.
    #[arg(long, default_value_t = 40)]
    events: u64,
    /// Records of one batch.
    #[arg(long, default_value_t = 256)]
    batch: u64,
    /// Where to; a folder that goes away when absent.
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// Something of the size and the entropy of a recorded history.
fn entry(n: u64, events: u64) -> Result<Entry, Box<dyn Error>> {
    let mut history = String::new();
    for event in 1..=events {
        let noise = Sha256Digest::of(format!("{n}/{event}").as_bytes());
        let padding =
            "\"attributes\":{\"header\":{\"fields\":{}},\"input\":{\"payloads\":[]}},".repeat(8);
        history.push_str(&format!(
            "{{\"eventId\":{event},{padding}\"data\":\"{noise}{noise}\"}}\n"
        ));
    }
    let history = history.into_bytes();
    let request = AccessRequestId::parse(&format!("ar-{n:026}"))?;
    let closed = Closed {
        status: "completed".to_owned(),
        at: Timestamp::UNIX_EPOCH,
    };
    let run = RunId::parse(&format!("run-{n}"))?;
    let record = Record::new(request, run, events, digest(&history), Some(closed));
    Ok(Entry { record, history })
}

/// Resident memory now, in MiB.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let scratch = tempfile::tempdir()?;
    let folder = options.directory.as_deref().unwrap_or(scratch.path());
    let key = Arc::new(SigningKey::from_seed(&[7; 32]));
    let signer = LogSigner::new(KeyName::parse("hallpass/bench")?, key);
    let store = Arc::new(Directory::open(folder)?);
    let mut sequencer = Sequencer::open(store, signer.clone(), &[]).await?;

    println!(
        "archive: {} records of {} events, {} a batch",
        options.count, options.events, options.batch
    );
    let started = Instant::now();
    let tenth = (options.count / 10).max(1);
    for first in (0..options.count).step_by(usize::try_from(options.batch)?) {
        let last = (first + options.batch).min(options.count);
        let batch: Result<Vec<_>, _> = (first..last).map(|n| entry(n, options.events)).collect();
        sequencer.append(&batch?).await?;
        if first / tenth != last / tenth {
            println!("  {last:>6} archived, {:>4} MiB resident", resident_mib());
        }
    }
    let taken = started.elapsed().as_secs_f64();
    println!(
        "archived in {taken:.1} s: {:.0} a second",
        options.count as f64 / taken
    );

    let started = Instant::now();
    let mut most = 0;
    let found = verify(sequencer.store(), &[signer.verifier()], |index, _, _| {
        if index % tenth == 0 {
            most = most.max(resident_mib());
        }
    })
    .await?;
    let taken = started.elapsed().as_secs_f64();
    println!(
        "verified {} records, {} MiB of histories in {taken:.1} s: {:.0} a second, at most {most} MiB resident",
        found.checkpoint.size,
        found.history_bytes >> 20,
        found.checkpoint.size as f64 / taken
    );
    Ok(())
}
