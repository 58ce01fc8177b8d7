//! AWS names, parsed or refused.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{ParseIdError, string_id};

string_id!(
    /// A 12-digit AWS account number.
    AwsAccountId
);

impl AwsAccountId {
    /// Reads an account number.
    ///
    /// # Errors
    /// [`ParseIdError`] when it is not 12 digits.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseIdError::new(text, "a 12-digit AWS account number"))
        }
    }
}

string_id!(
    /// The ARN of an IAM role, `arn:{partition}:iam::{account}:role/{path}{name}`.
    RoleArn
);

impl RoleArn {
    /// Reads a role's ARN.
    ///
    /// # Errors
    /// [`ParseIdError`] when it is not one.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        iam_arn(text, "role").map(|_| Self(text.to_owned()))
    }

    /// The account that owns the role.
    pub fn account(&self) -> &str {
        self.0.split(':').nth(4).unwrap_or_default()
    }

    /// The partition: `aws`, `aws-cn` or `aws-us-gov`.
    pub fn partition(&self) -> &str {
        self.0.split(':').nth(1).unwrap_or_default()
    }

    /// The role's name, without its path.
    pub fn role_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Its path, which begins and ends with a slash.
    pub fn role_path(&self) -> &str {
        let resource = self.0.split_once(":role").map_or("", |(_, rest)| rest);
        let end = resource.len() - self.role_name().len();
        resource.get(..end).unwrap_or_default()
    }
}

string_id!(
    /// The ARN of a managed policy, `arn:{partition}:iam::{account or aws}:policy/{path}{name}`.
    PolicyArn
);

impl PolicyArn {
    /// Reads a managed policy's ARN.
    ///
    /// # Errors
    /// [`ParseIdError`] when it is not one.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        iam_arn(text, "policy").map(|_| Self(text.to_owned()))
    }
}

/// Checks an IAM ARN of `kind` and returns its account part.
fn iam_arn<'a>(text: &'a str, kind: &'static str) -> Result<&'a str, ParseIdError> {
    let expected = match kind {
        "role" => "an IAM role ARN",
        _ => "an IAM policy ARN",
    };
    let bad = || ParseIdError::new(text, expected);
    let mut parts = text.splitn(6, ':');
    let (arn, partition, service, region, account, resource) = (
        parts.next().ok_or_else(bad)?,
        parts.next().ok_or_else(bad)?,
        parts.next().ok_or_else(bad)?,
        parts.next().ok_or_else(bad)?,
        parts.next().ok_or_else(bad)?,
        parts.next().ok_or_else(bad)?,
    );
    let account_ok = AwsAccountId::parse(account).is_ok() || (kind == "policy" && account == "aws");
    let path = resource
        .strip_prefix(kind)
        .and_then(|r| r.strip_prefix('/'))
        .ok_or_else(bad)?;
    let name = path.rsplit('/').next().unwrap_or_default();
    let name_ok = (1..=128).contains(&name.len())
        && (kind != "role" || name.len() <= 64)
        && path.len() <= 640
        && path
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-/".contains(&b));
    let head = arn == "arn"
        && service == "iam"
        && region.is_empty()
        && ["aws", "aws-cn", "aws-us-gov"].contains(&partition);
    if head && account_ok && name_ok {
        Ok(account)
    } else {
        Err(bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn role_arns() {
        let arn = RoleArn::parse("arn:aws:iam::111122223333:role/team/deploy").unwrap();
        assert_eq!(
            (arn.account(), arn.role_name(), arn.partition()),
            ("111122223333", "deploy", "aws")
        );
        let bare = RoleArn::parse("arn:aws:iam::111122223333:role/deploy").unwrap();
        assert_eq!([arn.role_path(), bare.role_path()], ["/team/", "/"]);
        for bad in [
            "arn:aws:iam::11112222333:role/x",
            "arn:aws:iam::111122223333:user/x",
            "arn:aws:iam::111122223333:role/",
            "arn:aws:s3:::bucket",
            "arn:aws:iam::111122223333:role/a b",
            "arn:evil:iam::111122223333:role/x",
        ] {
            assert!(RoleArn::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn arns_never_panic(s in "arn:aws:iam::[0-9]{0,13}:(role|policy)/.{0,80}") {
            if let Ok(a) = RoleArn::parse(&s) { prop_assert_eq!(a.as_str(), &s); }
            if let Ok(a) = PolicyArn::parse(&s) { prop_assert_eq!(a.as_str(), &s); }
        }
    }
}
