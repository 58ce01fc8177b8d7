//! The connection to Temporal, and what must be there before the first request.

use std::collections::HashMap;
use std::time::Duration;

use hallpass_workflows::names::SEARCH_ATTRIBUTES;
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions, RetryOptions};
use temporalio_common::protos::temporal::api::enums::v1::IndexedValueType;
use temporalio_common::protos::temporal::api::operatorservice::v1::{
    AddSearchAttributesRequest, ListSearchAttributesRequest,
};

use crate::config::Temporal;

/// Temporal cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemporalError {
    #[error("cannot connect to Temporal at {address}; is it running?")]
    Connect {
        address: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
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

pub(crate) async fn connect(config: &Temporal) -> Result<Client, TemporalError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| TemporalError::Connect {
        address: config.address.to_string(),
        source,
    };
    let options = ConnectionOptions::new(config.address.clone())
        .identity(format!("hallpassd/{}", std::process::id()))
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
        ClientOptions::new(config.namespace.clone()).build(),
    )
    .map_err(|e| failed(e.into()))?;
    register_search_attributes(&client, &config.namespace).await?;
    Ok(client)
}

/// An attribute that the namespace lacks would block every workflow that sets it.
async fn register_search_attributes(client: &Client, namespace: &str) -> Result<(), TemporalError> {
    let failed = |source: tonic::Status| TemporalError::Namespace {
        namespace: namespace.to_owned(),
        source: source.into(),
    };
    let mut operator = client.connection().operator_service();
    let list = ListSearchAttributesRequest {
        namespace: namespace.to_owned(),
    };
    let known = operator
        .list_search_attributes(tonic::Request::new(list))
        .await
        .map_err(failed)?
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
    if missing.is_empty() {
        return Ok(());
    }
    let add = AddSearchAttributesRequest {
        search_attributes: missing,
        namespace: namespace.to_owned(),
    };
    match operator
        .add_search_attributes(tonic::Request::new(add))
        .await
    {
        Ok(_) => Ok(()),
        // Another replica was quicker.
        Err(status) if status.code() == tonic::Code::AlreadyExists => Ok(()),
        Err(status) => Err(failed(status)),
    }
}
