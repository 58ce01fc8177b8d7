//! The commands, one noun per file, and what they share.

mod activity;
mod admin;
mod archive;
mod audit;
mod check;
mod choices;
mod configure;
mod console;
mod creds;
mod decide;
mod end;
mod entitlements;
mod env;
mod exec;
mod extend;
mod identity;
mod keeper;
mod list;
mod manual;
mod pick;
mod policy;
mod process;
mod request;
mod review;
mod serve;
mod show;
mod sign;
mod target;
mod timeline;
mod watch;

use std::path::PathBuf;

use clap::CommandFactory as _;
use hallpass_login::{Cache, Keyring, Pipeline, Token, Wanted};
use hallpass_proto::v1;
use hallpass_proto::v1::access_request::State;
use hallpass_types::{AccessRequestId, EntitlementId};
use jiff::Timestamp;
use url::Url;

use crate::cli::{AdminCommand, Cli, Command, Global};
use crate::config::{self, Config, TokenStore};
use crate::connect::{Address, Session, timed};
use crate::dev_issuer;
use crate::errors::{CliError, Step};
use crate::exit::Exit;
use crate::output::words;
use crate::retry::Patience;
use crate::source::{DevLogin, Source};
use crate::store::{Noted, Store};
use crate::terminal::Terminal;
pub(crate) use creds::Issued;

const DEFAULT_SERVER: &str = "http://127.0.0.1:8443";

/// What every command has at hand.
pub(crate) struct Context {
    terminal: Terminal,
    global: Global,
    config: Config,
    folder: PathBuf,
    server: Url,
}

/// Runs what the command line says.
///
/// # Errors
/// [`CliError`], which says its exit code.
pub(crate) async fn run(cli: Cli) -> Result<Exit, CliError> {
    match cli.command {
        Command::Completions { shell } => {
            return completions(shell, Terminal::look(cli.global.output()));
        }
        Command::Man { dir } => {
            return manual::run(dir.as_deref(), Terminal::look(cli.global.output()));
        }
        _ => {}
    }
    if let Command::Policy { arguments } = cli.command {
        return policy::run(cli.global.output(), arguments);
    }
    let cx = Context::new(cli.global)?;
    match cli.command {
        Command::Login(args) => identity::login(&cx, &args).await,
        Command::Logout => identity::logout(&cx).await,
        Command::Whoami => identity::whoami(&cx).await,
        Command::Entitlements { all } => entitlements::run(&cx, all).await,
        Command::Request(args) => request::run(&cx, args).await,
        Command::Ls(args) => list::ls(&cx, args).await,
        Command::Queue => list::queue(&cx).await,
        Command::Show { aim } => show::run(&cx, &aim).await,
        Command::Watch {
            aim,
            until,
            timeout,
        } => watch::run(&cx, &aim, until, timeout).await,
        Command::Approve(args) => decide::approve(&cx, args).await,
        Command::Deny(args) => decide::deny(&cx, args).await,
        Command::Review(args) => decide::review(&cx, args).await,
        Command::Check { aim } => check::check(&cx, aim).await,
        Command::Time { target } => check::time(&cx, target.as_ref()),
        Command::Creds { aim, format } => creds::run(&cx, &aim, format).await,
        Command::Env { aim, shell } => env::run(&cx, &aim, shell).await,
        Command::Exec(args) => exec::run(cx, args).await,
        Command::CredentialProcess(args) => process::run(&cx, args).await,
        Command::Configure(args) => configure::run(&cx, args).await,
        Command::Console(args) => console::run(&cx, args).await,
        Command::Extend { aim, by, reason } => extend::run(&cx, &aim, by, reason).await,
        Command::Withdraw { aim, reason } => {
            end::withdraw(&cx, &aim, reason.unwrap_or_default()).await
        }
        Command::Return { aim, reason, wait } => {
            end::give_back(&cx, &aim, reason.unwrap_or_default(), &wait).await
        }
        Command::Revoke { aim, reason, wait } => end::revoke(&cx, &aim, reason, &wait).await,
        Command::Timeline { id } => timeline::run(&cx, &id.0).await,
        Command::Audit { command } => audit::run(&cx, command).await,
        Command::Admin { command } => match command {
            AdminCommand::Sweep { dry_run } => admin::sweep(&cx, dry_run).await,
            AdminCommand::Archive { now } => archive::run(&cx, now).await,
        },
        Command::Policy { .. } | Command::Completions { .. } | Command::Man { .. } => Ok(Exit::Ok),
    }
}

fn completions(shell: clap_complete::Shell, terminal: Terminal) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hallpass", &mut script);
    terminal.data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}

impl Context {
    fn new(global: Global) -> Result<Self, CliError> {
        let folder = config::folder()?;
        let config = config::load(&folder)?;
        let server = match first(&global.server, &config.server) {
            Some(text) => parse_url(text, "server")?,
            None => parse_url(DEFAULT_SERVER, "server")?,
        };
        Ok(Self {
            terminal: Terminal::look(global.output()),
            global,
            config,
            folder,
            server,
        })
    }

    /// Where the login at this server is kept.
    fn cache(&self) -> Cache {
        let said = std::env::var_os("HALLPASS_TOKEN_STORE");
        let in_file = match said.filter(|said| !said.is_empty()) {
            Some(said) => said == "file",
            None => self.config.token_store == TokenStore::File,
        };
        let keyring = if in_file {
            Keyring::none()
        } else {
            Keyring::system()
        };
        Cache::new(&self.folder, &self.server, keyring)
    }

    /// The development login that was asked for.
    fn dev_login(&self) -> Result<Option<DevLogin>, CliError> {
        let Some(name) = first(&self.global.act_as, &None) else {
            return Ok(None);
        };
        let issuer = first(&self.global.dev_issuer, &self.config.dev_issuer)
            .ok_or(CliError::NoIssuer)
            .and_then(|text| parse_url(text, "dev_issuer"))?;
        let name = name.to_owned();
        Ok(Some(DevLogin { issuer, name }))
    }

    /// Connects with [`Context::token`].
    async fn session(&self) -> Result<Session, CliError> {
        let (token, source) = self.token().await?;
        self.session_with(&token, source).await
    }

    /// A token by `--as`, else from what the environment gives, else of the stored login.
    async fn token(&self) -> Result<(Token, Source), CliError> {
        if let Some(dev) = self.dev_login()? {
            let token = dev_issuer::mint(&dev.issuer, &dev.name).await?;
            return Ok((token, Source::Dev(dev)));
        }
        if let Some(pipeline) = self.pipeline()? {
            let wanted = self.wanted(&pipeline).await?;
            let token = pipeline.token(&wanted, Timestamp::now).await?;
            return Ok((token, Source::Pipeline(pipeline, wanted)));
        }
        let cache = self.cache();
        let login = hallpass_login::current(&cache, Timestamp::now).await?;
        let login = login.ok_or_else(|| CliError::NotLoggedIn {
            server: crate::connect::display(&self.server),
        })?;
        Ok((login.bearer, Source::Stored(cache)))
    }

    /// What the environment of a pipeline offers.
    fn pipeline(&self) -> Result<Option<Pipeline>, CliError> {
        Ok(Pipeline::detect(|name| std::env::var(name).ok())?)
    }

    /// What a pipeline's token should say: the user's word, else the service's.
    async fn wanted(&self, pipeline: &Pipeline) -> Result<Wanted, CliError> {
        if !pipeline.asks_the_service() {
            return Ok(Wanted::default());
        }
        let said = std::env::var("HALLPASS_AUDIENCE").ok();
        let said = said.filter(|audience| !audience.is_empty());
        let metadata = crate::connect::metadata(&self.address()).await?;
        let of = |issuer: &str| metadata.issuers.iter().find(|i| i.issuer == issuer);
        let audience = pipeline.issuer().and_then(of);
        let audience = audience.and_then(|i| i.audiences.first().cloned());
        let login = metadata.login.unwrap_or_default();
        Ok(Wanted {
            audience: said.or(audience),
            issuer: Some(login.issuer).filter(|issuer| !issuer.is_empty()),
            scopes: Vec::new(),
            resource: Some(login.resource).filter(|resource| !resource.is_empty()),
        })
    }

    /// Whose token the next call would carry, as far as that is known without asking for one.
    fn holder(&self) -> Option<String> {
        match self.pipeline().ok()? {
            Some(pipeline) => pipeline.holder(),
            None => Some(self.cache().load().ok()??.bearer.holder()),
        }
    }

    /// What is kept for this caller between runs; nothing when nobody is logged in.
    fn store(&self) -> Option<Store> {
        let holder = match self.dev_login() {
            Ok(Some(dev)) => format!("as {}", dev.name),
            Ok(None) => self.holder()?,
            Err(_) => return None,
        };
        let cache = config::cache_folder().ok()?;
        Some(Store::new(&cache, &self.server, &holder))
    }

    /// Remembers that the caller's own request is active, or that it is over. Only a memory: it
    /// saves calls, and nothing depends on it.
    fn note(&self, request: &v1::AccessRequest) {
        let (Some(store), Ok(id)) = (self.store(), AccessRequestId::parse_name(&request.name))
        else {
            return;
        };
        let state = request.state();
        if state == State::Active {
            let entitlement = EntitlementId::parse_name(&request.entitlement);
            let end = words::instant(request.end_time.as_ref());
            if let (Ok(entitlement), Some(end)) = (entitlement, end) {
                // A memory that cannot be written is none.
                let _ = store.note(&Noted {
                    id,
                    entitlement,
                    end,
                    parameters: request.parameters.clone().into_iter().collect(),
                });
            }
        } else if words::is_final(state) || words::exit_of_missed(state) == Exit::Over {
            store.forget(&id);
        }
    }

    fn address(&self) -> Address<'_> {
        Address {
            server: &self.server,
            ca: self.global.ca.as_deref().or(self.config.ca.as_deref()),
            plaintext: self.global.plaintext,
        }
    }

    async fn session_with(&self, token: &Token, source: Source) -> Result<Session, CliError> {
        Session::open(&self.address(), token, source, self.terminal).await
    }
}

/// What the command line or the environment says, else the file. Pipelines leave variables empty.
fn first<'a>(said: &'a Option<String>, filed: &'a Option<String>) -> Option<&'a str> {
    said.as_deref()
        .filter(|text| !text.is_empty())
        .or(filed.as_deref())
}

fn parse_url(text: &str, key: &str) -> Result<Url, CliError> {
    Url::parse(text)
        .ok()
        .filter(|url| url.has_host())
        .ok_or_else(|| {
            CliError::Usage(format!(
                "{key} {text:?} is not a URL; write it as http://127.0.0.1:8443 or https://host"
            ))
        })
}

/// A fresh idempotency key; made once per order, however often the order is sent.
fn new_request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

async fn get(session: &Session, id: &AccessRequestId) -> Result<v1::AccessRequest, CliError> {
    let message = v1::GetAccessRequestRequest { name: id.name() };
    session
        .call(Patience::Read, || {
            let (mut client, message) = (session.access(), message.clone());
            async move { client.get_access_request(timed(message)).await }
        })
        .await
}

/// What an order that was refused needed the request to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needed {
    /// Active: to use it, extend it or end it.
    Active,
    /// Waiting: to be decided or withdrawn.
    Waiting,
}

/// Tells "too late" from "too early" when the request's state forbade an order, and what can be done
/// instead.
async fn too_late(
    session: &Session,
    id: &AccessRequestId,
    needed: Needed,
    error: CliError,
) -> CliError {
    let CliError::Refused(mut refused) = error else {
        return error;
    };
    if !refused.is_precondition() {
        return CliError::Refused(refused);
    }
    refused.next = vec![Step::run(format!("hallpass show {id}"))];
    // The refusal is the news; without the state its plain exit code stands.
    let Ok(request) = get(session, id).await else {
        return CliError::Refused(refused);
    };
    let (state, exit) = (request.state(), words::exit_of_missed(request.state()));
    let is_waiting = exit == Exit::Pending && state != State::Provisioning;
    let is_as_needed = match needed {
        Needed::Active => state == State::Active,
        Needed::Waiting => is_waiting,
    };
    if !is_as_needed {
        refused.restate(format!("{id} is {}", words::state(state)));
        refused.exit = exit;
    }
    match (needed, state) {
        (Needed::Active, State::Provisioning) => {
            refused.next = vec![Step::run(format!("hallpass watch {id}"))];
        }
        (Needed::Active, _) if is_waiting => {
            let back = format!("hallpass withdraw {id}");
            refused.next.push(Step::why("to take it back", back));
        }
        _ => {}
    }
    CliError::Refused(refused)
}
