//! Many distinct histories that all verify: recorded ones under other ids, signed again by a key of
//! this bench. Everything else in them, times and AWS's answers included, is as it was recorded.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hallpass_evidence::{Envelope, Keyring, Order, SigningKey, Statement};
use hallpass_types::{AccessRequestId, AccessRequestSpec, RequestId};
use prost::Message as _;
use temporalio_common::protos::temporal::api::history::v1::History;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;

const ENVELOPE: &[u8] = br#"{"payloadType":"application/vnd.hallpass.statement.v1+json""#;
const KEYRING: &[u8] = br#""keyring":"#;
/// No request of a person, and signed by an identity provider, whose key this bench has not.
const OTHERS: [&str; 2] = ["role-cuts", "signed-by-provider"];
/// Characters of a request's id that stand in the names of its sessions and roles.
const SHORT: usize = 8;

/// The repository that this program was built in.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Recorded histories by `version/kind`, in order.
pub(crate) fn recorded() -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    let folder = repository().join("tests/histories");
    for version in std::fs::read_dir(&folder)? {
        for file in std::fs::read_dir(version?.path())? {
            let path = file?.path();
            let name = path.strip_prefix(&folder)?.with_extension("");
            found.push((name.display().to_string(), std::fs::read(&path)?));
        }
    }
    found.sort();
    anyhow::ensure!(!found.is_empty(), "no history is recorded");
    Ok(found)
}

/// A history and what it is about.
pub(crate) struct Variant {
    pub(crate) id: AccessRequestId,
    pub(crate) run: String,
    pub(crate) history: History,
}

/// Makes histories.
pub(crate) struct Variants {
    templates: Vec<Template>,
    key: SigningKey,
}

impl Variants {
    pub(crate) fn new(seed: [u8; 32]) -> anyhow::Result<Self> {
        let mut templates = Vec::new();
        for (name, bytes) in recorded()? {
            if OTHERS.iter().all(|other| !name.ends_with(other)) {
                templates.push(Template::of(bytes).with_context(|| name)?);
            }
        }
        let key = SigningKey::from_seed(&seed);
        Ok(Self { templates, key })
    }

    /// The history with this number: always the same, and never that of another number.
    pub(crate) fn make(&self, n: u32) -> anyhow::Result<Variant> {
        let among = u32::try_from(self.templates.len())?;
        let template = self.templates.get(usize::try_from(n % among)?);
        template
            .context("there are no templates")?
            .with(n, &self.key)
    }
}

/// A recorded history, and what in it is replaced. Each replacement is as long as what it replaces,
/// so that the message around it stays whole.
struct Template {
    bytes: Vec<u8>,
    spec: AccessRequestSpec,
    run: String,
    ring: Keyring,
    envelopes: Vec<(String, Envelope)>,
}

impl Template {
    fn of(bytes: Vec<u8>) -> anyhow::Result<Self> {
        let history = History::decode(bytes.as_slice())?;
        let run = match history.events.first().and_then(|e| e.attributes.as_ref()) {
            Some(Attributes::WorkflowExecutionStartedEventAttributes(start)) => {
                start.first_execution_run_id.clone()
            }
            _ => anyhow::bail!("it does not begin with a start"),
        };
        let mut envelopes: Vec<(String, Envelope)> = Vec::new();
        for at in places(&bytes, ENVELOPE) {
            let envelope: Envelope = json_at(&bytes, at)?;
            let text = serde_json::to_string(&envelope)?;
            anyhow::ensure!(bytes.get(at..at + text.len()) == Some(text.as_bytes()));
            if envelopes.iter().all(|(known, _)| *known != text) {
                envelopes.push((text, envelope));
            }
        }
        let mut specs = envelopes
            .iter()
            .filter_map(|(_, e)| match e.claimed()?.order {
                Order::RequestAccess { spec } => Some(*spec),
                _ => None,
            });
        let spec = specs.next().context("nobody asked for anything")?;
        let ring = places(&bytes, KEYRING)
            .next()
            .context("there is no key ring")?;
        Ok(Self {
            ring: json_at(&bytes, ring + KEYRING.len())?,
            bytes,
            spec,
            run,
            envelopes,
        })
    }

    fn with(&self, n: u32, key: &SigningKey) -> anyhow::Result<Variant> {
        let new = RequestId::parse(&format!("00000000-0000-4000-8000-{n:012}"))?;
        let mut spec = self.spec.clone();
        spec.id = AccessRequestId::derive(&spec.requester.id, &new);
        spec.request_id = new;
        let run = format!("00000000-0000-7000-8000-{n:012}");
        let text = |text: &str| text.to_owned();
        let mut pairs = vec![
            (text(self.spec.id.as_str()), text(spec.id.as_str())),
            (
                self.spec.request_id.to_string(),
                spec.request_id.to_string(),
            ),
            (self.run.clone(), run.clone()),
            (
                self.spec.body_digest().to_string(),
                spec.body_digest().to_string(),
            ),
        ];
        let mut bytes = self.bytes.clone();
        let mut digests = Vec::new();
        for (old, envelope) in &self.envelopes {
            let claimed = envelope
                .claimed()
                .context("an envelope without a statement")?;
            let mut said = serde_json::to_string(&claimed)?.into_bytes();
            for (from, to) in &pairs {
                replace(&mut said, from, to)?;
            }
            let statement: Statement = serde_json::from_slice(&said)?;
            let signed = key.sign(&statement)?;
            replace(&mut bytes, old, &serde_json::to_string(&signed)?)?;
            digests.push((envelope.digest().to_string(), signed.digest().to_string()));
        }
        pairs.extend(digests);
        let ours = key.public_key();
        for theirs in self.ring.keys() {
            pairs.push((theirs.id().to_string(), ours.id().to_string()));
            pairs.push((theirs.clone().into(), ours.clone().into()));
        }
        let short = |id: &AccessRequestId| {
            let id = id.as_str().trim_start_matches("ar-");
            id.get(..SHORT).unwrap_or_default().to_owned()
        };
        pairs.push((short(&self.spec.id), short(&spec.id)));
        for (from, to) in &pairs {
            replace(&mut bytes, from, to)?;
        }
        Ok(Variant {
            id: spec.id,
            run,
            history: History::decode(bytes.as_slice())?,
        })
    }
}

fn places<'a>(bytes: &'a [u8], what: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let first = what.first().copied();
    let starts = bytes
        .iter()
        .enumerate()
        .filter(move |(_, b)| Some(**b) == first);
    starts.filter_map(move |(at, _)| bytes.get(at..)?.starts_with(what).then_some(at))
}

fn json_at<T: serde::de::DeserializeOwned>(bytes: &[u8], at: usize) -> anyhow::Result<T> {
    let rest = bytes.get(at..).unwrap_or_default();
    let mut values = serde_json::Deserializer::from_slice(rest).into_iter();
    Ok(values.next().context("there is no JSON")??)
}

fn replace(bytes: &mut [u8], from: &str, to: &str) -> anyhow::Result<()> {
    anyhow::ensure!(from.len() == to.len(), "{from} and {to} differ in length");
    let found: Vec<usize> = places(bytes, from.as_bytes()).collect();
    for at in found {
        if let Some(there) = bytes.get_mut(at..at + to.len()) {
            there.copy_from_slice(to.as_bytes());
        }
    }
    Ok(())
}
