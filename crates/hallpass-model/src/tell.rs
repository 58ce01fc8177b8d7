//! What people read of a run.

use hallpass_model::{Bounds, Invariant, Mutant, Report, check};

/// Prints the figures of a run and what became of each invariant.
pub(crate) fn verdicts(name: &str, report: &Report) {
    println!(
        "\n{name}\n  {} states, {} unique, depth {}, {:.1} s, {:.0} states/s",
        report.states,
        report.unique_states,
        report.depth,
        report.took.as_secs_f64(),
        report.states_per_second()
    );
    for invariant in Invariant::ALL {
        let finding = report.findings.iter().find(|f| f.invariant == invariant);
        let verdict = if finding.is_some() { "BROKEN" } else { "holds" };
        println!("  {:<52} {verdict}", invariant.words());
        for step in finding.iter().flat_map(|f| &f.steps) {
            println!("      {step:?}");
        }
    }
}

/// Whether each mistake is noticed by the invariant that must notice it.
pub(crate) fn mutants() -> bool {
    println!("\nseeded mistakes, each of which must be noticed");
    let mut all = true;
    for mutant in Mutant::ALL {
        let invariant = mutant.breaks();
        let bounds = Bounds {
            until: Some(invariant),
            ..Bounds::default()
        };
        let report = check(mutant.scope().with(mutant), bounds);
        let steps = report.findings.iter().find(|f| f.invariant == invariant);
        let verdict = match steps {
            Some(finding) => format!("refuted in {} steps", finding.steps.len()),
            None => "NOT NOTICED".to_owned(),
        };
        all &= steps.is_some();
        println!(
            "  {:<24} {verdict:<22} {}",
            format!("{mutant:?}"),
            invariant.words()
        );
    }
    all
}
