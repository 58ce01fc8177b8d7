//! `audit`: for those who check afterwards.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use hallpass_bundle::{Bundle, Parts, TarError};
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
        AuditCommand::Activity { id, from, trail } => {
            super::activity::run(cx, &id.0, &from, trail).await
        }
        AuditCommand::Review(args) => super::review::run(cx, &args).await,
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
        super::list::tell_unreachable(cx, &page.unreachable);
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
                sink.again();
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
        parts: Parts,
        page: BTreeMap<String, Vec<u8>>,
    },
    Text {
        cx: &'a Context,
        /// The file, and where it is written until it is whole.
        out: Option<(PathBuf, PathBuf)>,
        /// What stands before the first page.
        header: &'static str,
        page: String,
        lines: usize,
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
                let parts = Parts::open(&beside(out, ".partial")).map_err(output)?;
                same_question(parts.folder(), args)?;
                Ok(Self::Bundle {
                    out: out.clone(),
                    parts,
                    page: BTreeMap::new(),
                })
            }
            (out, format) => {
                let out = out
                    .as_ref()
                    .map(|out| (out.clone(), beside(out, ".partial")));
                if let Some((_, partial)) = &out {
                    std::fs::write(partial, "").map_err(output)?;
                }
                Ok(Self::Text {
                    cx,
                    out,
                    header: match format {
                        ExportFormat::Csv => CSV_HEADER,
                        _ => "",
                    },
                    page: String::new(),
                    lines: 0,
                })
            }
        }
    }

    fn resumes_at(&self) -> Result<String, CliError> {
        let Self::Bundle { parts, .. } = self else {
            return Ok(String::new());
        };
        match std::fs::read_to_string(parts.folder().join(RESUME)) {
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
            Self::Bundle { parts, page, .. } => {
                for (name, bytes) in std::mem::take(page) {
                    parts.keep(&name, &bytes).map_err(unwritten)?;
                }
                let partial = parts.folder().join("resume.partial");
                std::fs::write(&partial, next).map_err(output)?;
                std::fs::rename(partial, parts.folder().join(RESUME)).map_err(output)
            }
            Self::Text {
                cx,
                out,
                header,
                page,
                lines,
            } => {
                let text = std::mem::take(header).to_owned() + &std::mem::take(page);
                *lines += text.lines().count();
                match out {
                    Some((_, partial)) => {
                        let file = std::fs::OpenOptions::new().append(true).open(partial);
                        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
                        written.map_err(output)
                    }
                    None => cx.terminal.data(&text),
                }
            }
        }
    }

    /// Drops a page that broke off: it comes again.
    fn again(&mut self) {
        match self {
            Self::Bundle { page, .. } => page.clear(),
            Self::Text { page, .. } => page.clear(),
        }
    }

    fn finish(self) -> Result<String, CliError> {
        match self {
            Self::Bundle { out, parts, .. } => {
                let partial = beside(parts.folder(), ".tar");
                let file = std::fs::File::create(&partial).map_err(output)?;
                parts.assemble(BufWriter::new(file)).map_err(unwritten)?;
                let file = std::fs::File::open(&partial).map_err(output)?;
                let bundle = Bundle::open(file)
                    .map_err(|_| CliError::Answer("the parts do not make a whole bundle"))?;
                let requests: usize = bundle.pages().map(|p| p.requests.len()).sum();
                std::fs::rename(&partial, &out).map_err(output)?;
                std::fs::remove_dir_all(parts.folder()).map_err(output)?;
                let out = out.display();
                Ok(format!(
                    "{requests} requests in {out}\nCheck it: hallpass-audit verify {out} --keys KEYS"
                ))
            }
            Self::Text { out, lines, .. } => {
                if let Some((out, partial)) = out {
                    std::fs::rename(partial, out).map_err(output)?;
                }
                Ok(format!("{lines} lines"))
            }
        }
    }
}

/// The path with something behind its name.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut path = path.to_owned().into_os_string();
    path.push(end);
    PathBuf::from(path)
}

fn unwritten(error: TarError) -> CliError {
    match error {
        TarError::Io(source) => output(source),
        TarError::Name(_) => CliError::Answer("a file has no usable name"),
        _ => CliError::Answer("a part of the export was changed"),
    }
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
