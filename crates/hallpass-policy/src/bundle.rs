//! A bundle: the policies and entitlements in force, parsed and checked as a whole.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use cedar_policy::{CedarSchemaError, PolicySet, Schema};
use hallpass_types::{Entitlement, EntitlementId, Sha256Digest, Stages};

use crate::entitlements::{self, Catalogue};
use crate::parameters::Parameters;
use crate::slices::Slices;
use crate::{FLOOR, SCHEMA, policies};

/// Larger files are refused unread: parsing is linear, but nobody reviews a megabyte of policy.
const MAX_FILE_BYTES: usize = 512 * 1024;
pub(crate) const ENTITLEMENTS: &str = "entitlements.toml";
/// What every bundle has from the build that loads it.
const BUILT_IN: [(&str, &str); 2] = [("schema.cedarschema", SCHEMA), ("floor.cedar", FLOOR)];

/// Limits that hold for every request; the `[settings]` table of `entitlements.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a request waits for approvals before it lapses, in seconds.
    pub approval_window_seconds: u32,
    /// How many times credentials may be issued for one grant.
    pub max_credential_issues: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            approval_window_seconds: 3600,
            max_credential_issues: 1000,
        }
    }
}

/// A place in a file, never longer than the rest of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte.
    pub end: usize,
}

impl Place {
    /// The place of a range of bytes, which may lie outside of `text`.
    pub fn of(text: &str, range: Range<usize>) -> Self {
        let floor = |at: usize| text.floor_char_boundary(at.min(text.len()));
        let start = floor(range.start);
        let (before, after) = text.split_at(start);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = start + after.find('\n').unwrap_or(after.len());
        Self {
            line: before.bytes().filter(|b| *b == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            start,
            end: floor(range.end).clamp(start, line_end),
        }
    }
}

/// One thing that is wrong with a bundle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file's relative name.
    pub file: String,
    /// Where in the file, if that is known.
    pub place: Option<Place>,
    /// What is wrong, for people.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(Place { line, .. }) => write!(f, "{}:{line}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

/// A bundle that cannot be put in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The files have problems: all that were found, by file and line.
    #[error("the policy bundle is refused:{}", listed(.0))]
    Refused(Vec<Problem>),
    /// The schema of this build does not parse.
    #[error("the built-in policy schema does not parse")]
    Schema(#[source] Box<CedarSchemaError>),
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("\n  {p}")).collect()
}

/// Policies and entitlements in force, with the digest that names them.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub(crate) schema: Schema,
    pub(crate) policies: PolicySet,
    pub(crate) slices: Slices,
    pub(crate) catalogue: Catalogue,
    places: BTreeMap<String, (String, Place)>,
    digest: Sha256Digest,
}

impl Bundle {
    /// Whether a file of this relative name is part of a bundle: `policies/*.cedar` or
    /// `entitlements.toml`. A loader skips what does not belong.
    pub fn belongs(name: &str) -> bool {
        name == ENTITLEMENTS || is_policy_file(name)
    }

    /// Reads a bundle from its files, by relative name.
    ///
    /// # Errors
    /// [`BundleError::Refused`] with everything that is wrong: names that do not belong, syntax,
    /// policies without or with a duplicate `@id`, types that do not fit the schema, unknown keys,
    /// bad entitlements.
    pub fn parse(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, BundleError> {
        Self::under(SCHEMA, FLOOR, files)
    }

    /// Reads a bundle as it was archived: with the schema and the built-in policies of the build
    /// that loaded it, so that its digest is the recorded one under later builds as well.
    ///
    /// # Errors
    /// [`BundleError`], also when one of the built-in files is missing.
    pub fn parse_archived(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, BundleError> {
        let mut files = files.clone();
        let mut built_in = |name: &str| {
            let bytes = files.remove(name);
            let text = bytes.and_then(|b| String::from_utf8(b).ok());
            let missing = || vec![problem(name, None, "is missing, or is no text")];
            text.ok_or_else(|| BundleError::Refused(missing()))
        };
        let (schema, floor) = (built_in(BUILT_IN[0].0)?, built_in(BUILT_IN[1].0)?);
        Self::under(&schema, &floor, &files)
    }

    /// The files of an archived bundle: its own, and the built-in ones of this build.
    pub fn to_archive(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
        let built_in = BUILT_IN.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
        files.clone().into_iter().chain(built_in).collect()
    }

    fn under(
        schema_text: &str,
        floor: &str,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, BundleError> {
        let (schema, _) = Schema::from_cedarschema_str(schema_text)
            .map_err(|e| BundleError::Schema(Box::new(e)))?;
        let mut problems = Vec::new();
        let texts = texts(files, &mut problems);
        let (policies, places) = policies::parse(&schema, floor, &texts, &mut problems);
        let catalogue = match texts.get(ENTITLEMENTS) {
            Some(text) => entitlements::parse(text, &mut problems),
            None => {
                if !files.contains_key(ENTITLEMENTS) {
                    problems.push(problem(ENTITLEMENTS, None, "is missing"));
                }
                Catalogue::default()
            }
        };
        let slices = Slices::new(&schema, &policies)
            .map_err(|why| problems.push(problem("policies", None, why)))
            .unwrap_or_default();
        if !problems.is_empty() {
            problems.sort();
            problems.dedup();
            return Err(BundleError::Refused(problems));
        }
        Ok(Self {
            schema,
            policies,
            slices,
            catalogue,
            places,
            digest: digest(schema_text, floor, files),
        })
    }

    /// Everything that can be asked for, by name; parameters have their defaults.
    pub fn entitlements(&self) -> impl Iterator<Item = &Entitlement> {
        self.catalogue.entries.values().map(|e| &e.filled)
    }

    /// One entitlement; its parameters have their defaults.
    pub fn entitlement(&self, id: &EntitlementId) -> Option<&Entitlement> {
        self.catalogue.entries.get(id).map(|e| &e.filled)
    }

    /// The parameters that a request for this entitlement may give, and the document they go into.
    pub fn parameters(&self, id: &EntitlementId) -> Option<&Parameters> {
        self.catalogue.entries.get(id).map(|e| &e.parameters)
    }

    /// Who is told of a request for this entitlement, and when.
    pub fn stages(&self, id: &EntitlementId) -> Option<&Stages> {
        self.catalogue.entries.get(id).map(|e| &e.stages)
    }

    /// Limits for every request.
    pub fn settings(&self) -> &Settings {
        &self.catalogue.settings
    }

    /// Where an entitlement is written in `entitlements.toml`.
    pub fn entitlement_place(&self, id: &EntitlementId) -> Option<Place> {
        self.catalogue.entries.get(id).map(|e| e.place)
    }

    /// The schema that the policies were checked against.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Every policy in force, the built-in ones among them.
    pub fn policy_set(&self) -> &PolicySet {
        &self.policies
    }

    /// The file and place where a policy was written; `floor.cedar` for a built-in one.
    pub fn policy_place(&self, id: &str) -> Option<(&str, Place)> {
        self.places.get(id).map(|(file, at)| (file.as_str(), *at))
    }

    /// Digest of the schema, the built-in policies and the bundle's files.
    pub fn digest(&self) -> &Sha256Digest {
        &self.digest
    }
}

fn is_policy_file(name: &str) -> bool {
    name.strip_prefix("policies/")
        .and_then(|rest| rest.strip_suffix(".cedar"))
        .is_some_and(|stem| !stem.is_empty() && !stem.contains(['/', '\\']))
}

pub(crate) fn problem(file: &str, place: Option<Place>, what: impl Into<String>) -> Problem {
    Problem {
        file: file.to_owned(),
        place,
        what: what.into(),
    }
}

fn texts<'f>(
    files: &'f BTreeMap<String, Vec<u8>>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'f str, &'f str> {
    let mut texts = BTreeMap::new();
    for (name, bytes) in files {
        if !Bundle::belongs(name) {
            problems.push(problem(
                name,
                None,
                "is neither policies/*.cedar nor entitlements.toml",
            ));
        } else if bytes.len() > MAX_FILE_BYTES {
            problems.push(problem(name, None, "is larger than 512 KiB"));
        } else {
            match std::str::from_utf8(bytes) {
                Ok(text) => {
                    texts.insert(name.as_str(), text);
                }
                Err(e) => problems.push(problem(name, None, format!("is not UTF-8: {e}"))),
            }
        }
    }
    texts
}

/// Length-prefixed, so that no content can be moved across a file's edge under the same digest.
fn digest(schema: &str, floor: &str, files: &BTreeMap<String, Vec<u8>>) -> Sha256Digest {
    let mut all = b"hallpass/v1/policy-bundle".to_vec();
    let built_in = [
        (BUILT_IN[0].0, schema.as_bytes()),
        (BUILT_IN[1].0, floor.as_bytes()),
    ];
    let files = files.iter().map(|(n, b)| (n.as_str(), b.as_slice()));
    for (name, bytes) in built_in.into_iter().chain(files) {
        for part in [name.as_bytes(), bytes] {
            all.extend_from_slice(&(part.len() as u64).to_be_bytes());
            all.extend_from_slice(part);
        }
    }
    Sha256Digest::of(&all)
}
