//! `test`: the cases, and which of them hold.

use hallpass_policy::Place;
use serde::Serialize;

use crate::cases::{Case, File};
use crate::cli::TestArgs;
use crate::errors::ToolError;
use crate::pack::{self, Pack};
use crate::report::{Exit, Screen, table};

/// The answer.
#[derive(Debug, Serialize)]
struct Tested {
    passed: usize,
    failed: usize,
    cases: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    file: String,
    line: usize,
    name: String,
    asks: String,
    got: String,
    passed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    wrong: Vec<String>,
}

pub(crate) fn run(args: &TestArgs, screen: &Screen) -> Result<Exit, ToolError> {
    let pack = Pack::load(&args.folder)?;
    let mut rows = Vec::new();
    for (file, text) in pack::texts(&args.folder, "tests", ".toml")? {
        let parsed: File = toml::from_str(&text).map_err(|e| ToolError::Parse {
            file: file.clone(),
            source: Box::new(e),
        })?;
        for case in parsed.cases {
            let line = Place::of(&text, case.span()).line;
            let case = case.into_inner();
            let wanted = args.only.as_deref();
            if wanted.is_none_or(|w| case.name.contains(w) || file.contains(w)) {
                rows.push(row(&pack, file.clone(), line, &case));
            }
        }
    }
    if rows.is_empty() {
        let what = format!(
            "there is no case to run in {}",
            args.folder.join("tests").display()
        );
        return Err(ToolError::Usage(what));
    }
    let passed = rows.iter().filter(|r| r.passed).count();
    let tested = Tested {
        passed,
        failed: rows.len() - passed,
        cases: rows,
    };
    screen.show(&tested, || words(&tested, screen))?;
    Ok(Exit::when(tested.failed == 0))
}

/// A case that cannot be run has failed: it expects something of what is not there.
fn row(pack: &Pack, file: String, line: usize, case: &Case) -> Row {
    let (got, wrong) = match case.run(pack) {
        Ok(outcome) => (outcome.got, outcome.wrong),
        Err(error) => ("-".to_owned(), vec![error.chain()]),
    };
    Row {
        file,
        line,
        name: case.name.clone(),
        asks: case.asks(),
        got,
        passed: wrong.is_empty(),
        wrong,
    }
}

fn words(tested: &Tested, screen: &Screen) -> String {
    let row = |r: &Row| {
        let result = if r.passed {
            screen.good("pass")
        } else {
            screen.bad("FAIL")
        };
        vec![result, r.name.clone(), r.asks.clone(), r.got.clone()]
    };
    let header = ["", "CASE", "ASKS", "ANSWER"];
    let mut text = table(&header, tested.cases.iter().map(row).collect());
    for failed in tested.cases.iter().filter(|r| !r.passed) {
        text.push_str(&format!(
            "\n{}:{}: {}\n",
            failed.file, failed.line, failed.name
        ));
        for wrong in &failed.wrong {
            text.push_str(&format!("  {wrong}\n"));
        }
    }
    text.push_str(&format!(
        "\n{} passed, {} failed\n",
        tested.passed, tested.failed
    ));
    text
}
