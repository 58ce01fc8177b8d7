//! `check`: would a server put this in force, and should it?

use hallpass_policy::{Bundle, BundleError, Finding, Level, Place, Problem};
use serde::Serialize;

use crate::cli::CheckArgs;
use crate::errors::ToolError;
use crate::pack::{self, Files};
use crate::report::{Exit, Screen, count};
use crate::snippet::{self, Shown};

const ENTITLEMENTS: &str = "entitlements.toml";

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    policies: usize,
    entitlements: usize,
    findings: Vec<Noted>,
}

/// One problem or lint.
#[derive(Debug, Serialize)]
struct Noted {
    level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lint: Option<&'static str>,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'static str>,
    #[serde(skip)]
    place: Option<Place>,
}

pub(crate) fn run(args: &CheckArgs, screen: &Screen) -> Result<Exit, ToolError> {
    let files = pack::bundle_files(&args.folder)?;
    let checked = match Bundle::parse(&files) {
        Ok(bundle) => lints(&bundle),
        Err(BundleError::Refused(problems)) => refused(problems),
        Err(source) => {
            let path = args.folder.clone();
            return Err(ToolError::Bundle { path, source });
        }
    };
    let errors = checked
        .findings
        .iter()
        .filter(|f| f.level == "error")
        .count();
    let warnings = checked.findings.len() - errors;
    screen.show(&checked, || {
        words(&checked, errors, warnings, &files, screen)
    })?;
    let strict = args.deny_warnings && warnings > 0;
    Ok(Exit::when(errors == 0 && !strict))
}

fn refused(problems: Vec<Problem>) -> Checked {
    let noted = |p: Problem| noted("error", None, p.file, p.place, p.what, None);
    Checked {
        valid: false,
        digest: None,
        policies: 0,
        entitlements: 0,
        findings: problems.into_iter().map(noted).collect(),
    }
}

fn lints(bundle: &Bundle) -> Checked {
    let lint = |f: Finding| {
        let level = match f.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        noted(
            level,
            Some(f.lint),
            f.file,
            Some(f.place),
            f.what,
            Some(f.help),
        )
    };
    let mut findings: Vec<Noted> = bundle.lint().into_iter().map(lint).collect();
    for entitlement in bundle.entitlements() {
        let violations = hallpass_aws::check_entitlement(entitlement).err();
        for violation in violations.into_iter().flatten() {
            let what = format!("entitlement {}: {violation}", entitlement.id);
            let place = bundle.entitlement_place(&entitlement.id);
            let file = ENTITLEMENTS.to_owned();
            findings.push(noted("error", Some("aws-limit"), file, place, what, None));
        }
    }
    Checked {
        valid: findings.iter().all(|f| f.level != "error"),
        digest: Some(bundle.digest().to_string()),
        policies: bundle.policy_set().policies().count(),
        entitlements: bundle.entitlements().count(),
        findings,
    }
}

fn noted(
    level: &'static str,
    lint: Option<&'static str>,
    file: String,
    place: Option<Place>,
    what: String,
    help: Option<&'static str>,
) -> Noted {
    Noted {
        level,
        lint,
        file,
        line: place.map(|p| p.line),
        column: place.map(|p| p.column),
        what,
        help,
        place,
    }
}

fn words(
    checked: &Checked,
    errors: usize,
    warnings: usize,
    files: &Files,
    screen: &Screen,
) -> String {
    let mut text = String::new();
    for found in &checked.findings {
        let shown = Shown {
            is_error: found.level == "error",
            name: found.lint,
            file: &found.file,
            place: found.place,
            what: &found.what,
            help: found.help,
        };
        text.push_str(&snippet::render(&shown, files, screen));
    }
    let found = format!("{}, {}", count(errors, "error"), count(warnings, "warning"));
    match &checked.digest {
        Some(digest) if errors == 0 => text.push_str(&format!(
            "{}: {}, {}, {found}\ndigest {digest}\n",
            screen.good("valid"),
            match checked.policies {
                1 => "1 policy".to_owned(),
                n => format!("{n} policies"),
            },
            count(checked.entitlements, "entitlement"),
        )),
        _ => text.push_str(&format!("{}: {found}\n", screen.bad("refused"))),
    }
    text
}
