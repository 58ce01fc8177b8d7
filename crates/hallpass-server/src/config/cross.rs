//! What the tables of a configuration must not say together, and what no log may quote.

use super::{Config, ConfigError, wrong};

/// Characters of an external id, as STS takes them.
const EXTERNAL_ID: std::ops::RangeInclusive<usize> = 2..=1224;

impl Config {
    pub(super) fn check_across(&self) -> Result<(), ConfigError> {
        without_password("temporal.address", Some(&self.temporal.address))?;
        let endpoint = self.aws.endpoint_url.as_deref();
        let endpoint = endpoint.and_then(|text| url::Url::parse(text).ok());
        without_password("aws.endpoint_url", endpoint.as_ref())?;
        self.check_doors()?;
        self.check_delegation()?;
        self.check_external_ids()
    }

    /// One address for two doors would be found out only when the second is opened.
    fn check_doors(&self) -> Result<(), ConfigError> {
        let observe = self.observe.as_ref().map(|o| o.address);
        let codec = self.codec_endpoint.as_ref().map(|c| c.address);
        let doors = [
            ("listen.address", Some(self.listen.address)),
            ("observe.address", observe),
            ("codec_endpoint.address", codec),
        ];
        for (n, (key, address)) in doors.iter().enumerate() {
            // Port 0 is another one each time.
            let Some(address) = address.filter(|a| a.port() != 0) else {
                continue;
            };
            if let Some((other, _)) = doors[..n].iter().find(|(_, a)| *a == Some(address)) {
                let problem = format!("is {address}, which `{other}` is as well");
                return wrong(key, problem, "give each a port of its own");
            }
        }
        Ok(())
    }

    fn check_delegation(&self) -> Result<(), ConfigError> {
        for (n, issuer) in self.issuers.iter().enumerate() {
            let Some(other) = &issuer.acting_for_issuer else {
                continue;
            };
            if !self.issuers.iter().any(|i| i.issuer == *other) {
                let key = format!("issuers[{n}].acting_for_issuer");
                let problem = format!("is \"{other}\", which is none of the issuers");
                let cure = "name the `issuer` of one of the [[issuers]] tables";
                return wrong(&key, problem, cure);
            }
        }
        Ok(())
    }

    fn check_external_ids(&self) -> Result<(), ConfigError> {
        for (account, access) in &self.aws.accounts {
            let (present, previous) = (&access.external_id, &access.previous_external_id);
            if previous.is_some() && (present.is_none() || present == previous) {
                let problem = "is not one that another external_id replaces".to_owned();
                let cure = "write the new one as external_id, or leave this out";
                let key = format!("aws.accounts.{account}.previous_external_id");
                return wrong(&key, problem, cure);
            }
            for (key, id) in [("external_id", present), ("previous_external_id", previous)] {
                let length = id.as_ref().map(|id| id.chars().count());
                if let Some(length) = length.filter(|n| !EXTERNAL_ID.contains(n)) {
                    let problem = format!("has {length} characters");
                    let cure = "AWS takes 2 to 1,224: write those of the role's trust policy";
                    return wrong(&format!("aws.accounts.{account}.{key}"), problem, cure);
                }
            }
        }
        Ok(())
    }
}

/// A password in a URL ends up in logs; the refusal does not quote it.
fn without_password(key: &str, url: Option<&url::Url>) -> Result<(), ConfigError> {
    let names_somebody = |url: &url::Url| !url.username().is_empty() || url.password().is_some();
    if url.is_some_and(names_somebody) {
        let problem = "has a user or a password in it".to_owned();
        return wrong(key, problem, "write scheme, host and port only");
    }
    Ok(())
}
