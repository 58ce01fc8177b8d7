//! What the service's own identity needs, whatever it is: an instance's role, a pod's, a user.

use std::collections::BTreeSet;

use hallpass_types::RoleArn;

use super::{AccountSetup, PolicyDocument, Statement};
use crate::accounts::AwsConfig;
use crate::bucket::BucketConfig;
use crate::identity_center::IdentityStore;
use crate::trail::CloudTrailConfig;

/// What reads people out of Identity Center's store.
const DIRECTORY: [&str; 4] = [
    "identitystore:DescribeGroup",
    "identitystore:DescribeUser",
    "identitystore:GetUserId",
    "identitystore:ListGroupMembershipsForMember",
];

/// What wraps and opens data keys.
const DATA_KEYS: [&str; 2] = ["kms:Decrypt", "kms:GenerateDataKey"];

/// Everything that the service reaches with its own identity.
#[derive(Clone, Debug)]
pub struct ServiceSetup {
    /// `aws`, `aws-cn` or `aws-us-gov`.
    partition: String,
    /// ARNs of the roles that it becomes.
    roles: BTreeSet<String>,
    /// Accounts that it works in as itself.
    own: Vec<AccountSetup>,
    statements: Vec<Statement>,
}

impl ServiceSetup {
    /// With a way into each of the accounts. `own` are those without a role to become there, with the
    /// service's identity as theirs.
    pub fn new(aws: &AwsConfig, mut own: Vec<AccountSetup>) -> Self {
        let partition = aws.partition().to_owned();
        own.iter_mut()
            .for_each(|account| account.partition.clone_from(&partition));
        let provisioners = aws.served();
        let provisioners =
            provisioners.filter_map(|(_, access)| access.provisioner_role_arn.as_ref());
        let mut setup = Self {
            partition,
            roles: BTreeSet::new(),
            own,
            statements: Vec::new(),
        };
        setup.roles.extend(provisioners.map(RoleArn::to_string));
        setup
    }

    /// Wraps data keys with keys of KMS, in an encryption context of this name and value.
    #[must_use]
    pub fn encrypting(mut self, (name, value): (&str, &str), keys: &[&str]) -> Self {
        if !keys.is_empty() {
            let context = format!("kms:EncryptionContext:{name}");
            let use_keys = Statement::allow(&DATA_KEYS, keys).when("StringEquals", &context, value);
            self.statements.push(use_keys.named("WrapDataKeys"));
        }
        self
    }

    /// Keeps its archive in a bucket.
    #[must_use]
    pub fn archiving(mut self, bucket: &BucketConfig) -> Self {
        let mut write = vec!["s3:GetObject", "s3:PutObject"];
        write.extend(bucket.object_lock.map(|_| "s3:PutObjectRetention"));
        self.push_bucket((&bucket.bucket, &bucket.prefix), &write, "Archive");
        self
    }

    /// Reads what sessions did, out of a trail's bucket and by LookupEvents in each account of `aws`.
    #[must_use]
    pub fn reading(mut self, trail: &CloudTrailConfig, aws: &AwsConfig) -> Self {
        if let Some(trail) = &trail.trail {
            let prefix = format!("{}AWSLogs/", trail.prefix);
            self.push_bucket((&trail.bucket, &prefix), &["s3:GetObject"], "Trail");
        }
        if let Some(lookup) = &trail.lookup {
            let role = |account| lookup.role_arn(&self.partition, account);
            self.roles.extend(aws.accounts.keys().map(role));
        }
        self
    }

    /// Looks people up in Identity Center.
    #[must_use]
    pub fn looking_up(mut self, store: &IdentityStore) -> Self {
        match &store.role_arn {
            Some(role) => {
                self.roles.insert(role.to_string());
            }
            None => {
                let start = format!("arn:{}:identitystore:", self.partition);
                let store = format!("{start}:*:identitystore/{}", store.id);
                let parts = ["user/*", "group/*", "membership/*"];
                let parts = parts.map(|part| format!("{start}::{part}"));
                let resources = [&store, &parts[0], &parts[1], &parts[2]].map(String::as_str);
                let look = Statement::allow(&DIRECTORY, &resources);
                self.statements.push(look.named("FindPeople"));
            }
        }
        self
    }

    /// The policy of the service's role or user.
    pub fn permissions(&self) -> PolicyDocument {
        let mut statements = Vec::new();
        if !self.roles.is_empty() {
            let roles: Vec<&str> = self.roles.iter().map(String::as_str).collect();
            statements.push(Statement::allow(&["sts:AssumeRole"], &roles).named("BecomeRoles"));
        }
        statements.extend(self.statements.iter().cloned());
        for account in &self.own {
            let number = account.account.to_string();
            // Created roles trust it by an ARN that its session's ARN does not tell.
            if account.service_arn.contains(":role/") {
                let itself = Statement::allow(&["iam:GetRole"], &[&account.service_arn]);
                statements.push(itself.named(&format!("FindItself{number}")));
            }
            for statement in account.permissions().statements.into_vec() {
                let sid = statement.sid.clone().unwrap_or_default() + &number;
                statements.push(statement.named(&sid));
            }
        }
        PolicyDocument::new(statements)
    }

    fn push_bucket(&mut self, (bucket, prefix): (&str, &str), on_objects: &[&str], what: &str) {
        let bucket = format!("arn:{}:s3:::{bucket}", self.partition);
        let objects = format!("{bucket}/{prefix}*");
        // Without it S3 answers 403 for an object that is not there; a condition on the prefix would
        // not hold for that answer.
        let list = Statement::allow(&["s3:ListBucket"], &[&bucket]);
        self.statements.push(list.named(&format!("List{what}")));
        let use_objects = Statement::allow(on_objects, &[&objects]);
        let sid = format!("Use{what}");
        self.statements.push(use_objects.named(&sid));
    }
}

#[cfg(test)]
mod tests {
    use hallpass_types::AwsAccountId;
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::evaluate::{Answer, Call, evaluate};

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn aws(region: &str) -> AwsConfig {
        read(json!({
            "region": region,
            "accounts": { "111122223333": {
                "provisioner_role_arn": "arn:aws:iam::111122223333:role/hallpass-provisioner",
            } },
        }))
    }

    fn may(setup: &ServiceSetup, action: &str, resource: &str, namespace: &str) -> bool {
        let call = Call::new(action, resource, Timestamp::UNIX_EPOCH)
            .with("kms:EncryptionContext:namespace", namespace);
        evaluate(&[&setup.permissions()], &call) == Answer::Allowed
    }

    #[test]
    fn it_may_become_the_provisioners_and_nobody_else() {
        let setup = ServiceSetup::new(&aws("eu-west-1"), Vec::new());
        let becomes = |role: &str| may(&setup, "sts:AssumeRole", role, "");
        assert!(becomes(
            "arn:aws:iam::111122223333:role/hallpass-provisioner"
        ));
        assert!(!becomes("arn:aws:iam::111122223333:role/Admin"));
        assert!(!becomes(
            "arn:aws:iam::444455556666:role/hallpass-provisioner"
        ));
        assert_eq!(setup.permissions().statements.as_slice().len(), 1);
    }

    #[test]
    fn a_key_wraps_for_its_namespace_only() {
        let key = "arn:aws:kms:eu-west-1:111122223333:key/1";
        let setup = ServiceSetup::new(&aws("eu-west-1"), Vec::new())
            .encrypting(("namespace", "prod"), &[key]);
        assert!(may(&setup, "kms:GenerateDataKey", key, "prod"));
        assert!(may(&setup, "kms:Decrypt", key, "prod"));
        assert!(!may(&setup, "kms:Decrypt", key, "test"));
        assert!(!may(&setup, "kms:ScheduleKeyDeletion", key, "prod"));
    }

    #[test]
    fn buckets_are_written_and_read_below_their_prefix() {
        let bucket: BucketConfig = read(json!({
            "bucket": "kept", "prefix": "hallpass/",
            "object_lock": { "mode": "governance", "days": 400 },
        }));
        let trail: CloudTrailConfig = read(json!({
            "trail": { "bucket": "trails", "prefix": "org/" },
            "lookup": { "role": "/audit/hallpass-lookup" },
        }));
        let aws = aws("us-gov-west-1");
        let setup = ServiceSetup::new(&aws, Vec::new());
        let setup = setup.archiving(&bucket).reading(&trail, &aws);
        let may = |action, resource: &str| may(&setup, action, resource, "");
        let kept = "arn:aws-us-gov:s3:::kept";
        for action in ["s3:GetObject", "s3:PutObject", "s3:PutObjectRetention"] {
            assert!(may(action, &format!("{kept}/hallpass/x")), "{action}");
            assert!(!may(action, &format!("{kept}/other/x")), "{action}");
        }
        for action in ["s3:DeleteObject", "s3:BypassGovernanceRetention"] {
            assert!(!may(action, &format!("{kept}/hallpass/x")), "{action}");
        }
        assert!(may("s3:ListBucket", kept));
        let trails = "arn:aws-us-gov:s3:::trails/org/AWSLogs/1/x";
        assert!(may("s3:GetObject", trails) && !may("s3:PutObject", trails));
        let lookup = "arn:aws-us-gov:iam::111122223333:role/audit/hallpass-lookup";
        assert!(may("sts:AssumeRole", lookup));
    }

    #[test]
    fn where_it_is_its_own_provisioner_it_has_that_roles_rights() {
        let account = AwsAccountId::parse("444455556666").unwrap();
        let itself = "arn:aws-cn:iam::444455556666:role/hallpass";
        let mut own = AccountSetup::new(account, "", itself);
        let shared = "arn:aws-cn:iam::444455556666:role/Reader";
        own.shared_roles.insert(shared.to_owned());
        let setup = ServiceSetup::new(&aws("cn-north-1"), vec![own]);
        assert!(may(&setup, "sts:AssumeRole", shared, ""));
        assert!(may(&setup, "iam:GetRole", itself, ""));
        let made = "arn:aws-cn:iam::444455556666:role/hallpass/hallpass-ar-1";
        assert!(may(&setup, "iam:DeleteRole", made, ""));
        assert!(!may(&setup, "iam:AttachRolePolicy", shared, ""));
        let sids = setup.permissions().statements.into_vec();
        let sids: BTreeSet<_> = sids.into_iter().filter_map(|s| s.sid).collect();
        assert!(sids.contains("UseRoles444455556666"), "{sids:?}");
    }

    #[test]
    fn identity_center_is_read_as_itself_or_through_a_role() {
        let store = |role: Value| -> IdentityStore {
            read(json!({ "id": "d-1", "region": "eu-west-1", "role_arn": role }))
        };
        let setup = ServiceSetup::new(&aws("eu-west-1"), Vec::new());
        let itself = setup.clone().looking_up(&store(Value::Null));
        let people = |id: &str| format!("arn:aws:identitystore::111122223333:identitystore/{id}");
        assert!(may(&itself, "identitystore:GetUserId", &people("d-1"), ""));
        assert!(!may(&itself, "identitystore:GetUserId", &people("d-2"), ""));
        let role = "arn:aws:iam::999988887777:role/people";
        let through = setup.looking_up(&store(role.into()));
        assert!(!may(
            &through,
            "identitystore:GetUserId",
            &people("d-1"),
            ""
        ));
        assert!(may(&through, "sts:AssumeRole", role, ""));
    }
}
