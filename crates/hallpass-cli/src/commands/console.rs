//! `console`: a sign-in to the AWS console with a session of the grant.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Context, Issued, creds, target};
use crate::cli::{ConsoleArgs, Output};
use crate::config;
use crate::dev_issuer::is_loopback;
use crate::errors::CliError;
use crate::exit::Exit;

const PATIENCE: Duration = Duration::from_secs(20);

/// Where a partition's console is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Partition {
    signin: &'static str,
    console: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionObject<'a> {
    session_id: &'a str,
    session_key: &'a str,
    session_token: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "SigninToken")]
    token: String,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.token.zeroize();
    }
}

/// What it prints for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignIn<'a> {
    access_request: String,
    url: &'a str,
    expiration: String,
}

/// Prints the sign-in address, or opens it.
///
/// # Errors
/// [`CliError::SignIn`], [`CliError::Run`], and as [`creds::issue`].
pub(super) async fn run(cx: &Context, args: ConsoleArgs) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let id = target::find(cx, &session, &args.aim, target::For::active("console")).await?;
    let issued = creds::issue(cx, &session, &id).await?;
    let partition = partition(&issued.role_arn);
    let region = args.region.as_deref().unwrap_or(&issued.region);
    let wanted = args.destination.as_deref().unwrap_or_default();
    let destination = destination(partition, region, wanted)?;
    let endpoint = match &args.signin_endpoint {
        Some(endpoint) => endpoint.clone(),
        None => parsed(&format!("https://{region}.{}/federation", partition.signin))?,
    };
    let token = sign_in(&endpoint, &issued).await?;
    let url = Zeroizing::new(login(&endpoint, &destination, &token));
    if args.url_only || cx.terminal.output == Output::Json {
        let object = SignIn {
            access_request: id.name(),
            url: &url,
            expiration: issued.expires().to_string(),
        };
        cx.terminal.show(&object, || format!("{}\n", *url))?;
        return Ok(Exit::Ok);
    }
    open(&args, &url)?;
    cx.terminal.say("signed in for as long as the access lasts");
    Ok(Exit::Ok)
}

fn partition(role_arn: &str) -> Partition {
    match role_arn.split(':').nth(1) {
        Some("aws-cn") => Partition {
            signin: "signin.amazonaws.cn",
            console: "console.amazonaws.cn",
        },
        Some("aws-us-gov") => Partition {
            signin: "signin.amazonaws-us-gov.com",
            console: "console.amazonaws-us-gov.com",
        },
        _ => Partition {
            signin: "signin.aws.amazon.com",
            console: "console.aws.amazon.com",
        },
    }
}

/// The page to go to: the console's home, a service, or an address of this partition's console.
fn destination(partition: Partition, region: &str, wanted: &str) -> Result<Url, CliError> {
    let home = format!("https://{region}.{}", partition.console);
    if wanted.contains("://") {
        let url = parsed(wanted)?;
        let host = url.host_str().unwrap_or_default();
        let is_ours =
            host == partition.console || host.ends_with(&format!(".{}", partition.console));
        if url.scheme() != "https" || !is_ours {
            let console = partition.console;
            return Err(CliError::Usage(format!(
                "--destination {wanted} is not a page of https://{console}"
            )));
        }
        return Ok(url);
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !wanted.chars().all(is_plain) || !region.chars().all(is_plain) {
        return Err(CliError::Usage(format!(
            "{wanted:?} in {region:?} is no service of the console"
        )));
    }
    let service = if wanted.is_empty() { "console" } else { wanted };
    parsed(&format!("{home}/{service}/home?region={region}"))
}

fn parsed(text: &str) -> Result<Url, CliError> {
    Url::parse(text).map_err(|_| CliError::Usage(format!("{text:?} is not an address")))
}

/// Trades the session for a sign-in token. The console session ends with the role session: a
/// duration of its own is refused for chained roles, and would outlast the grant.
async fn sign_in(endpoint: &Url, issued: &Issued) -> Result<Zeroizing<String>, CliError> {
    let failed = |why: String| CliError::SignIn {
        endpoint: crate::connect::display(endpoint),
        why,
    };
    if endpoint.scheme() != "https" && !is_loopback(endpoint) {
        return Err(failed("it is neither https nor on this machine".to_owned()));
    }
    let secret = &issued.credentials;
    let session = Zeroizing::new(crate::output::json::line(&SessionObject {
        session_id: secret.access_key_id(),
        session_key: secret.secret_access_key(),
        session_token: secret.session_token(),
    }));
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .build()
        .map_err(|e| failed(e.without_url().to_string()))?;
    let mut url = endpoint.clone();
    url.query_pairs_mut()
        .append_pair("Action", "getSigninToken")
        .append_pair("Session", &session);
    let answer = client.get(url).send().await;
    // An error's address would hold the session.
    let answer = answer.map_err(|e| failed(e.without_url().to_string()))?;
    let status = answer.status();
    if !status.is_success() {
        return Err(failed(format!("it answered {status}")));
    }
    // A parser's message may quote the answer, and the answer is a token.
    let answer: Answer = (answer.json().await)
        .map_err(|_| failed("it answered something that holds no token".to_owned()))?;
    Ok(Zeroizing::new(answer.token.clone()))
}

fn login(endpoint: &Url, destination: &Url, token: &str) -> String {
    let mut url = endpoint.clone();
    url.query_pairs_mut()
        .append_pair("Action", "login")
        .append_pair("Issuer", "hallpass")
        .append_pair("Destination", destination.as_str())
        .append_pair("SigninToken", token);
    url.into()
}

/// Opens the address through a page that only this user can read: a browser's arguments are seen
/// by all.
fn open(args: &ConsoleArgs, url: &str) -> Result<(), CliError> {
    let folder = config::cache_folder()?;
    let page = folder.join("console.html");
    let escaped = Zeroizing::new(url.replace('&', "&amp;").replace('"', "&quot;"));
    let html = Zeroizing::new(format!(
        "<!doctype html><meta name=referrer content=no-referrer>\
         <meta http-equiv=refresh content=\"0; url={}\">\n",
        *escaped
    ));
    let written = std::fs::create_dir_all(&folder).and_then(|()| {
        // The page of an earlier sign-in.
        let _ = std::fs::remove_file(&page);
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&page)?
            .write_all(html.as_bytes())
    });
    written.map_err(|source| CliError::File {
        path: page.clone(),
        source,
    })?;
    let browser = args.browser.clone().unwrap_or_else(|| "xdg-open".into());
    let opened = std::process::Command::new(&browser)
        .arg(&page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    let program = browser.to_string_lossy().into_owned();
    match opened {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(CliError::Run {
            program,
            source: std::io::Error::other(status.to_string()),
        }),
        Err(source) => Err(CliError::Run { program, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_has_its_console() {
        let home = |arn: &str, region| {
            let partition = partition(arn);
            let home = destination(partition, region, "").unwrap();
            format!("{} {home}", partition.signin)
        };
        assert_eq!(
            home("arn:aws:iam::111122223333:role/x", "eu-central-1"),
            "signin.aws.amazon.com \
             https://eu-central-1.console.aws.amazon.com/console/home?region=eu-central-1"
        );
        assert_eq!(
            home("arn:aws-cn:iam::111122223333:role/x", "cn-north-1"),
            "signin.amazonaws.cn \
             https://cn-north-1.console.amazonaws.cn/console/home?region=cn-north-1"
        );
        assert_eq!(
            home("arn:aws-us-gov:iam::111122223333:role/x", "us-gov-west-1"),
            "signin.amazonaws-us-gov.com \
             https://us-gov-west-1.console.amazonaws-us-gov.com/console/home?region=us-gov-west-1"
        );
    }

    #[test]
    fn a_destination_is_a_page_of_the_console_and_of_nobody_else() {
        let go = |wanted| {
            let aws = partition("arn:aws:iam::111122223333:role/x");
            destination(aws, "us-east-1", wanted).map(String::from)
        };
        assert_eq!(
            go("s3").unwrap(),
            "https://us-east-1.console.aws.amazon.com/s3/home?region=us-east-1"
        );
        let page = "https://us-east-1.console.aws.amazon.com/s3/buckets/reports?tab=objects";
        assert_eq!(go(page).unwrap(), page);
        for elsewhere in [
            "https://console.aws.amazon.com.example/s3",
            "https://xconsole.aws.amazon.com/s3",
            "http://console.aws.amazon.com/s3",
            "https://console.amazonaws.cn/s3",
            "s3/../x",
            "a b",
        ] {
            assert!(go(elsewhere).is_err(), "{elsewhere}");
        }
    }

    #[test]
    fn the_address_carries_destination_and_token_and_no_credentials() {
        let endpoint = Url::parse("https://us-east-1.signin.aws.amazon.com/federation").unwrap();
        let page = Url::parse("https://console.aws.amazon.com/s3/home?region=us-east-1").unwrap();
        assert_eq!(
            login(&endpoint, &page, "t+k/n="),
            "https://us-east-1.signin.aws.amazon.com/federation?Action=login&Issuer=hallpass&\
             Destination=https%3A%2F%2Fconsole.aws.amazon.com%2Fs3%2Fhome%3Fregion%3Dus-east-1&\
             SigninToken=t%2Bk%2Fn%3D"
        );
    }
}
