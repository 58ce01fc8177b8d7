//! `login`, `logout`, `whoami`.

use std::io::{self, IsTerminal as _, Read as _};

use hallpass_login::{Login, Place, Provider, Terms, Token, TokenKind};
use hallpass_proto::v1;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{Context, entitlements};
use crate::cli::LoginArgs;
use crate::connect::{self, Session, display, timed};
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::clean::clean;
use crate::output::{View, json, words};
use crate::retry::Patience;
use crate::source::Source;
use crate::{browser, dev_issuer, durations};

const MAX_TOKEN_BYTES: u64 = 64 * 1024;

/// Gets a token, has the service check it, keeps it, and tells whom it stands for.
///
/// # Errors
/// [`CliError::Login`], or the service refuses the token; a refused one is not kept.
pub(super) async fn login(cx: &Context, args: &LoginArgs) -> Result<Exit, CliError> {
    let (new, old) = (get(cx, args).await?, cx.cache());
    let checked = match cx.session_with(&new.bearer, Source::Given).await {
        Ok(session) => ask(&session).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &checked
        && error.exit() == Exit::NotLoggedIn
    {
        return checked.map(|_| Exit::Ok);
    }
    let place = new.keep(&old).await?;
    match checked {
        Ok(me) => {
            if let (Place::File(path), true) = (&place, new.renewal.is_some()) {
                let path = path.display();
                cx.terminal
                    .say(&format!("the login is kept in {path}, mode 0600"));
            }
            show(cx, &me, None)
        }
        Err(error) => {
            cx.terminal
                .say("the token is stored, but could not be checked");
            Err(error)
        }
    }
}

async fn get(cx: &Context, args: &LoginArgs) -> Result<Login, CliError> {
    if args.token_stdin {
        let token = from_stdin()?;
        return Ok(Login::of_token(token, Timestamp::now()));
    }
    if let Some(dev) = cx.dev_login()? {
        let token = dev_issuer::mint(&dev.issuer, &dev.name).await?;
        return Ok(Login::of_token(token, Timestamp::now()));
    }
    if cx.pipeline()?.is_some() {
        return Err(CliError::Usage(
            "the token comes from the environment here, and is not kept: leave `login` out"
                .to_owned(),
        ));
    }
    let metadata = connect::metadata(&cx.address()).await?;
    let Some(told) = metadata.login else {
        return Err(CliError::Usage(
            "say how to log in: --token-stdin, or --as NAME for development".to_owned(),
        ));
    };
    let has_device_flow = told.device_flow;
    let terms = terms(told);
    let provider = Provider::discover(&terms.issuer, Timestamp::now).await?;
    let may_use_device = has_device_flow && provider.has_device_flow();
    if args.device && !has_device_flow {
        return Err(CliError::Usage(
            "this service does not let you log in by device: leave --device out".to_owned(),
        ));
    }
    let by_device = args.device || (!args.no_browser && !browser::is_near() && may_use_device);
    let tokens = if by_device {
        let login = provider.begin_device(&terms).await?;
        let (page, code) = (clean(login.page()), clean(login.code()));
        cx.terminal.report(&format!("open {page} and enter {code}"));
        if let Some(page) = login.page_with_code() {
            let page = clean(page);
            cx.terminal
                .report(&format!("or open {page} and compare {code}"));
        }
        login.finish(args.timeout).await?
    } else {
        let login = provider.begin_code(&terms).await?;
        if args.no_browser || !browser::open(login.url()) {
            cx.terminal.report(&format!("open {}", login.url()));
        } else {
            cx.terminal.say(&format!(
                "log in in your browser; if none opens: {}",
                login.url()
            ));
        }
        login.finish(args.timeout).await?
    };
    Ok(Login::of_tokens(tokens, &terms, Timestamp::now()))
}

fn terms(told: v1::LoginTerms) -> Terms {
    Terms {
        issuer: told.issuer,
        client_id: told.client_id,
        scopes: told.scopes,
        resource: Some(told.resource).filter(|resource| !resource.is_empty()),
        token: if told.id_token {
            TokenKind::Id
        } else {
            TokenKind::Access
        },
    }
}

fn from_stdin() -> Result<Token, CliError> {
    if io::stdin().is_terminal() {
        return Err(CliError::Usage(
            "pipe the token in: a typed one stays on the screen".to_owned(),
        ));
    }
    let mut text = Zeroizing::new(String::new());
    io::stdin()
        .take(MAX_TOKEN_BYTES)
        .read_to_string(&mut text)
        .map_err(|source| CliError::Stdin { source })?;
    Ok(Token::parse(&text)?)
}

/// Forgets the stored login, and has the provider forget it where that can be.
///
/// # Errors
/// [`CliError::Cache`].
pub(super) async fn logout(cx: &Context) -> Result<Exit, CliError> {
    let (server, cache) = (display(&cx.server), cx.cache());
    // While the login still tells whose it is.
    if let Some(store) = cx.store() {
        store.clear();
    }
    // A login that cannot be read is forgotten all the same.
    let login = cache.load().ok().flatten();
    let was_logged_in = cache.remove()?;
    if let Some(renewal) = login.and_then(|login| login.renewal) {
        let terms = &renewal.terms;
        let revoked = match Provider::discover(&terms.issuer, Timestamp::now).await {
            Ok(provider) => provider.revoke(&terms.client_id, &renewal.refresh).await,
            Err(error) => Err(error),
        };
        if !matches!(revoked, Ok(true)) {
            let issuer = clean(&terms.issuer);
            cx.terminal
                .say(&format!("{issuer} was not told; its own session goes on"));
        }
    }
    cx.terminal.say(&if was_logged_in {
        format!("logged out of {server}")
    } else {
        format!("was not logged in at {server}")
    });
    let object = json::LoggedOut {
        server,
        was_logged_in,
    };
    cx.terminal.show(&object, String::new)?;
    Ok(Exit::Ok)
}

/// Tells whom the token stands for, and what that person may ask for.
///
/// # Errors
/// As every call.
pub(super) async fn whoami(cx: &Context) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let me = ask(&session).await?;
    let may_ask = entitlements::all(&session, false).await?;
    show(cx, &me, Some(&may_ask))
}

async fn ask(session: &Session) -> Result<v1::WhoAmIResponse, CliError> {
    session
        .call(Patience::Read, || {
            let mut client = session.access();
            async move { client.who_am_i(timed(v1::WhoAmIRequest {})).await }
        })
        .await
}

fn show(
    cx: &Context,
    me: &v1::WhoAmIResponse,
    may_ask: Option<&[v1::Entitlement]>,
) -> Result<Exit, CliError> {
    let view = cx.terminal.view();
    let server = display(&cx.server);
    let mut object = json::WhoAmI::from(me);
    object.may_ask_for = may_ask.map(json::entitlement_names);
    cx.terminal
        .show(&object, || human(&view, &server, me, may_ask))?;
    Ok(Exit::Ok)
}

fn human(
    view: &View,
    server: &str,
    me: &v1::WhoAmIResponse,
    may_ask: Option<&[v1::Entitlement]>,
) -> String {
    let mut text = String::new();
    if let Some(p) = &me.principal {
        text.push_str(&format!("{} at {server}\n", words::who_exactly(p)));
        if !p.groups.is_empty() {
            text.push_str(&format!("  groups     {}\n", clean(&p.groups.join(", "))));
        }
        if let Some(at) = words::instant(p.authenticated_time.as_ref()) {
            let mfa = if p.mfa { "with" } else { "without" };
            let ago = durations::rough(view.since(at));
            let at = view.exact(at);
            text.push_str(&format!(
                "  signed in  {at}, {ago} ago, {mfa} a second factor\n"
            ));
        }
    }
    if let Some(at) = words::instant(me.token_expire_time.as_ref()) {
        let left = durations::rough(view.until(at));
        text.push_str(&format!(
            "  token      until {} (in {left})\n",
            view.instant(at)
        ));
    }
    if let Some(list) = may_ask {
        let names: Vec<_> = list.iter().map(|e| words::entitlement(&e.name)).collect();
        let names = match names.as_slice() {
            [] => "nothing now".to_owned(),
            names => names.join(", "),
        };
        text.push_str(&format!("  may ask    for {names}\n"));
    }
    if me.may_view_all {
        text.push_str("  may view   all requests\n");
    }
    text.push_str(&format!("  policy     {}\n", clean(&me.policy_digest)));
    text
}
