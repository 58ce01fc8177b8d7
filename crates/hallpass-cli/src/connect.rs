//! The connection to hallpass: address, TLS, bearer token, and asking again.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hallpass_login::Token;
use hallpass_proto::v1;
use hallpass_proto::v1::access_service_client::AccessServiceClient;
use hallpass_proto::v1::admin_service_client::AdminServiceClient;
use hallpass_proto::v1::approval_service_client::ApprovalServiceClient;
use hallpass_proto::v1::audit_service_client::AuditServiceClient;
use hallpass_proto::v1::metadata_service_client::MetadataServiceClient;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status};
use url::Url;

use crate::dev_issuer;
use crate::errors::{CliError, Refused};
use crate::retry::{self, Patience};
use crate::source::Source;
use crate::terminal::Terminal;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A channel that adds the token to every call.
pub(crate) type Authorized = InterceptedService<Channel, Bearer>;

/// Adds the bearer token; shared, so that a renewed token reaches every client.
#[derive(Clone)]
pub(crate) struct Bearer(Arc<Mutex<MetadataValue<Ascii>>>);

impl Bearer {
    fn new(token: &Token) -> Result<Self, CliError> {
        header(token).map(|value| Self(Arc::new(Mutex::new(value))))
    }

    fn replace(&self, token: &Token) -> Result<(), CliError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = header(token)?;
        Ok(())
    }
}

fn header(token: &Token) -> Result<MetadataValue<Ascii>, CliError> {
    let text = zeroize::Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut value: MetadataValue<Ascii> = text.parse().map_err(|_| CliError::NotAToken)?;
    value.set_sensitive(true);
    Ok(value)
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

/// An open connection of a logged-in caller.
pub(crate) struct Session {
    channel: Channel,
    bearer: Bearer,
    /// What `bearer` holds; told from what a renewal brings.
    token: Mutex<Token>,
    source: Source,
    terminal: Terminal,
}

/// Where to connect to.
#[derive(Clone, Debug)]
pub(crate) struct Address<'a> {
    /// URL of hallpass.
    pub(crate) server: &'a Url,
    /// PEM file of the authority, instead of the system's.
    pub(crate) ca: Option<&'a Path>,
    /// Whether plain http may leave this machine.
    pub(crate) plaintext: bool,
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// [`CliError::Plaintext`], [`CliError::Ca`], [`CliError::Unreachable`].
    pub(crate) async fn open(
        address: &Address<'_>,
        token: &Token,
        source: Source,
        terminal: Terminal,
    ) -> Result<Self, CliError> {
        let bearer = Bearer::new(token)?;
        Ok(Self {
            channel: dial(address).await?,
            bearer,
            token: Mutex::new(token.clone()),
            source,
            terminal,
        })
    }

    /// For those who ask.
    pub(crate) fn access(&self) -> AccessServiceClient<Authorized> {
        AccessServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    /// For those who decide.
    pub(crate) fn approval(&self) -> ApprovalServiceClient<Authorized> {
        ApprovalServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    /// For those who check afterwards.
    pub(crate) fn audit(&self) -> AuditServiceClient<Authorized> {
        AuditServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    /// For those who run hallpass.
    pub(crate) fn admin(&self) -> AdminServiceClient<Authorized> {
        AdminServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    /// Makes a call, and again while its answer is lost and `patience` lasts. `attempt` must send
    /// the same message each time.
    ///
    /// # Errors
    /// [`CliError::Refused`] with the last refusal.
    pub(crate) async fn call<T, F>(
        &self,
        patience: Patience,
        attempt: impl Fn() -> F,
    ) -> Result<T, CliError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let started = Instant::now();
        let (mut lost, mut renewed) = (0, false);
        loop {
            let status = match attempt().await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => status,
            };
            if !renewed && self.renew(&status).await? {
                renewed = true;
                continue;
            }
            let pause = retry::pause(&status, lost)
                .filter(|pause| started.elapsed() + *pause < patience.limit());
            let Some(pause) = pause else {
                return Err(status.into());
            };
            if lost == 0 {
                let why = crate::output::clean::clean(status.message());
                self.terminal
                    .say(&format!("no answer yet ({why}); asking again"));
            }
            lost += 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// Whether a refused token was replaced.
    ///
    /// # Errors
    /// As [`Source::renew`].
    pub(crate) async fn renew(&self, status: &Status) -> Result<bool, CliError> {
        if !Refused::from(status).is_unauthenticated() {
            return Ok(false);
        }
        let held = || self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = held().clone();
        let Some(token) = self.source.renew(&refused).await? else {
            return Ok(false);
        };
        self.bearer.replace(&token)?;
        *held() = token;
        Ok(true)
    }
}

/// What the service says to those who are not logged in.
///
/// # Errors
/// As [`Session::open`], and [`CliError::Refused`].
pub(crate) async fn metadata(address: &Address<'_>) -> Result<v1::ServerMetadata, CliError> {
    let mut client = MetadataServiceClient::new(dial(address).await?);
    let answer = client.get_server_metadata(timed(v1::GetServerMetadataRequest {}));
    match answer.await {
        Ok(metadata) => Ok(metadata.into_inner()),
        // An older service.
        Err(status) if status.code() == Code::Unimplemented => Ok(v1::ServerMetadata::default()),
        Err(status) => Err(status.into()),
    }
}

async fn dial(address: &Address<'_>) -> Result<Channel, CliError> {
    let server = display(address.server);
    endpoint(address)?
        .connect()
        .await
        .map_err(|source| CliError::Unreachable { server, source })
}

/// A message with a deadline, so that a silent server is a timeout and not a hang.
pub(crate) fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

/// An address for people: what they typed, without a slash at the end or a password.
pub(crate) fn display(server: &Url) -> String {
    let mut server = server.clone();
    // Fails only for addresses that cannot have any.
    let _ = server.set_password(None);
    server.as_str().trim_end_matches('/').to_owned()
}

fn endpoint(address: &Address<'_>) -> Result<Endpoint, CliError> {
    let server = display(address.server);
    let is_https = address.server.scheme() == "https";
    if !is_https && address.server.scheme() != "http" {
        return Err(CliError::Usage(format!(
            "{server} is neither http nor https"
        )));
    }
    if !is_https && !address.plaintext && !dev_issuer::is_loopback(address.server) {
        return Err(CliError::Plaintext { server });
    }
    let unusable = |source| CliError::Unreachable {
        server: server.clone(),
        source,
    };
    let mut endpoint = Endpoint::from_shared(server.clone())
        .map_err(unusable)?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .user_agent(concat!("hallpass/", env!("CARGO_PKG_VERSION")))
        .map_err(unusable)?;
    if is_https {
        let tls = match address.ca {
            Some(path) => {
                let pem = fs::read(path).map_err(|source| CliError::Ca {
                    path: path.to_owned(),
                    source,
                })?;
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
            }
            None => ClientTlsConfig::new().with_native_roots(),
        };
        endpoint = endpoint.tls_config(tls).map_err(unusable)?;
    }
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_does_not_leave_the_machine_in_the_clear() {
        let open = |server: &str, plaintext| {
            let server = Url::parse(server).unwrap();
            endpoint(&Address {
                server: &server,
                ca: None,
                plaintext,
            })
            .map(|_| ())
        };
        assert!(open("http://127.0.0.1:8443", false).is_ok());
        assert!(matches!(
            open("http://hallpass.example", false),
            Err(CliError::Plaintext { .. })
        ));
        assert!(open("http://hallpass.example", true).is_ok());
        assert!(matches!(
            open("ftp://127.0.0.1", false),
            Err(CliError::Usage(_))
        ));
    }

    #[test]
    fn the_header_is_marked_sensitive() {
        let value = header(&Token::parse("t0ken").unwrap()).unwrap();
        assert!(value.is_sensitive());
        assert!(!format!("{value:?}").contains("t0ken"));
    }
}
