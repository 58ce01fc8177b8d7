//! Wrong configurations: AWS, limits and the archive.

use super::Row;

pub(super) const WRONG: &[Row] = &[
    (
        "region = \"us-east-1\"",
        "",
        ["key `aws.region`", "is missing", "add it"],
    ),
    (
        "region = \"us-east-1\"",
        "region = \"us-east-1\"\nendpoint_url = \"localhost\"",
        [
            "`aws.endpoint_url`",
            "\"localhost\"",
            "write http://HOST:PORT",
        ],
    ),
    (
        "source = \"default_chain\"",
        "source = \"vault\"",
        ["`aws.credentials", "\"vault\"", "default_chain, static"],
    ),
    (
        "[aws.accounts.111122223333]",
        "[aws.accounts.1111]",
        ["`aws.accounts", "1111", "[aws.accounts.111122223333]"],
    ),
    (
        "arn:aws:iam::111122223333:role/hallpass-provisioner",
        "hallpass-provisioner",
        [
            "`aws.accounts.111122223333.provisioner_role_arn`",
            "\"hallpass-provisioner\"",
            "arn:aws:iam::ACCOUNT:role/NAME",
        ],
    ),
    (
        "arn:aws:iam::111122223333:role/hallpass-provisioner",
        "arn:aws:iam::444455556666:role/x",
        [
            "`aws.accounts.111122223333.provisioner_role_arn`",
            "444455556666",
            "role of this account",
        ],
    ),
    (
        "[aws.accounts.444455556666]",
        "[aws.accounts.777788889999]",
        ["`aws.accounts.", "777788889999", "role of this account"],
    ),
    (
        "calls_per_minute = 600",
        "calls_per_minute = 0",
        ["`limits.calls_per_minute`", "is 0", "above 0"],
    ),
    (
        "region = \"us-east-1\"",
        "region = \"us-east-1\"\nendpoint_url = \"http://:hunter2@127.0.0.1:1\"",
        ["`aws.endpoint_url`", "a user or a password", "only"],
    ),
    (
        "region = \"us-east-1\"",
        "region = \" \"",
        ["`aws.region`", "is empty", "us-east-1"],
    ),
    (
        "external_id = \"choose-a-random-one\"",
        "external_id = \"x\"",
        [
            "`aws.accounts.111122223333.external_id`",
            "has 1 characters",
            "2 to 1,224",
        ],
    ),
    (
        "external_id = \"choose-a-random-one\"",
        "external_id = \"one\"\nprevious_external_id = \"one\"",
        [
            "`aws.accounts.111122223333.previous_external_id`",
            "another external_id",
            "leave this out",
        ],
    ),
    (
        "external_id = \"choose-a-random-one\"",
        "external_id = \"one\"\nprevious_external_id = \"x\"",
        [
            "`aws.accounts.111122223333.previous_external_id`",
            "has 1 characters",
            "2 to 1,224",
        ],
    ),
    (
        "provisioner_role_arn = \"arn:aws:iam::111122223333:role/hallpass-provisioner\"",
        "",
        [
            "`aws.accounts.111122223333.external_id`",
            "without provisioner_role_arn",
            "leave it out",
        ],
    ),
    (
        "burst = 100",
        "burst = 0",
        ["`limits.burst`", "is 0", "above 0"],
    ),
    (
        "burst = 100",
        "burst = -1",
        ["`limits.burst`", "-1", "print-config"],
    ),
    (
        "log_name = \"hallpass/prod\"",
        "log_name = \"hallpass prod\"",
        [
            "`archive.log_name`",
            "\"hallpass prod\"",
            "without white space",
        ],
    ),
    (
        "interval_seconds = 30",
        "interval_seconds = 0",
        ["`archive.interval_seconds`", "is 0", "above 0"],
    ),
    (
        "kind = \"directory\"",
        "kind = \"ftp\"",
        ["`archive.store", "\"ftp\"", "directory, s3"],
    ),
    (
        "kind = \"directory\"\npath = \"{dir}\"",
        "kind = \"directory\"\npath = \"/no/archive\"",
        ["`archive.store.path`", "/no/archive", "make it"],
    ),
    (
        "kind = \"directory\"\npath = \"{dir}\"",
        "kind = \"s3\"\nbucket = \"\"",
        ["`archive.store.bucket`", "is empty", "name the bucket"],
    ),
    (
        "kind = \"directory\"\npath = \"{dir}\"",
        "kind = \"s3\"\nbucket = \"b\"\nobject_lock = { mode = \"governance\", days = 0 }",
        ["`archive.store.object_lock.days`", "is 0", "above 0"],
    ),
    (
        "kind = \"directory\"\npath = \"{dir}\"",
        "kind = \"s3\"\nbucket = \"b\"\nobject_lock = { mode = \"weak\", days = 1 }",
        ["`archive.store", "\"weak\"", "governance, compliance"],
    ),
];
