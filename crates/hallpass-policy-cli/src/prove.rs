//! `prove`: properties for every request there can be, or one request that breaks them.
//!
//! A property is written as a policy. `permit … when C` says that the pack allows the action only
//! where C holds; `forbid … when C` that it never does where C holds; a permit with `@always` that
//! it always does.

use cedar_policy::{ActionConstraint, Effect, Entities, Policy, PolicySet, RequestEnv, Schema};
use hallpass_policy::Bundle;
use serde::Serialize;

use crate::cli::ProveArgs;
use crate::counterexample::Counterexample;
use crate::errors::ToolError;
use crate::pack::{self, Pack};
use crate::report::{Exit, Screen, table};
use crate::solver::Prover;

const FLOOR: &str = include_str!("floor_properties.cedar");

/// Allows everything: with a forbid beside it, what is left is what the forbid lets through.
const ALL: &str = "permit (principal, action, resource);";

/// The answer.
#[derive(Debug, Serialize)]
struct Proved {
    proved: usize,
    refuted: usize,
    digest: String,
    properties: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    property: String,
    file: String,
    line: usize,
    says: &'static str,
    proved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    counterexample: Option<Counterexample>,
}

/// A property, read.
struct Property {
    id: String,
    file: String,
    line: usize,
    claim: Claim,
    policy: Policy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    OnlyWhen,
    Never,
    Always,
}

impl Claim {
    fn says(self) -> &'static str {
        match self {
            Self::OnlyWhen => "only when",
            Self::Never => "never",
            Self::Always => "always",
        }
    }
}

pub(crate) fn run(args: &ProveArgs, screen: &Screen) -> Result<Exit, ToolError> {
    let pack = Pack::load(&args.folder)?;
    let wanted = |id: &str| args.only.as_deref().is_none_or(|only| id.contains(only));
    let mut properties = read(&pack)?;
    properties.retain(|p| wanted(&p.id));
    let mut prover = Prover::start(screen)?;
    let mut rows = Vec::new();
    for property in &properties {
        rows.push(prove(&pack.bundle, property, &mut prover)?);
    }
    if wanted(NEVER_ERRORS) {
        rows.push(never_errors(&pack.bundle, &mut prover)?);
    }
    if rows.is_empty() {
        return Err(ToolError::Usage("no property has such an id".to_owned()));
    }
    let proved = rows.iter().filter(|r| r.proved).count();
    let proved = Proved {
        proved,
        refuted: rows.len() - proved,
        digest: pack.bundle.digest().to_string(),
        properties: rows,
    };
    screen.show(&proved, || words(&proved, screen))?;
    Ok(Exit::when(proved.refuted == 0))
}

/// The built-in properties and the pack's.
fn read(pack: &Pack) -> Result<Vec<Property>, ToolError> {
    let mut texts = pack::texts(&pack.folder, "properties", ".cedar")?;
    texts.insert("built in".to_owned(), FLOOR.to_owned());
    let mut all: Vec<Property> = Vec::new();
    for (file, text) in &texts {
        let written =
            hallpass_policy::annotated(file, text, &["id", "always"], pack.bundle.schema());
        let written = written.map_err(|problems| {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            ToolError::Properties(lines.join("\n"))
        })?;
        for (policy, place) in written {
            let always = policy.annotation("always").is_some();
            let claim = match (policy.effect(), always) {
                (Effect::Forbid, false) => Claim::Never,
                (Effect::Permit, false) => Claim::OnlyWhen,
                (Effect::Permit, true) => Claim::Always,
                (Effect::Forbid, true) => {
                    let what = format!("{file}:{}: @always on a forbid", place.line);
                    return Err(ToolError::Properties(what));
                }
            };
            let id = policy.annotation("id").unwrap_or_default().to_owned();
            if let Some(first) = all.iter().find(|p| p.id == id) {
                let what = format!(
                    "{file}:{}: @id({id:?}) is in {} too",
                    place.line, first.file
                );
                return Err(ToolError::Properties(what));
            }
            all.push(Property {
                id,
                file: file.clone(),
                line: place.line,
                claim,
                policy,
            });
        }
    }
    Ok(all)
}

fn prove(bundle: &Bundle, property: &Property, prover: &mut Prover) -> Result<Row, ToolError> {
    let mut row = Row {
        property: property.id.clone(),
        file: property.file.clone(),
        line: property.line,
        says: property.claim.says(),
        proved: true,
        counterexample: None,
    };
    let unanswered = |source| ToolError::Proof {
        subject: property.id.clone(),
        source,
    };
    let schema = bundle.schema();
    let spec = specification(property)?;
    for kind in kinds(schema, &property.policy)? {
        // A property that errs on some request says nothing about it.
        let errs = prover
            .error_of(&property.policy, &kind, schema)
            .map_err(unanswered)?;
        if errs.is_some() {
            let what = format!("{} may itself err: ask `has` first", property.id);
            return Err(ToolError::Properties(what));
        }
        let (narrow, wide) = match property.claim {
            Claim::OnlyWhen | Claim::Never => (bundle.policy_set(), &spec),
            Claim::Always => (&spec, bundle.policy_set()),
        };
        let found = prover
            .beyond(narrow, wide, &kind, schema)
            .map_err(unanswered)?;
        if let Some(env) = found {
            row.proved = false;
            row.counterexample = Some(Counterexample::new(&env, bundle.policy_set()));
            return Ok(row);
        }
    }
    Ok(row)
}

/// The property as policies that allow exactly what it lets the pack allow.
fn specification(property: &Property) -> Result<PolicySet, ToolError> {
    let refused = |e: &dyn std::fmt::Display| ToolError::Properties(e.to_string());
    let mut set = PolicySet::new();
    set.add(property.policy.clone()).map_err(|e| refused(&e))?;
    if property.claim == Claim::Never {
        let all = Policy::parse(None, ALL).map_err(|e| refused(&e))?;
        set.add(all.new_id(cedar_policy::PolicyId::new("all")))
            .map_err(|e| refused(&e))?;
    }
    Ok(set)
}

/// The kinds of request that the property's scope speaks of.
fn kinds(schema: &Schema, policy: &Policy) -> Result<Vec<RequestEnv>, ToolError> {
    let actions: Entities = schema
        .action_entities()
        .map_err(|e| ToolError::Properties(e.to_string()))?;
    let covers = |named: &cedar_policy::EntityUid, action: &cedar_policy::EntityUid| {
        named == action || actions.is_ancestor_of(named, action)
    };
    let speaks_of = |kind: &RequestEnv| match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(named) => named == *kind.action(),
        ActionConstraint::In(named) => named.iter().any(|n| covers(n, kind.action())),
    };
    Ok(schema.request_envs().filter(speaks_of).collect())
}

const NEVER_ERRORS: &str = "hallpass.never-errors";

/// Cedar skips a policy that errs, so a forbid that errs forbids nothing.
fn never_errors(bundle: &Bundle, prover: &mut Prover) -> Result<Row, ToolError> {
    let mut row = Row {
        property: NEVER_ERRORS.to_owned(),
        file: "built in".to_owned(),
        line: 0,
        says: "never",
        proved: true,
        counterexample: None,
    };
    let schema = bundle.schema();
    for policy in bundle.policy_set().policies() {
        for kind in kinds(schema, policy)? {
            let found = prover.error_of(policy, &kind, schema);
            let found = found.map_err(|source| ToolError::Proof {
                subject: format!("{NEVER_ERRORS}, policy {}", policy.id()),
                source,
            })?;
            if let Some(env) = found {
                row.proved = false;
                row.counterexample = Some(Counterexample::new(&env, bundle.policy_set()));
                return Ok(row);
            }
        }
    }
    Ok(row)
}

fn words(proved: &Proved, screen: &Screen) -> String {
    let row = |r: &Row| {
        let result = match r.proved {
            true => screen.good("proved"),
            false => screen.bad("REFUTED"),
        };
        let at = match r.line {
            0 => r.file.clone(),
            line => format!("{}:{line}", r.file),
        };
        vec![result, r.property.clone(), r.says.to_owned(), at]
    };
    let rows = proved.properties.iter().map(row).collect();
    let mut text = table(&["", "PROPERTY", "SAYS", "AT"], rows);
    for refuted in proved.properties.iter().filter(|r| !r.proved) {
        let how = match (refuted.says, refuted.property.as_str()) {
            (_, NEVER_ERRORS) => "a request on which a policy errs",
            ("always", _) => "a request that the pack denies",
            _ => "a request that the pack allows",
        };
        text.push_str(&format!("\n{}: {how}\n", refuted.property));
        if let Some(counterexample) = &refuted.counterexample {
            text.push_str(&counterexample.words());
            for error in &counterexample.errors {
                text.push_str(&format!("    error      {error}\n"));
            }
        }
    }
    text.push_str(&format!(
        "\n{} proved, {} refuted\npolicy {}\n",
        proved.proved, proved.refuted, proved.digest
    ));
    text
}
