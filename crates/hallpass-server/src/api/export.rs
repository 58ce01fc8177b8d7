//! Exports for auditors: page by page, each page signed and chained to the one before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass_archive::{ArchiveError, SignedCheckpoint};
use hallpass_audit::{answers, csv, is_closed, ocsf, timeline};
use hallpass_bundle::{
    CHECKPOINT, CONSISTENCY, ExportFilter, FileEntry, HISTORIES, HISTORY, INCLUSION, KEYS, PAGES,
    POLICIES, PROOFS, Page, RequestEntry, compress,
};
use hallpass_identity::VerifiedToken;
use hallpass_proto::convert;
use hallpass_proto::v1::export_audit_records_response::Part;
use hallpass_proto::v1::{
    ExportAuditRecordsRequest, ExportAuditRecordsResponse, ExportFormat, ExportedFile, ExportedPage,
};
use hallpass_types::{AccessRequestId, AwsAccountId, EntitlementId, PrincipalId, Sha256Digest};
use jiff::Timestamp;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use temporalio_common::protos::temporal::api::history::v1::History;
use tonic::Status;

use super::beyond::{self, Exported};
use super::errors::{self, BadFields};
use super::{Api, streams};
use crate::requests::Filter;

/// The parts of an export as they are made.
pub(super) type Parts = streams::Parts<ExportAuditRecordsResponse>;

/// Where an export stands between two pages: what a page token holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    page: u32,
    previous: Option<Sha256Digest>,
    /// Of the list, as Temporal gave it.
    position: Vec<u8>,
    /// The log's tree head that all pages are made under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<String>,
}

impl Place {
    fn read(token: &str) -> Result<Self, &'static str> {
        if token.is_empty() {
            return Ok(Self::default());
        }
        let read = URL_SAFE_NO_PAD.decode(token).ok();
        let read = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        read.ok_or("is not one of an export")
    }

    fn cursor(&self) -> Option<Sha256Digest> {
        (!self.position.is_empty()).then(|| Sha256Digest::of(&self.position))
    }
}

/// One export under way.
pub(super) struct Export {
    api: Arc<Api>,
    token: VerifiedToken,
    only: Option<AccessRequestId>,
    list: Filter,
    filter: ExportFilter,
    format: ExportFormat,
    page_size: i32,
    /// Size of the log that the caller has a checkpoint of.
    former: Option<u64>,
    place: Option<Place>,
    /// What pages of this stream have.
    done: BTreeSet<AccessRequestId>,
    made: VecDeque<ExportAuditRecordsResponse>,
}

impl Export {
    /// Reads what is asked for.
    pub(super) fn read(
        api: Arc<Api>,
        token: VerifiedToken,
        request: ExportAuditRecordsRequest,
    ) -> Result<Self, Status> {
        let mut bad = BadFields::default();
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let only =
            given(&request.name).and_then(|n| bad.take("name", AccessRequestId::parse_name(&n)));
        let requester =
            given(&request.requester).and_then(|r| bad.take("requester", PrincipalId::parse(&r)));
        let entitlement = given(&request.entitlement)
            .and_then(|e| bad.take("entitlement", EntitlementId::parse(&e)));
        let account =
            given(&request.account).and_then(|a| bad.take("account", AwsAccountId::parse(&a)));
        let mut instant = |field, t: Option<prost_types::Timestamp>| {
            let read = convert::from_timestamp(&t?).ok_or("is out of range");
            bad.take(field, read)
        };
        let since = instant("since", request.since);
        let until = instant("until", request.until);
        if since.zip(until).is_some_and(|(s, u)| s >= u) {
            bad.add("until", "must be later than since");
        }
        if !(0..=200).contains(&request.page_size) {
            bad.add("page_size", "must be 0 to 200");
        }
        let format = ExportFormat::try_from(request.format).map_err(|_| "is none that there is");
        let format = bad.take("format", format).unwrap_or_default();
        let place = bad.take("page_token", Place::read(&request.page_token));
        let former = given(&request.former_checkpoint).and_then(|note| {
            let opened = api.archiver.as_ref().and_then(|a| a.reopen(&note));
            let opened = opened.ok_or("is no checkpoint of this service's log");
            bad.take("former_checkpoint", opened)
        });
        bad.finish()?;
        let text = |t: Option<&dyn std::fmt::Display>| t.map(ToString::to_string);
        let filter = ExportFilter {
            request: only.as_ref().map(ToString::to_string),
            since,
            until,
            requester: text(requester.as_ref().map(|r| r as _)),
            entitlement: text(entitlement.as_ref().map(|e| e as _)),
            account: text(account.as_ref().map(|a| a as _)),
        };
        let list = Filter {
            requester,
            entitlement,
            since,
            until,
            ..Default::default()
        };
        Ok(Self {
            api,
            token,
            only,
            list,
            filter,
            format,
            page_size: if request.page_size == 0 {
                50
            } else {
                request.page_size
            },
            former: former.map(|head| head.checkpoint().size),
            place,
            done: BTreeSet::new(),
            made: VecDeque::new(),
        })
    }

    /// The parts, made as they are read.
    pub(super) fn parts(self) -> Parts {
        let expires_at = self.token.expires_at;
        let parts = futures::stream::unfold(self, |mut export| async move {
            let part = export.next().await?;
            Some((part, export))
        });
        streams::while_valid(expires_at, parts)
    }

    async fn next(&mut self) -> Option<Result<ExportAuditRecordsResponse, Status>> {
        loop {
            if let Some(part) = self.made.pop_front() {
                return Some(Ok(part));
            }
            let place = self.place.take()?;
            if let Err(status) = self.page(place).await {
                return Some(Err(status));
            }
        }
    }

    /// Makes the parts of one page, and sets the place of the next.
    async fn page(&mut self, place: Place) -> Result<(), Status> {
        let (mut histories, position) = match &self.only {
            Some(id) => {
                let found = beyond::history(&self.api, id.clone()).await?;
                (vec![found], Vec::new())
            }
            None => {
                beyond::histories(&self.api, &self.list, self.page_size, &place.position).await?
            }
        };
        histories.retain(|Exported { id, opened, .. }| {
            let account = hallpass_audit::account(&opened.history);
            let wanted = self.filter.account.is_none() || self.filter.account == account;
            // Retention may delete between two pages what the first one had.
            wanted && self.done.insert(id.clone())
        });
        let head = self.head(&place).await?;
        let next = Place {
            page: place.page.saturating_add(1),
            previous: None,
            position,
            head: head.as_ref().map(|head| head.as_str().to_owned()),
        };
        let manifest = match self.format {
            ExportFormat::Unspecified | ExportFormat::Bundle => {
                let proofs = self
                    .proofs(head, next.position.is_empty(), &histories)
                    .await?;
                self.bundle_page(&place, &next, &histories, proofs)?
            }
            _ => {
                for Exported { id, opened, .. } in &histories {
                    let content = rendered(self.format, id, &opened.history);
                    self.file(format!("{id}"), content);
                }
                Vec::new()
            }
        };
        let next = Place {
            previous: (!manifest.is_empty()).then(|| Sha256Digest::of(&manifest)),
            ..next
        };
        let last = next.position.is_empty();
        let token = serde_json::to_vec(&next).map_err(|e| errors::internal(&e))?;
        self.made.push_back(ExportAuditRecordsResponse {
            part: Some(Part::Page(ExportedPage {
                page: next.page,
                manifest,
                next_page_token: match last {
                    true => String::new(),
                    false => URL_SAFE_NO_PAD.encode(token),
                },
            })),
        });
        self.place = (!last).then_some(next);
        Ok(())
    }

    /// The files of a page of a bundle; returns the signed page.
    fn bundle_page(
        &mut self,
        place: &Place,
        next: &Place,
        histories: &[Exported],
        mut files: BTreeMap<String, Vec<u8>>,
    ) -> Result<Vec<u8>, Status> {
        let mut requests = Vec::new();
        let mut policies = BTreeSet::new();
        for Exported { id, opened, .. } in histories {
            let history = &opened.history;
            let packed = compress(&history.encode_to_vec()).map_err(|e| errors::internal(&e))?;
            files.insert(format!("{HISTORIES}{id}{HISTORY}"), packed);
            policies.extend(answers(history).into_iter().map(|a| a.answer.policy_digest));
            requests.push(RequestEntry {
                id: id.to_string(),
                events: u64::try_from(history.events.len()).unwrap_or(u64::MAX),
                history_digest: hallpass_audit::digest(history)
                    .map_err(|e| errors::internal(&e))?,
                stored_digest: opened.stored_digest.clone(),
                closed: is_closed(history),
            });
        }
        let archive = self.api.bundles.archive();
        for digest in &policies {
            let kept = archive.map(|a| a.files(digest)).transpose();
            let kept = kept.map_err(|e| errors::internal(&e))?.flatten();
            for (name, bytes) in kept.unwrap_or_default() {
                files.insert(format!("{POLICIES}{digest}/{name}"), bytes);
            }
        }
        let keys = self.api.public_keys.iter().cloned().map(String::from);
        let keys: String = keys.map(|k| k + "\n").collect();
        files.insert(KEYS.to_owned(), keys.into_bytes());
        let page = Page {
            deployment: self.api.deployment.clone(),
            exported_at: Timestamp::now(),
            exported_for: self.token.principal.id.to_string(),
            filter: self.filter.clone(),
            page: next.page,
            previous: place.previous.clone(),
            cursor: place.cursor(),
            next_cursor: next.cursor(),
            requests,
            files: files
                .iter()
                .map(|(name, bytes)| entry(name, bytes))
                .collect(),
        };
        let signed = page
            .sign(&self.api.signer)
            .map_err(|e| errors::internal(&e))?;
        for (name, content) in files {
            self.file(name, content);
        }
        self.file(format!("{PAGES}{:06}.json", next.page), signed.clone());
        Ok(signed)
    }

    /// The tree head that the first page was made under, or else the one of now.
    async fn head(&self, place: &Place) -> Result<Option<SignedCheckpoint>, Status> {
        let Some(archiver) = &self.api.archiver else {
            return Ok(None);
        };
        if let Some(note) = &place.head {
            let head = archiver.reopen(note);
            let why = "is not one of an export";
            return head
                .map(Some)
                .ok_or_else(|| errors::bad_field("page_token", why));
        }
        match place.page {
            0 => archiver.head().await.map_err(no_archive),
            _ => Ok(None),
        }
    }

    /// What the log proves about the requests of a page.
    async fn proofs(
        &self,
        head: Option<SignedCheckpoint>,
        is_last: bool,
        histories: &[Exported],
    ) -> Result<BTreeMap<String, Vec<u8>>, Status> {
        let mut files = BTreeMap::new();
        let (Some(archiver), Some(head)) = (&self.api.archiver, head) else {
            return Ok(files);
        };
        for Exported { id, run, opened } in histories {
            if !is_closed(&opened.history) {
                continue;
            }
            let proof = archiver.inclusion(&head, id, run).await;
            if let Some(proof) = proof.map_err(no_archive)? {
                files.insert(format!("{PROOFS}{id}{INCLUSION}"), proof.into_bytes());
            }
        }
        if let Some(old_size) = self.former.filter(|_| is_last) {
            let proof = archiver.consistency(&head, old_size).await;
            let proof = proof.map_err(no_archive)?.into_bytes();
            files.insert(format!("{PROOFS}{CONSISTENCY}"), proof);
        }
        let note = head.as_str().as_bytes().to_vec();
        files.insert(format!("{PROOFS}{CHECKPOINT}"), note);
        Ok(files)
    }

    fn file(&mut self, name: String, content: Vec<u8>) {
        self.made.push_back(ExportAuditRecordsResponse {
            part: Some(Part::File(ExportedFile { name, content })),
        });
    }
}

fn no_archive(error: ArchiveError) -> Status {
    errors::from_archive(&error)
}

fn entry(name: &str, bytes: &[u8]) -> FileEntry {
    FileEntry {
        name: name.to_owned(),
        size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        sha256: Sha256Digest::of(bytes),
    }
}

/// One request for other tools; lines that can be put behind one another.
fn rendered(format: ExportFormat, id: &AccessRequestId, history: &History) -> Vec<u8> {
    let lines =
        |all: Vec<serde_json::Value>| -> String { all.iter().map(|v| format!("{v}\n")).collect() };
    match format {
        ExportFormat::Ocsf => lines(ocsf::events(history)),
        ExportFormat::Csv => csv::rows(id.as_str(), history),
        _ => {
            let step = |e| serde_json::json!({ "access_request": id, "step": e });
            lines(timeline(history).iter().map(step).collect())
        }
    }
    .into_bytes()
}
