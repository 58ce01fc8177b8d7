//! The policy pack that development mode starts with.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

const SAMPLE: [(&str, &str); 4] = [
    (
        "entitlements.toml",
        include_str!("../../../../examples/getting-started/entitlements.toml"),
    ),
    (
        "people.toml",
        include_str!("../../../../examples/getting-started/people.toml"),
    ),
    (
        "policies/10-guardrails.cedar",
        include_str!("../../../../examples/getting-started/policies/10-guardrails.cedar"),
    ),
    (
        "policies/20-access.cedar",
        include_str!("../../../../examples/getting-started/policies/20-access.cedar"),
    ),
];

/// Puts the pack of `from`, or else the built-in sample, under `home` and returns its folder.
pub(super) fn unpack(from: Option<&Path>, home: &Path) -> anyhow::Result<PathBuf> {
    let folder = home.join("policy");
    std::fs::create_dir_all(folder.join("policies"))?;
    let Some(from) = from else {
        for (name, text) in SAMPLE {
            std::fs::write(folder.join(name), text)?;
        }
        return Ok(folder);
    };
    let copy = |name: &Path| {
        std::fs::copy(from.join(name), folder.join(name))
            .with_context(|| format!("cannot read {}", from.join(name).display()))
    };
    copy(Path::new("entitlements.toml"))?;
    copy(Path::new("people.toml"))?;
    let policies = from.join("policies");
    let listing = std::fs::read_dir(&policies)
        .with_context(|| format!("cannot read {}", policies.display()))?;
    for entry in listing {
        let name = entry?.file_name();
        copy(&Path::new("policies").join(name))?;
    }
    Ok(folder)
}
