//! The bill of materials of the shipped programs, as CycloneDX 1.5, from what cargo resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use serde_json::{Value, json};

use crate::workspace;

/// Where it goes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The file to write [default: target/hallpass.cdx.json].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the bill.
pub(crate) fn write(options: &Options) -> anyhow::Result<()> {
    let root = workspace::root();
    let path = options.output.clone();
    let path = path.unwrap_or_else(|| root.join("target/hallpass.cdx.json"));
    let bill = bill(&resolved(&root)?)?;
    fs::write(&path, serde_json::to_vec_pretty(&bill)?)
        .with_context(|| format!("could not write {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

/// What cargo resolved for the shipped programs, on Linux. No network: the lock file says it all.
fn resolved(root: &Path) -> anyhow::Result<Metadata> {
    let options = ["--locked", "--filter-platform", "x86_64-unknown-linux-gnu"];
    MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options(options.map(str::to_owned).to_vec())
        .exec()
        .context("could not read the workspace's metadata")
}

/// Everything that is linked into the workspace's default members. The same for the same lock file:
/// it has no serial number and no time.
fn bill(metadata: &Metadata) -> anyhow::Result<Value> {
    let edges = edges(metadata)?;
    let shipped: Vec<PackageId> = metadata.workspace_default_members.to_vec();
    ensure!(!shipped.is_empty(), "the workspace ships no program");
    let mut reached = BTreeSet::new();
    let mut next = shipped.clone();
    while let Some(id) = next.pop() {
        if reached.insert(id.clone()) {
            next.extend(edges.get(&id).into_iter().flatten().cloned());
        }
    }
    let mut packages: Vec<&Package> = reached.iter().map(|id| &metadata[id]).collect();
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    let components = packages
        .iter()
        .map(|package| component(package, shipped.contains(&package.id)));
    let dependencies = packages.iter().map(|package| {
        let linked = edges.get(&package.id).into_iter().flatten();
        let linked: BTreeSet<_> = linked.map(|id| reference(&metadata[id])).collect();
        json!({ "ref": reference(package), "dependsOn": linked })
    });
    let version = metadata[&shipped[0]].version.to_string();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": { "type": "application", "name": "hallpass", "version": version }
        },
        "components": components.collect::<Vec<_>>(),
        "dependencies": dependencies.collect::<Vec<_>>(),
    }))
}

/// Who links whom; what only builds or tests need is not shipped.
fn edges(metadata: &Metadata) -> anyhow::Result<BTreeMap<PackageId, Vec<PackageId>>> {
    let resolve = metadata
        .resolve
        .as_ref()
        .context("cargo resolved nothing")?;
    let edges = resolve.nodes.iter().map(|node| {
        let normal = node.deps.iter().filter(|dependency| {
            let mut kinds = dependency.dep_kinds.iter();
            kinds.any(|kind| kind.kind == DependencyKind::Normal)
        });
        (node.id.clone(), normal.map(|d| d.pkg.clone()).collect())
    });
    Ok(edges.collect())
}

/// A package URL; the characters of cargo's names and versions need no escape but `+`.
fn reference(package: &Package) -> String {
    let version = package.version.to_string().replace('+', "%2B");
    format!("pkg:cargo/{}@{version}", package.name)
}

fn component(package: &Package, is_program: bool) -> Value {
    let kind = if is_program { "application" } else { "library" };
    let reference = reference(package);
    let mut component = json!({
        "type": kind,
        "bom-ref": reference,
        "name": package.name.as_str(),
        "version": package.version.to_string(),
        "purl": reference,
    });
    if let Some(license) = &package.license {
        // Old manifests separate with a slash.
        let expression = license.replace('/', " OR ");
        component["licenses"] = json!([{ "expression": expression }]);
    } else if let Some(file) = &package.license_file {
        let name = format!("as told in {file} of the package");
        component["licenses"] = json!([{ "license": { "name": name } }]);
    }
    if let Some(told) = package.description.as_deref() {
        component["description"] = told.split_whitespace().collect::<Vec<_>>().join(" ").into();
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<'a>(value: &'a Value, key: &str) -> &'a str {
        value[key]
            .as_str()
            .unwrap_or_else(|| panic!("no {key}: {value}"))
    }

    #[test]
    fn the_bill_is_whole_closed_and_the_same_each_time() {
        let metadata = resolved(&workspace::root()).unwrap();
        let bill = super::bill(&metadata).unwrap();
        assert_eq!(super::bill(&metadata).unwrap(), bill);
        // What the schema of CycloneDX 1.5 requires.
        assert_eq!(text(&bill, "bomFormat"), "CycloneDX");
        assert_eq!(
            (text(&bill, "specVersion"), &bill["version"]),
            ("1.5", &json!(1))
        );
        let components = bill["components"].as_array().unwrap();
        for component in components {
            assert!(["application", "library"].contains(&text(component, "type")));
            assert!(!text(component, "name").is_empty());
            assert!(text(component, "purl").starts_with("pkg:cargo/"));
        }
        let named = |name: &str| components.iter().find(|c| c["name"] == name);
        for program in [
            "hallpass-server",
            "hallpass-cli",
            "hallpass-policy-cli",
            "hallpass-replay",
        ] {
            let found = named(program).unwrap_or_else(|| panic!("{program} is missing"));
            assert_eq!(text(found, "type"), "application");
        }
        let lock = fs::read_to_string(workspace::root().join("Cargo.lock")).unwrap();
        for library in [
            "tokio",
            "tonic",
            "cedar-policy",
            "aws-lc-rs",
            "temporalio-sdk",
        ] {
            let found = named(library).unwrap_or_else(|| panic!("{library} is missing"));
            let version = text(found, "version");
            assert!(lock.contains(&format!("name = \"{library}\"\nversion = \"{version}\"")));
            let license = &found["licenses"][0];
            let told = license["expression"].as_str();
            let told = told.or_else(|| license["license"]["name"].as_str());
            assert!(told.is_some(), "{found}");
        }
        // Only builds and tests need those.
        for absent in ["proptest", "hallpass-tests", "xtask", "hallpass-build"] {
            assert!(named(absent).is_none(), "{absent} is not shipped");
        }
        let references: BTreeSet<_> = components.iter().map(|c| text(c, "bom-ref")).collect();
        assert_eq!(references.len(), components.len());
        let dependencies = bill["dependencies"].as_array().unwrap();
        let told: BTreeSet<_> = dependencies.iter().map(|d| text(d, "ref")).collect();
        assert_eq!(told, references);
        for dependency in dependencies {
            for other in dependency["dependsOn"].as_array().unwrap() {
                assert!(references.contains(other.as_str().unwrap()), "{other}");
            }
        }
    }
}
