//! Who may depend on whom. A new line here is an architecture change.

use super::Finding;
use super::manifest::{Dependency, Package};

/// The workspace crates that each package may name.
const LAYERS: &[(&str, Ours)] = &[
    ("hallpass-types", Ours::Only(&[])),
    ("hallpass-seal", Ours::Only(&["hallpass-types"])),
    ("hallpass-build", Ours::Only(&[])),
    ("hallpass-codec", Ours::Only(&[])),
    ("hallpass-evidence", Ours::Only(&["hallpass-types"])),
    ("hallpass-proto", Ours::Only(&["hallpass-types"])),
    ("hallpass-policy", Ours::Only(&["hallpass-types"])),
    (
        "hallpass-policy-cli",
        Ours::Only(&[
            "hallpass-types",
            "hallpass-policy",
            "hallpass-aws",
            "hallpass-standins",
        ]),
    ),
    ("hallpass-identity", Ours::Only(&["hallpass-types"])),
    ("hallpass-login", Ours::Only(&[])),
    (
        "hallpass-aws",
        Ours::Only(&["hallpass-types", "hallpass-seal"]),
    ),
    (
        "hallpass-workflows",
        Ours::Only(&["hallpass-types", "hallpass-evidence"]),
    ),
    (
        "hallpass-archive",
        Ours::Only(&["hallpass-types", "hallpass-evidence"]),
    ),
    (
        "hallpass-audit",
        Ours::Only(&["hallpass-types", "hallpass-evidence", "hallpass-workflows"]),
    ),
    ("hallpass-model", Ours::Only(&["hallpass-types"])),
    (
        "hallpass-bundle",
        Ours::Only(&["hallpass-types", "hallpass-evidence"]),
    ),
    (
        "hallpass-replay",
        Ours::Only(&[
            "hallpass-types",
            "hallpass-evidence",
            "hallpass-workflows",
            "hallpass-policy",
            "hallpass-identity",
            "hallpass-archive",
            "hallpass-audit",
            "hallpass-bundle",
        ]),
    ),
    ("hallpass-report", Ours::Only(&["hallpass-types"])),
    ("hallpass-standins", Ours::Only(&[])),
    (
        "hallpass-crash",
        Ours::AllBut(&[
            "hallpass-cli",
            "hallpass-server",
            "hallpass-workflows",
            "xtask",
        ]),
    ),
    ("hallpass-faults", Ours::Only(&[])),
    (
        "hallpass-bench",
        Ours::Only(&[
            "hallpass-types",
            "hallpass-evidence",
            "hallpass-proto",
            "hallpass-workflows",
            "hallpass-archive",
            "hallpass-audit",
            "hallpass-bundle",
            "hallpass-replay",
            "hallpass-tests",
        ]),
    ),
    (
        "hallpass-server",
        Ours::AllBut(&[
            "hallpass-bench",
            "hallpass-cli",
            "hallpass-faults",
            "hallpass-model",
            "hallpass-tests",
            "xtask",
        ]),
    ),
    (
        "hallpass-cli",
        Ours::Only(&[
            "hallpass-types",
            "hallpass-proto",
            "hallpass-seal",
            "hallpass-archive",
            "hallpass-audit",
            "hallpass-build",
            "hallpass-login",
            "hallpass-report",
            "hallpass-bundle",
        ]),
    ),
    ("hallpass-tests", Ours::AllBut(&["xtask"])),
    ("xtask", Ours::Only(&["hallpass-standins"])),
];

/// Workspace crates that may be named only as optional dependencies.
const OPTIONAL: &[(&str, &str)] = &[("hallpass-cli", "hallpass-audit")];

/// Foreign crates, by prefix, that only some packages may name.
const RESERVED: &[(&str, &[&str])] = &[
    ("aws-config", &["hallpass-aws"]),
    ("aws-credential-types", &["hallpass-aws"]),
    ("aws-sdk-", &["hallpass-aws"]),
    ("aws-sigv4", &["hallpass-aws"]),
    ("aws-smithy-", &["hallpass-aws"]),
    ("aws-types", &["hallpass-aws"]),
    ("cedar-", &["hallpass-policy", "hallpass-policy-cli"]),
    ("jsonwebtoken", &["hallpass-identity"]),
    (
        "temporalio-",
        &[
            "hallpass-workflows",
            "hallpass-audit",
            "hallpass-bench",
            "hallpass-codec",
            "hallpass-replay",
            "hallpass-server",
        ],
    ),
];

/// Foreign crates, by prefix, that a package may not name.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "hallpass-types",
        &["axum", "hyper", "prost", "reqwest", "tokio", "tonic"],
    ),
    (
        "hallpass-policy",
        &["axum", "hyper", "prost", "reqwest", "tokio", "tonic"],
    ),
    (
        "hallpass-workflows",
        &[
            "axum",
            "getrandom",
            "hyper",
            "prost",
            "rand",
            "reqwest",
            "tokio",
            "tonic",
            "uuid",
        ],
    ),
    ("hallpass-standins", &["prost", "tonic"]),
];

/// The tests look at everything from outside, with whatever tools that takes.
const UNBOUND: &str = "hallpass-tests";

/// The packages that must stay small, and how many direct dependencies each may have.
const MOST_DEPENDENCIES: &[(&str, usize)] = &[("hallpass-types", 12), ("hallpass-policy", 12)];

/// Crates that may not be in the tree at all.
const BANNED: &[&str] = &["native-tls", "openssl", "openssl-sys", "rsa"];

enum Ours {
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

impl Ours {
    fn permits(&self, name: &str) -> bool {
        match self {
            Self::Only(permitted) => permitted.contains(&name),
            Self::AllBut(refused) => !refused.contains(&name),
        }
    }
}

/// Checks one package's direct dependencies.
pub(crate) fn check(package: &Package) -> Vec<Finding> {
    let finding = |line, message: String| Finding::new(&package.manifest, line, message);
    let Some((_, ours)) = LAYERS.iter().find(|(name, _)| *name == package.name) else {
        let message = format!(
            "{} has no place among the layers of `xtask tidy`",
            package.name
        );
        return vec![finding(1, message)];
    };
    let mut findings: Vec<_> = package
        .dependencies
        .iter()
        .filter_map(|dependency| {
            let message = complaint(package, ours, dependency)?;
            Some(finding(dependency.line, message))
        })
        .collect();
    let direct = package
        .dependencies
        .iter()
        .filter(|dependency| !dependency.dev)
        .count();
    for (_, most) in MOST_DEPENDENCIES
        .iter()
        .filter(|(name, _)| *name == package.name)
    {
        if direct > *most {
            let message = format!("{direct} direct dependencies, at most {most} here");
            findings.push(finding(1, message));
        }
    }
    findings
}

fn complaint(package: &Package, ours: &Ours, dependency: &Dependency) -> Option<String> {
    let (from, to) = (package.name.as_str(), dependency.name.as_str());
    if dependency.ours {
        // A crate's tests may name the crate itself, with other features.
        if from == to && dependency.dev {
            return None;
        }
        if !ours.permits(to) {
            return Some(format!("{from} may not depend on {to}"));
        }
        let only_optional = OPTIONAL.contains(&(from, to)) && !dependency.optional;
        return only_optional.then(|| format!("{from} may depend on {to} only optionally"));
    }
    // Tests may use what the code under test must not.
    if dependency.dev || from == UNBOUND {
        return None;
    }
    let reserved = RESERVED.iter().find(|(prefix, _)| matches(to, prefix));
    if let Some((_, owners)) = reserved.filter(|(_, owners)| !owners.contains(&from)) {
        return Some(format!("only {} may name {to}", owners.join(", ")));
    }
    let forbidden = FORBIDDEN.iter().filter(|(name, _)| *name == from);
    forbidden
        .flat_map(|(_, prefixes)| *prefixes)
        .any(|prefix| matches(to, prefix))
        .then(|| format!("{from} may not name {to}"))
}

/// `tokio` matches `tokio` and `tokio-stream` but not `tokiox`; `aws-sdk-` matches all with it.
fn matches(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| {
        rest.is_empty() || prefix.ends_with('-') || rest.starts_with(['-', '_'])
    })
}

/// Checks that no banned crate is in the lock file, and so anywhere in the tree.
pub(crate) fn check_lock(file: &str, lock: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in lock.lines().enumerate() {
        let name = line
            .strip_prefix("name = \"")
            .and_then(|rest| rest.strip_suffix('"'));
        if let Some(name) = name.filter(|name| BANNED.contains(name)) {
            findings.push(Finding::new(
                file,
                index + 1,
                format!("{name} may not be in the tree"),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies
            .iter()
            .enumerate()
            .map(|(index, name)| Dependency {
                name: (*name).to_owned(),
                ours: name.starts_with("hallpass-") || *name == "xtask",
                dev: false,
                optional: false,
                line: index + 10,
            });
        Package {
            name: name.to_owned(),
            manifest: "Cargo.toml".to_owned(),
            dependencies: dependencies.collect(),
        }
    }

    fn messages(package: &Package) -> Vec<String> {
        check(package)
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn a_wrong_direction_is_found_with_its_line() {
        let found = check(&package("hallpass-types", &["serde", "hallpass-policy"]));
        assert_eq!(
            found,
            [Finding::new(
                "Cargo.toml",
                11,
                "hallpass-types may not depend on hallpass-policy"
            )]
        );
    }

    #[test]
    fn right_directions_pass() {
        for (name, dependencies) in [
            ("hallpass-policy", &["hallpass-types", "cedar-policy"][..]),
            (
                "hallpass-server",
                &["hallpass-audit", "tonic", "temporalio-sdk", "aws-lc-rs"],
            ),
            (
                "hallpass-tests",
                &["hallpass-server", "aws-sdk-s3", "jsonwebtoken"],
            ),
            ("xtask", &["hallpass-standins"]),
        ] {
            assert_eq!(messages(&package(name, dependencies)), [""; 0], "{name}");
        }
    }

    #[test]
    fn nothing_depends_on_the_tasks_and_the_client_stays_light() {
        assert_eq!(messages(&package("hallpass-tests", &["xtask"])).len(), 1);
        assert_eq!(
            messages(&package("hallpass-server", &["hallpass-cli"])).len(),
            1
        );
        assert_eq!(
            messages(&package("hallpass-cli", &["temporalio-client"])).len(),
            1
        );
        let mut cli = package("hallpass-cli", &["hallpass-audit"]);
        assert_eq!(
            messages(&cli),
            ["hallpass-cli may depend on hallpass-audit only optionally"]
        );
        cli.dependencies[0].optional = true;
        assert_eq!(messages(&cli), [""; 0]);
    }

    #[test]
    fn reserved_crates_have_one_owner() {
        for (name, dependency) in [
            ("hallpass-server", "aws-sdk-iam"),
            ("hallpass-server", "jsonwebtoken"),
            ("hallpass-identity", "cedar-policy-core"),
            ("hallpass-aws", "temporalio-sdk"),
        ] {
            assert_eq!(
                messages(&package(name, &[dependency])).len(),
                1,
                "{name} {dependency}"
            );
        }
        assert_eq!(
            messages(&package("hallpass-server", &["aws-config"])),
            ["only hallpass-aws may name aws-config"]
        );
    }

    #[test]
    fn forbidden_crates_are_found_except_in_tests() {
        for (name, dependency) in [
            ("hallpass-workflows", "tokio-stream"),
            ("hallpass-workflows", "reqwest"),
            ("hallpass-types", "tokio"),
            ("hallpass-policy", "reqwest"),
            ("hallpass-standins", "tonic"),
        ] {
            let mut package = package(name, &[dependency]);
            assert_eq!(
                messages(&package),
                [format!("{name} may not name {dependency}")]
            );
            package.dependencies[0].dev = true;
            assert_eq!(messages(&package), [""; 0]);
        }
    }

    #[test]
    fn only_its_own_tests_may_name_a_crate_from_within() {
        let mut package = package("hallpass-identity", &["hallpass-identity"]);
        assert_eq!(messages(&package).len(), 1);
        package.dependencies[0].dev = true;
        assert_eq!(messages(&package), [""; 0]);
    }

    #[test]
    fn an_unknown_package_needs_a_place() {
        assert!(messages(&package("hallpass-new", &[]))[0].contains("has no place"));
    }

    #[test]
    fn small_packages_stay_small() {
        let names: Vec<_> = (0..13).map(|index| format!("crate{index}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        assert_eq!(messages(&package("hallpass-types", &names[..12])), [""; 0]);
        assert_eq!(
            messages(&package("hallpass-types", &names)),
            ["13 direct dependencies, at most 12 here"]
        );
        assert_eq!(messages(&package("hallpass-server", &names)), [""; 0]);
    }

    #[test]
    fn prefixes_end_at_words() {
        assert!(matches("tokio", "tokio") && matches("tokio-stream", "tokio"));
        assert!(!matches("tokiox", "tokio") && matches("aws-sdk-iam", "aws-sdk-"));
    }

    #[test]
    fn banned_crates_are_found_in_the_lock_file() {
        let lock = "[[package]]\nname = \"rsa\"\n\n[[package]]\nname = \"rsa-not\"\n";
        let found = check_lock("Cargo.lock", lock);
        assert_eq!(
            found,
            [Finding::new("Cargo.lock", 2, "rsa may not be in the tree")]
        );
    }
}
