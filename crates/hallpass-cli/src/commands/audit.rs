//! `audit`: for those who check afterwards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hallpass_bundle::Bundle;
use hallpass_proto::v1;
use hallpass_proto::v1::export_audit_records_response::Part;
use tonic::Status;

use super::Context;
use crate::cli::audit::{AuditCommand, ExportArgs, ExportFormat, Period};
use crate::connect::{Session, timed};
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::{json, table};
use crate::retry::{self, Patience};

/// The largest file of an export: Temporal takes no larger history.
const LARGEST: usize = 64 * 1024 * 1024;
const PAGE: i32 = 200;
/// How often in a row a broken stream is taken up again.
const ATTEMPTS: u32 = 6;
const RESUME: &str = "resume";
const CSV_HEADER: &str = "access_request,event_id,time,actor,kind,summary,details\r\n";

/// Runs an audit command.
///
/// # Errors
/// As every call.
pub(super) async fn run(cx: &Context, command: AuditCommand) -> Result<Exit, CliError> {
    match command {
        AuditCommand::Show { id } => super::timeline::run(cx, &id.0).await,
        AuditCommand::List(period) => list(cx, &period).await,
        AuditCommand::Export(args) => export(cx, &args).await,
        AuditCommand::Activity { id, from } => super::activity::run(cx, &id.0, &from).await,
        AuditCommand::Review { since, until, plot } => {
            super::review::run(cx, since, until, plot.as_deref()).await
        }
    }
}

async fn list(cx: &Context, period: &Period) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let mut all = Vec::new();
    let mut message = v1::ListAuditRecordsRequest {
        since: period.since.map(instant),
        until: period.until.map(instant),
        page_size: PAGE,
        ..Default::default()
    };
    loop {
        let page = session
            .call(Patience::Read, || {
                let (mut client, message) = (session.audit(), message.clone());
                async move { client.list_audit_records(timed(message)).await }
            })
            .await?;
        all.extend(page.access_requests);
        if page.next_page_token.is_empty() {
            break;
        }
        message.page_token = page.next_page_token;
    }
    let view = cx.terminal.view();
    cx.terminal
        .show(&json::AccessRequests::from(all.as_slice()), || {
            if all.is_empty() {
                return String::new();
            }
            table::requests(&view, &all, true)
        })?;
    cx.terminal.say(&format!("{} requests", all.len()));
    Ok(Exit::Ok)
}

fn instant(t: jiff::Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: t.as_second(),
        nanos: t.subsec_nanosecond(),
    }
}

async fn export(cx: &Context, args: &ExportArgs) -> Result<Exit, CliError> {
    let former = args.former_checkpoint.as_ref().map(|file| {
        std::fs::read_to_string(file).map_err(|source| {
            CliError::Usage(format!("{} cannot be read: {source}", file.display()))
        })
    });
    let former_checkpoint = former.transpose()?.unwrap_or_default();
    let mut sink = Sink::open(cx, args)?;
    let session = cx.session().await?;
    let mut message = v1::ExportAuditRecordsRequest {
        name: args.id.as_ref().map(|id| id.0.name()).unwrap_or_default(),
        since: args.period.since.map(instant),
        until: args.period.until.map(instant),
        requester: args
            .requester
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        entitlement: args
            .entitlement
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        account: args
            .account
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        format: wire(args.format).into(),
        page_size: 0,
        page_token: sink.resumes_at()?,
        former_checkpoint,
    };
    let mut failures = 0;
    loop {
        let before = message.page_token.clone();
        match pages(&session, &mut message, &mut sink).await? {
            None => break,
            Some(status) => {
                failures = if message.page_token == before {
                    failures + 1
                } else {
                    1
                };
                let renewed = session.renew(&status).await?;
                let pause = retry::pause(&status, failures).filter(|_| failures < ATTEMPTS);
                match pause {
                    _ if renewed && failures < ATTEMPTS => {}
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(status.into()),
                }
            }
        }
    }
    let said = sink.finish()?;
    cx.terminal.say(&said);
    Ok(Exit::Ok)
}

fn wire(format: ExportFormat) -> v1::ExportFormat {
    match format {
        ExportFormat::Bundle => v1::ExportFormat::Bundle,
        ExportFormat::Ocsf => v1::ExportFormat::Ocsf,
        ExportFormat::Csv => v1::ExportFormat::Csv,
        ExportFormat::Json => v1::ExportFormat::Json,
    }
}

/// Takes page after page; `None` after the last one, else what broke the stream.
async fn pages(
    session: &Session,
    message: &mut v1::ExportAuditRecordsRequest,
    sink: &mut Sink<'_>,
) -> Result<Option<Status>, CliError> {
    let mut client = session.audit().max_decoding_message_size(LARGEST);
    let mut stream = match client.export_audit_records(message.clone()).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Ok(Some(status)),
    };
    loop {
        let part = match stream.message().await {
            Ok(Some(part)) => part.part,
            Ok(None) => return Ok(Some(Status::unavailable("the export broke off"))),
            Err(status) => return Ok(Some(status)),
        };
        match part {
            Some(Part::File(file)) => sink.file(file)?,
            Some(Part::Page(page)) => {
                sink.page(&page.next_page_token)?;
                if page.next_page_token.is_empty() {
                    return Ok(None);
                }
                message.page_token = page.next_page_token;
            }
            None => return Err(CliError::Answer("a part of an export says nothing")),
        }
    }
}

/// Where an export goes: into a folder beside the bundle until it is whole, or straight out.
enum Sink<'a> {
    Bundle {
        out: PathBuf,
        folder: PathBuf,
        page: BTreeMap<String, Vec<u8>>,
    },
    Text {
        cx: &'a Context,
        out: Option<PathBuf>,
        /// Of the page under way: one that breaks off comes again.
        page: String,
        whole: String,
    },
}

impl<'a> Sink<'a> {
    fn open(cx: &'a Context, args: &ExportArgs) -> Result<Self, CliError> {
        if let Some(out) = args.out.as_ref().filter(|out| out.exists()) {
            let why = format!("{} exists already", out.display());
            return Err(CliError::Usage(why));
        }
        match (&args.out, args.format) {
            (Some(out), ExportFormat::Bundle) => {
                let mut folder = out.clone().into_os_string();
                folder.push(".partial");
                let folder = PathBuf::from(folder);
                std::fs::create_dir_all(&folder).map_err(output)?;
                same_question(&folder, args)?;
                Ok(Self::Bundle {
                    out: out.clone(),
                    folder,
                    page: BTreeMap::new(),
                })
            }
            (out, format) => Ok(Self::Text {
                cx,
                out: out.clone(),
                page: String::new(),
                whole: match format {
                    ExportFormat::Csv => CSV_HEADER.to_owned(),
                    _ => String::new(),
                },
            }),
        }
    }

    fn resumes_at(&self) -> Result<String, CliError> {
        let Self::Bundle { folder, .. } = self else {
            return Ok(String::new());
        };
        match std::fs::read_to_string(folder.join(RESUME)) {
            Ok(token) => Ok(token),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(source) => Err(output(source)),
        }
    }

    fn file(&mut self, file: v1::ExportedFile) -> Result<(), CliError> {
        match self {
            Self::Bundle { page, .. } => {
                page.insert(file.name, file.content);
            }
            Self::Text { page, .. } => {
                let text = String::from_utf8(file.content);
                page.push_str(&text.map_err(|_| CliError::Answer("an export is no text"))?);
            }
        }
        Ok(())
    }

    /// Keeps a page that is whole: its files first, then where the next one begins.
    fn page(&mut self, next: &str) -> Result<(), CliError> {
        match self {
            Self::Bundle { folder, page, .. } => {
                for (name, bytes) in std::mem::take(page) {
                    // The archive's own rules keep names inside the folder.
                    let part = hallpass_types::Sha256Digest::of(name.as_bytes());
                    let flat = hallpass_bundle::write_tar(&[(name, bytes)].into());
                    let flat = flat.map_err(|_| CliError::Answer("a file has no usable name"))?;
                    std::fs::write(folder.join(format!("{part}.part")), flat).map_err(output)?;
                }
                let partial = folder.join("resume.partial");
                std::fs::write(&partial, next).map_err(output)?;
                std::fs::rename(partial, folder.join(RESUME)).map_err(output)
            }
            Self::Text { page, whole, .. } => {
                whole.push_str(&std::mem::take(page));
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<String, CliError> {
        match self {
            Self::Bundle { out, folder, .. } => {
                let bundle = Bundle::of(collected(&folder)?)
                    .map_err(|_| CliError::Answer("the parts do not make a whole bundle"))?;
                let requests: usize = bundle.pages().map(|p| p.requests.len()).sum();
                let bytes = bundle.write();
                let bytes = bytes.map_err(|_| CliError::Answer("a file has no usable name"))?;
                let mut partial = folder.clone().into_os_string();
                partial.push(".tar");
                std::fs::write(&partial, bytes).map_err(output)?;
                std::fs::rename(&partial, &out).map_err(output)?;
                std::fs::remove_dir_all(&folder).map_err(output)?;
                let out = out.display();
                Ok(format!(
                    "{requests} requests in {out}\nCheck it: hallpass-audit verify {out} --keys KEYS"
                ))
            }
            Self::Text { cx, out, whole, .. } => {
                match out {
                    Some(out) => std::fs::write(out, &whole).map_err(output)?,
                    None => cx.terminal.data(&whole)?,
                }
                Ok(format!("{} lines", whole.lines().count()))
            }
        }
    }
}

fn collected(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, CliError> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(output)? {
        let path = entry.map_err(output)?.path();
        if path.extension().is_some_and(|e| e == "part") {
            let bytes = std::fs::read(path).map_err(output)?;
            let one = hallpass_bundle::read_tar(&bytes);
            files.extend(one.map_err(|_| CliError::Answer("a part of the export was changed"))?);
        }
    }
    Ok(files)
}

/// What is resumed must be the export that was begun.
fn same_question(folder: &Path, args: &ExportArgs) -> Result<(), CliError> {
    let path = folder.join("question");
    let asked = format!("{args:?}");
    match std::fs::read_to_string(&path) {
        Ok(before) if before == asked => Ok(()),
        Ok(_) => Err(CliError::Usage(format!(
            "{} holds the beginning of another export; finish that one or remove the folder",
            folder.display()
        ))),
        Err(_) => std::fs::write(&path, asked).map_err(output),
    }
}

fn output(source: std::io::Error) -> CliError {
    CliError::Output { source }
}
