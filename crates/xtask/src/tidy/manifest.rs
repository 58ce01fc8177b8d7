//! The workspace's packages and what they name in their manifests.

use std::fs;
use std::path::Path;

use anyhow::Context;
use cargo_metadata::{DependencyKind, MetadataCommand};

/// A workspace member.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// The manifest's path, relative to the workspace.
    pub(crate) manifest: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// A dependency that a package names itself.
#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Whether it lies in this workspace.
    pub(crate) ours: bool,
    /// Whether only tests, examples and benches see it.
    pub(crate) dev: bool,
    pub(crate) optional: bool,
    /// The manifest's line that names it, from 1.
    pub(crate) line: usize,
}

/// Asks cargo for the members of the workspace at `root`.
pub(crate) fn packages(root: &Path) -> anyhow::Result<Vec<Package>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("could not read the workspace's metadata")?;
    metadata
        .packages
        .iter()
        .map(|package| read(root, package))
        .collect()
}

fn read(root: &Path, package: &cargo_metadata::Package) -> anyhow::Result<Package> {
    let path = package.manifest_path.as_std_path();
    let text = fs::read_to_string(path).with_context(|| format!("could not read {path:?}"))?;
    let manifest = path
        .strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string();
    let dependencies = package
        .dependencies
        .iter()
        .map(|dependency| {
            let key = dependency.rename.as_deref().unwrap_or(&dependency.name);
            Dependency {
                name: dependency.name.clone(),
                ours: dependency.path.is_some(),
                dev: dependency.kind == DependencyKind::Development,
                optional: dependency.optional,
                line: line_of(&text, key),
            }
        })
        .collect();
    Ok(Package {
        name: package.name.to_string(),
        manifest,
        dependencies,
    })
}

/// The line whose key is `key`, as in `key = …`, `key.workspace = …` or `[dependencies.key]`.
fn line_of(manifest: &str, key: &str) -> usize {
    let names = |line: &str| {
        line.strip_prefix(key)
            .is_some_and(|rest| rest.starts_with([' ', '.', '=']))
            || (line.starts_with('[') && line.ends_with(&format!("dependencies.{key}]")))
    };
    manifest
        .lines()
        .position(names)
        .map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_dependencies() {
        let manifest =
            "[dependencies]\naws-config.workspace = true\naws = \"1\"\n[dependencies.syn]\n";
        assert_eq!(line_of(manifest, "aws"), 3);
        assert_eq!(line_of(manifest, "aws-config"), 2);
        assert_eq!(line_of(manifest, "syn"), 4);
        assert_eq!(line_of(manifest, "absent"), 1);
    }

    #[test]
    fn this_workspace_is_read() {
        let packages = packages(&crate::workspace::root()).unwrap();
        let dependency = |package: &str, name: &str| {
            let package = packages.iter().find(|it| it.name == package).unwrap();
            let mut all = package.dependencies.iter();
            let found = all.find(|it| it.name == name).unwrap();
            (package.manifest.clone(), found.ours, found.dev, found.line)
        };
        let (manifest, ours, dev, line) = dependency("xtask", "hallpass-standins");
        assert_eq!(manifest, "crates/xtask/Cargo.toml");
        assert!(ours && !dev && line > 1);
        let (_, ours, dev, _) = dependency("hallpass-standins", "tempfile");
        assert!(dev && !ours);
    }
}
