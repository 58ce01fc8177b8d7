//! The service's way into an account: its provisioner role, also while the external id is changed.

use aws_config::SdkConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::provider::{
    ProvideCredentials, Result as Provided, SharedCredentialsProvider, future,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;
use hallpass_types::RoleArn;

use crate::accounts::AccountAccess;
use crate::errors::provisioner_refusal;

/// How the service names its own session in a provisioner role.
const SESSION_NAME: &str = "hallpass";

/// Sessions of `role` for a service that has the identity of `base`.
pub(crate) async fn provider(
    base: &SdkConfig,
    role: &RoleArn,
    access: &AccountAccess,
) -> SharedCredentialsProvider {
    let present = assuming(base, role, access.external_id.as_deref()).await;
    match &access.previous_external_id {
        None => SharedCredentialsProvider::new(present),
        Some(previous) => SharedCredentialsProvider::new(Rotating {
            role: role.clone(),
            present,
            previous: assuming(base, role, Some(previous)).await,
        }),
    }
}

async fn assuming(
    base: &SdkConfig,
    role: &RoleArn,
    external_id: Option<&str>,
) -> AssumeRoleProvider {
    let mut provider = AssumeRoleProvider::builder(role.as_str())
        .session_name(SESSION_NAME)
        .configure(base);
    if let Some(id) = external_id {
        provider = provider.external_id(id);
    }
    provider.build().await
}

/// A role whose trust policy is being changed from one external id to another.
#[derive(Debug)]
struct Rotating {
    role: RoleArn,
    present: AssumeRoleProvider,
    previous: AssumeRoleProvider,
}

impl Rotating {
    async fn load(&self) -> Provided {
        let error = match self.present.provide_credentials().await {
            Err(error) => error,
            given => return given,
        };
        let denied = provisioner_refusal(&error).is_some_and(|e| e.code() == Some("AccessDenied"));
        if !denied {
            return Err(error);
        }
        let given = self.previous.provide_credentials().await;
        if given.is_ok() {
            let role = self.role.as_str();
            tracing::warn!(
                role,
                "only the previous external id opens the provisioner role"
            );
        }
        // What is said of the present id is what is to be mended.
        given.map_err(|_| error)
    }
}

impl ProvideCredentials for Rotating {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}
