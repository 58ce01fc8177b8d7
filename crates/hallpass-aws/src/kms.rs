//! Data keys of AWS KMS: made and opened by a key that never leaves it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use aws_smithy_types::base64;
use serde::{Deserialize, Deserializer};
use tokio::sync::OnceCell;
use zeroize::{Zeroize as _, Zeroizing};

use crate::accounts::{AwsConfig, secret};
use crate::errors::{AwsError, ErrorClass};
use crate::own::Own;
use crate::signed::{SignedAnswer, SignedRequest};

/// An answer with a data key is far shorter.
const ANSWER_BYTES: usize = 32 * 1024;

/// The ARN of a KMS key; no alias, which may name another key tomorrow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KmsKeyArn {
    arn: String,
    region: String,
}

/// A text that is no ARN of a KMS key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no ARN of a KMS key: write arn:aws:kms:REGION:ACCOUNT:key/ID, and no alias")]
pub struct ParseKmsKeyArnError;

impl KmsKeyArn {
    /// The ARN as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.arn
    }
}

impl FromStr for KmsKeyArn {
    type Err = ParseKmsKeyArnError;

    fn from_str(text: &str) -> Result<Self, ParseKmsKeyArnError> {
        let parts: Vec<_> = text.split(':').collect();
        let ["arn", partition, "kms", region, account, key] = parts[..] else {
            return Err(ParseKmsKeyArnError);
        };
        let word = |text: &str| {
            let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            (1..=64).contains(&text.len()) && text.chars().all(legal)
        };
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        let is_key = key.strip_prefix("key/").is_some_and(word);
        if !(partition.starts_with("aws") && word(partition) && word(region)) {
            return Err(ParseKmsKeyArnError);
        }
        match is_account && is_key {
            true => Ok(Self {
                arn: text.to_owned(),
                region: region.to_owned(),
            }),
            false => Err(ParseKmsKeyArnError),
        }
    }
}

impl fmt::Display for KmsKeyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arn)
    }
}

impl<'de> Deserialize<'de> for KmsKeyArn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One KMS key, asked as the service itself.
#[derive(Debug)]
pub struct KmsKey {
    aws: AwsConfig,
    arn: KmsKeyArn,
    /// What every data key is bound to; it stands in CloudTrail.
    context: BTreeMap<String, String>,
    own: OnceCell<Own>,
}

/// A new data key. It cannot be printed or serialized.
pub struct NewDataKey {
    /// In the clear.
    pub clear: Zeroizing<[u8; 32]>,
    /// As only KMS opens it.
    pub wrapped: Vec<u8>,
}

impl fmt::Debug for NewDataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewDataKey").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(deserialize_with = "secret")]
    plaintext: Zeroizing<String>,
    #[serde(default)]
    ciphertext_blob: Option<String>,
}

impl KmsKey {
    /// Prepares; nothing is sent, and credentials are looked for with the first call.
    #[must_use]
    pub fn new(aws: AwsConfig, arn: KmsKeyArn, context: BTreeMap<String, String>) -> Self {
        Self {
            aws,
            arn,
            context,
            own: OnceCell::new(),
        }
    }

    /// Which key.
    #[must_use]
    pub fn arn(&self) -> &KmsKeyArn {
        &self.arn
    }

    /// A new data key of 32 bytes (`GenerateDataKey`).
    ///
    /// # Errors
    /// [`AwsError`] when KMS refuses or does not answer.
    pub async fn generate(&self) -> Result<NewDataKey, AwsError> {
        let operation = "GenerateDataKey";
        let body = serde_json::json!({
            "KeyId": self.arn.as_str(),
            "KeySpec": "AES_256",
            "EncryptionContext": self.context,
        });
        let answer = self.call(operation, &body).await?;
        let wrapped = answer.ciphertext_blob.as_deref().map(base64::decode);
        let Some(Ok(wrapped)) = wrapped else {
            return Err(unreadable(operation));
        };
        Ok(NewDataKey {
            clear: data_key(operation, &answer)?,
            wrapped,
        })
    }

    /// Opens a data key that this key wrapped (`Decrypt`).
    ///
    /// # Errors
    /// [`AwsError`] when KMS refuses or does not answer.
    pub async fn open(&self, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, AwsError> {
        let operation = "Decrypt";
        let body = serde_json::json!({
            "KeyId": self.arn.as_str(),
            "CiphertextBlob": base64::encode(wrapped),
            "EncryptionContext": self.context,
        });
        let answer = self.call(operation, &body).await?;
        data_key(operation, &answer)
    }

    async fn call(
        &self,
        operation: &'static str,
        body: &serde_json::Value,
    ) -> Result<Answer, AwsError> {
        let own = self.own.get_or_try_init(|| Own::new(&self.aws)).await?;
        let request = SignedRequest {
            method: http::Method::POST,
            headers: vec![
                ("content-type", "application/x-amz-json-1.1".to_owned()),
                ("x-amz-target", format!("TrentService.{operation}")),
            ],
            body: body.to_string().into_bytes(),
            most_bytes: ANSWER_BYTES,
            ..SignedRequest::get("kms", &self.arn.region, "/")
        };
        let mut answer = own.send(request).await?;
        if answer.status != 200 {
            return Err(refused(operation, &answer));
        }
        let read = serde_json::from_slice(&answer.body);
        answer.body.zeroize();
        read.map_err(|_| unreadable(operation))
    }
}

/// The error of a parser would quote what it could not read.
fn unreadable(operation: &'static str) -> AwsError {
    let message = "the answer holds no data key of 32 bytes";
    AwsError::found(operation, ErrorClass::Retry, message)
}

fn data_key(operation: &'static str, answer: &Answer) -> Result<Zeroizing<[u8; 32]>, AwsError> {
    let bytes = base64::decode(answer.plaintext.as_str()).map(Zeroizing::new);
    let bytes = bytes.map_err(|_| unreadable(operation))?;
    let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| unreadable(operation))?;
    Ok(Zeroizing::new(bytes))
}

fn refused(operation: &'static str, answer: &SignedAnswer) -> AwsError {
    let class = match answer.status {
        400..=499 => ErrorClass::Alarm,
        _ => ErrorClass::Retry,
    };
    let said: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
    let said = said.as_ref().and_then(|s| {
        let message = s.get("message").or_else(|| s.get("Message"));
        message?.as_str()
    });
    AwsError::found(operation, class, said.unwrap_or("KMS gave no reason"))
        .marked(answer.code.clone(), answer.request_id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    #[test]
    fn arns_of_keys_are_taken_and_everything_else_refused() {
        let arn: KmsKeyArn = ARN.parse().unwrap();
        assert_eq!((arn.as_str(), arn.region.as_str()), (ARN, "eu-west-1"));
        let multi = "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-12";
        assert!(multi.parse::<KmsKeyArn>().is_ok());
        for wrong in [
            "",
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws:kms:eu-west-1:111122223333:alias/hallpass",
            "arn:aws:kms:eu-west-1:1111:key/1",
            "arn:aws:kms::111122223333:key/1",
            "arn:aws:kms:evil.example.com/:111122223333:key/1",
            "arn:aws:s3:eu-west-1:111122223333:key/1",
            "arn:aws:kms:eu-west-1:111122223333:key/",
            "arn:aws:kms:eu-west-1:111122223333:key/1:2",
        ] {
            assert_eq!(
                wrong.parse::<KmsKeyArn>(),
                Err(ParseKmsKeyArnError),
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_answer_without_a_whole_key_is_refused_and_never_quoted() {
        let answer = |plaintext: &str| Answer {
            plaintext: Zeroizing::new(plaintext.to_owned()),
            ciphertext_blob: None,
        };
        let key = base64::encode([5; 32]);
        assert_eq!(*data_key("Decrypt", &answer(&key)).unwrap(), [5; 32]);
        let short = base64::encode([5; 16]);
        for wrong in ["", "secret-and-no-base-64", short.as_str()] {
            let refused = data_key("Decrypt", &answer(wrong)).unwrap_err();
            assert!(wrong.is_empty() || !format!("{refused:?}").contains(wrong));
        }
    }

    #[test]
    fn what_kms_says_is_told() {
        let answer = SignedAnswer {
            status: 400,
            code: Some("DisabledException".to_owned()),
            request_id: None,
            etag: None,
            body: br#"{"__type":"DisabledException","message":"key is disabled."}"#.to_vec(),
        };
        let refused = refused("Decrypt", &answer);
        assert_eq!(
            refused.to_string(),
            "Decrypt: key is disabled. (DisabledException)"
        );
        assert_eq!(refused.class, ErrorClass::Alarm);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(arn:aws:kms:)?[a-z0-9:/-]{0,60}") {
            if let Ok(arn) = text.parse::<KmsKeyArn>() { prop_assert_eq!(arn.as_str(), text); }
        }
    }
}
