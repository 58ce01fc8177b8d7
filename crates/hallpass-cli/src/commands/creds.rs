//! `creds`: credentials of an active grant, opened with a key that exists for one issue.

use hallpass_proto::v1::access_request::State;
use hallpass_proto::{convert, v1};
use hallpass_seal::{RecipientKey, SecretCredentials, associated_data, open};
use hallpass_types::{AccessRequestId, PrincipalId};
use jiff::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Context, Needed, get, new_request_id, target, too_late};
use crate::cli::{Aim, CredsFormat, Output};
use crate::connect::{Session, timed};
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::clean::clean;
use crate::output::words;
use crate::retry::Patience;

/// Room for the longest credentials, so that no copy stays behind when a buffer grows.
pub(super) const ROOM: usize = 16 * 1024;

/// Credentials in the clear, and what is known about them.
pub(crate) struct Issued {
    /// The secret, with the session's own expiry.
    pub(crate) credentials: SecretCredentials,
    /// The grant's end as this session carries it: AWS refuses it from then on.
    pub(crate) end: Timestamp,
    /// When it was issued, by this machine's clock.
    pub(crate) issued: Timestamp,
    /// AWS region to use by default.
    pub(crate) region: String,
    /// The role that the session is of.
    pub(crate) role_arn: String,
    /// Counts the issues of this grant.
    pub(crate) serial: i32,
}

/// `credential_process`, version 1.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProcessCredentials<'a> {
    version: u8,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
    expiration: String,
}

/// Everything, for programs of other kinds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AllCredentials<'a> {
    access_request: String,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
    expiration: String,
    region: &'a str,
    serial: i32,
}

/// Prints credentials.
///
/// # Errors
/// As [`target::find`] and [`issue`].
pub(super) async fn run(
    cx: &Context,
    aim: &Aim,
    format: Option<CredsFormat>,
) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let id = target::find(cx, &session, aim, target::For::active("creds")).await?;
    let issued = issue(cx, &session, &id).await?;
    let mut text = Zeroizing::new(String::with_capacity(ROOM));
    match (format, cx.terminal.output) {
        (Some(CredsFormat::Env), _) => {
            for (name, value) in issued.variables(&id, &issued.region) {
                text.extend([name, "=", value.as_str(), "\n"]);
            }
        }
        (Some(CredsFormat::Json), _) | (None, Output::Json) => issued.write_all(&mut text, &id),
        (Some(CredsFormat::Process), _) | (None, Output::Human) => issued.write_process(&mut text),
    }
    cx.terminal.data(&text)?;
    Ok(Exit::Ok)
}

fn write_json(text: &mut String, object: &impl Serialize) {
    let line = Zeroizing::new(crate::output::json::line(object));
    text.push_str(&line);
    text.push('\n');
}

impl Issued {
    /// When AWS refuses them: the session's expiry or the grant's end, whichever is first.
    pub(crate) fn expires(&self) -> Timestamp {
        self.credentials.expires_at().min(self.end)
    }

    /// As `credential_process` wants them.
    pub(super) fn write_process(&self, text: &mut String) {
        let secret = &self.credentials;
        write_json(
            text,
            &ProcessCredentials {
                version: 1,
                access_key_id: secret.access_key_id(),
                secret_access_key: secret.secret_access_key(),
                session_token: secret.session_token(),
                expiration: self.expires().to_string(),
            },
        );
    }

    fn write_all(&self, text: &mut String, id: &AccessRequestId) {
        let secret = &self.credentials;
        write_json(
            text,
            &AllCredentials {
                access_request: id.name(),
                access_key_id: secret.access_key_id(),
                secret_access_key: secret.secret_access_key(),
                session_token: secret.session_token(),
                expiration: self.expires().to_string(),
                region: &self.region,
                serial: self.serial,
            },
        );
    }

    /// The environment that AWS tools read.
    pub(super) fn variables(
        &self,
        id: &AccessRequestId,
        region: &str,
    ) -> Vec<(&'static str, Zeroizing<String>)> {
        let secret = &self.credentials;
        let mut variables: Vec<(&'static str, Zeroizing<String>)> = [
            ("AWS_ACCESS_KEY_ID", secret.access_key_id()),
            ("AWS_SECRET_ACCESS_KEY", secret.secret_access_key()),
            ("AWS_SESSION_TOKEN", secret.session_token()),
            ("AWS_REGION", region),
            ("AWS_DEFAULT_REGION", region),
            ("HALLPASS_REQUEST", id.as_str()),
        ]
        .map(|(name, value)| (name, Zeroizing::new(value.to_owned())))
        .into();
        let expires = Zeroizing::new(self.expires().to_string());
        variables.push(("AWS_CREDENTIAL_EXPIRATION", expires));
        variables
    }
}

/// Has a session issued to a key made for it, and opens it.
///
/// # Errors
/// [`CliError::NotActive`], [`CliError::Open`], [`CliError::Answer`], and as every order.
pub(super) async fn issue(
    cx: &Context,
    session: &Session,
    id: &AccessRequestId,
) -> Result<Issued, CliError> {
    let request = active(cx, session, id).await?;
    let key = RecipientKey::generate();
    let message = v1::IssueCredentialsRequest {
        name: id.name(),
        request_id: new_request_id(),
        recipient_public_key: key.public_key().as_bytes().to_vec(),
    };
    let answer = session
        .call(Patience::NewRole, || {
            let (mut client, message) = (session.access(), message.clone());
            async move { client.issue_credentials(timed(message)).await }
        })
        .await;
    match answer {
        Ok(sealed) => {
            let issued = unseal(&key, id, &request, &sealed)?;
            // Only now is it known to be the caller's own.
            cx.note(&request);
            Ok(issued)
        }
        Err(error) => Err(too_late(session, id, Needed::Active, error).await),
    }
}

/// The request, which must be active.
///
/// # Errors
/// [`CliError::NotActive`], and as every call.
pub(super) async fn active(
    cx: &Context,
    session: &Session,
    id: &AccessRequestId,
) -> Result<v1::AccessRequest, CliError> {
    must_be_active(cx, get(session, id).await?)
}

/// The request as it is, if it is active.
///
/// # Errors
/// [`CliError::NotActive`].
pub(super) fn must_be_active(
    cx: &Context,
    request: v1::AccessRequest,
) -> Result<v1::AccessRequest, CliError> {
    if request.state() == State::Active {
        return Ok(request);
    }
    cx.note(&request);
    Err(CliError::NotActive {
        id: words::id(&request),
        ask: words::ask_again(
            &words::entitlement(&request.entitlement),
            &request.parameters.clone().into_iter().collect(),
        ),
        state: words::state(request.state()),
        note: request.note.clone(),
        exit: words::exit_of_missed(request.state()),
    })
}

fn unseal(
    key: &RecipientKey,
    id: &AccessRequestId,
    request: &v1::AccessRequest,
    sealed: &v1::SealedCredentials,
) -> Result<Issued, CliError> {
    let facts = sealed
        .credential
        .as_ref()
        .ok_or(CliError::Answer("it has no facts about the credentials"))?;
    let end = instant(facts.end_time.as_ref())?;
    check_binding(id, request, facts, &sealed.associated_data)?;
    let credentials = open(
        key,
        &sealed.suite,
        &sealed.encapsulated_key,
        &sealed.ciphertext,
        &sealed.associated_data,
    )
    .map_err(|source| CliError::Open { source })?;
    let region = clean(&sealed.region);
    if region.is_empty()
        || !region
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    {
        return Err(CliError::Answer("its region is not one"));
    }
    Ok(Issued {
        credentials,
        end,
        issued: Timestamp::now(),
        region,
        role_arn: clean(&request.role_arn),
        serial: facts.serial,
    })
}

pub(super) fn instant(at: Option<&prost_types::Timestamp>) -> Result<Timestamp, CliError> {
    at.and_then(convert::from_timestamp)
        .ok_or(CliError::Answer("an instant is missing"))
}

/// The seal must be bound to the grant that was asked about, not to what the answer says it is.
fn check_binding(
    id: &AccessRequestId,
    request: &v1::AccessRequest,
    facts: &v1::IssuedCredential,
    bound_to: &str,
) -> Result<(), CliError> {
    let wrong = CliError::Answer("the credentials are sealed for something else");
    let Some(requester) = request
        .requester
        .as_ref()
        .and_then(|p| PrincipalId::parse(&p.id).ok())
    else {
        return Err(wrong);
    };
    let Ok(serial) = u32::try_from(facts.serial) else {
        return Err(wrong);
    };
    let instants = [facts.end_time.as_ref(), facts.session_expire_time.as_ref()];
    let is_right = instants.into_iter().any(|at| {
        instant(at).is_ok_and(|at| {
            bound_to == associated_data(id, &requester, &request.role_arn, at, serial)
        })
    });
    if is_right { Ok(()) } else { Err(wrong) }
}
