//! The emulator's own truth: what it refuses, AWS refuses, and what it allows, AWS allows.

use hallpass_crash::emulator::{self, Observation};
use hallpass_standins::{Ministack, MinistackOptions, Tools};

#[tokio::test]
async fn the_pinned_emulator_does_what_aws_does_where_access_leans_on_it() {
    harness::init();
    let tools = Tools::locate_or_install(&Tools::default_dir().unwrap(), &()).unwrap();
    let logs = tempfile::tempdir().unwrap();
    let started = Ministack::start(&tools, MinistackOptions::new(logs.path()));
    let ministack = started.await.unwrap();
    let endpoint = ministack.endpoint().parse().unwrap();
    let answers = emulator::ask(&endpoint).await.unwrap();
    assert_eq!(answers.len(), emulator::CHECKS.len());
    let mut wrong = Vec::new();
    for (check, seen) in &answers {
        assert!(!seen.is_empty(), "{} saw nothing", check.id);
        let others = seen.iter().filter(|o: &&Observation| !o.holds());
        wrong.extend(others.map(|o| format!("{} {}: {o}", check.id, check.says)));
    }
    assert_eq!(wrong, Vec::<String>::new());
}
