//! The connection to Temporal, and what must be there before the first request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hallpass_codec::Codec;
use hallpass_workflows::names::SEARCH_ATTRIBUTES;
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, GrpcCompression, RetryOptions, TlsOptions,
};
use temporalio_common::protos::temporal::api::enums::v1::{IndexedValueType, TaskQueueType};
use temporalio_common::protos::temporal::api::operatorservice::v1::{
    AddSearchAttributesRequest, ListSearchAttributesRequest,
};

use temporalio_common::protos::temporal::api::taskqueue::v1::TaskQueue;
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeTaskQueueRequest;

use crate::config::{Config, ConfigError, Temporal, TemporalTls};
use crate::tls::{Identity, TlsError};

/// Temporal cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemporalError {
    #[error("cannot connect to Temporal at {address}; is it running?")]
    Connect {
        address: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the connection to Temporal is not configured right")]
    Config(#[from] ConfigError),
    #[error("the certificate for Temporal cannot be used")]
    Certificate(#[from] TlsError),
    #[error("cannot read {path}, the authority of Temporal's certificate")]
    Authority {
        path: std::path::PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot use the namespace {namespace} of Temporal; does it exist?")]
    Namespace {
        namespace: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "search attribute {name} exists with another type; remove it, or use another namespace"
    )]
    AttributeType { name: &'static str },
}

/// Connects, and makes sure that what workflows set is known.
pub(crate) async fn connect(config: &Temporal, codec: Codec) -> Result<Client, TemporalError> {
    let client = open(config, codec).await?;
    register_search_attributes(&client, &config.namespace).await?;
    Ok(client)
}

/// Connects, and changes nothing.
pub(crate) async fn dial(config: &Config) -> Result<Client, TemporalError> {
    let codec = config.temporal.codec(&config.aws)?;
    open(&config.temporal, codec).await
}

async fn open(config: &Temporal, codec: Codec) -> Result<Client, TemporalError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| TemporalError::Connect {
        address: config.address.to_string(),
        source,
    };
    let api_key = config.api_key.as_ref();
    let api_key = api_key.map(|k| k.read("temporal.api_key")).transpose()?;
    let headers = config.headers.iter();
    let headers = headers.map(|(name, value)| (name.clone(), value.secret().to_string()));
    let headers: HashMap<String, String> = headers.collect();
    let options = ConnectionOptions::new(config.address.clone())
        .maybe_tls_options(tls(config)?)
        .maybe_api_key(api_key.map(|k| k.to_string()))
        .maybe_headers((!headers.is_empty()).then_some(headers))
        .identity(format!("hallpassd/{}", std::process::id()))
        .metrics_meter(crate::meter::connection())
        // Payloads are small, and encrypted ones do not shrink; gzip took a tenth of our CPU.
        .grpc_compression(GrpcCompression::None)
        .connect_timeout(Duration::from_secs(5))
        .retry_options(
            RetryOptions::builder()
                .max_elapsed_time(Some(Duration::from_secs(10)))
                .build(),
        )
        .build();
    let connection = Connection::connect(options)
        .await
        .map_err(|e| failed(e.into()))?;
    let client = Client::new(
        connection,
        ClientOptions::new(config.namespace.clone())
            .data_converter(codec.data_converter())
            .build(),
    )
    .map_err(|e| failed(e.into()))?;
    Ok(client)
}

/// TLS is on when the address says https; a client certificate that changes is read again.
fn tls(config: &Temporal) -> Result<Option<TlsOptions>, TemporalError> {
    if config.address.scheme() != "https" {
        return Ok(None);
    }
    let tls = config.tls.clone().unwrap_or_default();
    let TemporalTls {
        ca_file,
        server_name,
        certificate_file,
        key_file,
    } = tls;
    let authority = ca_file
        .map(|path| {
            std::fs::read(&path).map_err(|source| TemporalError::Authority { path, source })
        })
        .transpose()?;
    let mut identity = None;
    if let (Some(certificate), Some(key)) = (certificate_file, key_file) {
        let loaded = Identity::load(&certificate, &key)?;
        loaded.watch();
        identity = Some(loaded as Arc<dyn rustls::client::ResolvesClientCert>);
    }
    let options = TlsOptions::builder()
        .maybe_server_root_ca_cert(authority)
        .maybe_domain(server_name)
        .maybe_client_cert_resolver(identity)
        .build();
    Ok(Some(options))
}

/// Which of our search attributes the namespace lacks; one with another type is an error.
pub(crate) async fn missing_search_attributes(
    client: &Client,
    namespace: &str,
) -> Result<HashMap<String, i32>, TemporalError> {
    let list = ListSearchAttributesRequest {
        namespace: namespace.to_owned(),
    };
    let known = client
        .connection()
        .operator_service()
        .list_search_attributes(tonic::Request::new(list))
        .await
        .map_err(|status| unusable(namespace, status))?
        .into_inner()
        .custom_attributes;
    let mut missing = HashMap::new();
    for (name, kind) in SEARCH_ATTRIBUTES {
        let kind = match kind {
            "Datetime" => IndexedValueType::Datetime,
            _ => IndexedValueType::Keyword,
        } as i32;
        match known.get(name) {
            Some(known) if *known == kind => {}
            Some(_) => return Err(TemporalError::AttributeType { name }),
            None => {
                missing.insert(name.to_owned(), kind);
            }
        }
    }
    Ok(missing)
}

fn unusable(namespace: &str, status: tonic::Status) -> TemporalError {
    TemporalError::Namespace {
        namespace: namespace.to_owned(),
        source: status.into(),
    }
}

/// How many workers were seen lately that take a queue's activities.
pub(crate) async fn pollers(
    client: &Client,
    namespace: &str,
    queue: &str,
) -> Result<usize, tonic::Status> {
    let request = DescribeTaskQueueRequest {
        namespace: namespace.to_owned(),
        task_queue: Some(TaskQueue {
            name: queue.to_owned(),
            ..Default::default()
        }),
        task_queue_type: TaskQueueType::Activity.into(),
        ..Default::default()
    };
    let mut service = client.connection().workflow_service();
    let answer = service.describe_task_queue(tonic::Request::new(request));
    Ok(answer.await?.into_inner().pollers.len())
}

/// An attribute that the namespace lacks would block every workflow that sets it.
async fn register_search_attributes(client: &Client, namespace: &str) -> Result<(), TemporalError> {
    let missing = missing_search_attributes(client, namespace).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let add = AddSearchAttributesRequest {
        search_attributes: missing,
        namespace: namespace.to_owned(),
    };
    let mut operator = client.connection().operator_service();
    let added = operator.add_search_attributes(tonic::Request::new(add));
    match added.await {
        Ok(_) => Ok(()),
        // Another replica was quicker.
        Err(status) if status.code() == tonic::Code::AlreadyExists => Ok(()),
        Err(status) => Err(unusable(namespace, status)),
    }
}
