//! `login`, `logout`, `whoami`.

use std::io::{self, IsTerminal as _};

use hallpass_proto::v1;

use super::Context;
use crate::connect::{Session, display, timed};
use crate::dev_issuer;
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::clean::clean;
use crate::output::{View, json, words};
use crate::retry::Patience;
use crate::token;

/// Stores a token and tells whom it stands for.
///
/// # Errors
/// No way to get a token was named, or the server refuses the token; a refused one is not kept.
pub(super) async fn login(cx: &Context, token_stdin: bool) -> Result<Exit, CliError> {
    let token = if token_stdin {
        if io::stdin().is_terminal() {
            return Err(CliError::Usage(
                "pipe the token in: a typed one stays on the screen".to_owned(),
            ));
        }
        token::from_stream(io::stdin())?
    } else if let Some(dev) = cx.dev_login()? {
        dev_issuer::mint(&dev.issuer, &dev.name).await?
    } else {
        return Err(CliError::Usage(
            "say how to log in: --token-stdin, or --as NAME for development".to_owned(),
        ));
    };
    let file = cx.token_file();
    file.store(&token)?;
    let checked = match cx.session_with(&token, None).await {
        Ok(session) => ask(&session).await,
        Err(error) => Err(error),
    };
    match checked {
        Ok(me) => show(cx, &me),
        Err(error) if error.exit() == Exit::NotLoggedIn => {
            file.remove()?;
            Err(error)
        }
        Err(error) => {
            cx.terminal
                .say("the token is stored, but could not be checked");
            Err(error)
        }
    }
}

/// Forgets the stored token.
///
/// # Errors
/// [`CliError::TokenFile`].
pub(super) fn logout(cx: &Context) -> Result<Exit, CliError> {
    let server = display(&cx.server);
    // While the token still tells whose it is.
    if let Some(store) = cx.store() {
        store.clear();
    }
    let was_logged_in = cx.token_file().remove()?;
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

/// Tells whom the token stands for.
///
/// # Errors
/// As every call.
pub(super) async fn whoami(cx: &Context) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    show(cx, &ask(&session).await?)
}

async fn ask(session: &Session) -> Result<v1::WhoAmIResponse, CliError> {
    session
        .call(Patience::Read, || {
            let mut client = session.access();
            async move { client.who_am_i(timed(v1::WhoAmIRequest {})).await }
        })
        .await
}

fn show(cx: &Context, me: &v1::WhoAmIResponse) -> Result<Exit, CliError> {
    let view = cx.terminal.view();
    let server = display(&cx.server);
    cx.terminal
        .show(&json::WhoAmI::from(me), || human(&view, &server, me))?;
    Ok(Exit::Ok)
}

fn human(view: &View, server: &str, me: &v1::WhoAmIResponse) -> String {
    let mut text = String::new();
    if let Some(p) = &me.principal {
        text.push_str(&format!("{} at {server}\n", words::who_exactly(p)));
        if !p.groups.is_empty() {
            text.push_str(&format!("  groups     {}\n", clean(&p.groups.join(", "))));
        }
        if let Some(at) = words::instant(p.authenticated_time.as_ref()) {
            let mfa = if p.mfa { "with" } else { "without" };
            let at = view.exact(at);
            text.push_str(&format!("  signed in  {at}, {mfa} a second factor\n"));
        }
    }
    if me.may_view_all {
        text.push_str("  may view   all requests\n");
    }
    text.push_str(&format!("  policy     {}\n", clean(&me.policy_digest)));
    text
}
