//! The keys that encrypt for Temporal and that KMS holds: does it make data keys, and open them?

use hallpass_codec::KeyService as _;

use super::{Finding, words};
use crate::config::{Config, KeyOrigin};
use crate::key_service::Kms;

pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let Some(encryption) = &config.temporal.encryption else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (name, origin) in &encryption.keys {
        let KeyOrigin::Kms(arn) = origin else {
            continue;
        };
        let what = format!("encryption key {name} {arn}");
        let kms = Kms::new(&config.aws, arn, &config.temporal.namespace);
        let opened = async {
            let fresh = kms.generate().await?;
            kms.open(&fresh.wrapped).await
        };
        findings.push(match opened.await {
            Ok(_) => Finding::right(what, "makes data keys and opens them"),
            Err(error) => {
                let cure = "enable the key, and let the service's identity kms:GenerateDataKey and \
                            kms:Decrypt with it";
                Finding::wrong(what, words(&error), cure)
            }
        });
    }
    findings
}
