//! What a request chooses: values that narrow the access, a start, an end that is asked about first.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod parameters;
mod scheduled;

use std::path::Path;

use hallpass_proto::v1::CreateAccessRequestRequest;
use harness::{Clients, uuid};
use tonic::Status;

use hallpass_proto::v1::AccessRequest;

/// A folder of the sandbox's bucket, by name: through the shared role, and through a role of its own.
const FOLDERS: &str = r#"
[[entitlement]]
id = "folder"
title = "One folder of the reports"
account = "444455556666"
account_name = "sandbox"
environment = "dev"
region = "us-east-1"
risk = 0
owners = ["reports-owners"]
max_duration = "1h"
external_id = "hp-sandbox-reports-7f3a9c"
probe = { service = "s3", path = "/sandbox-reports?list-type=2&max-keys=1&prefix={{folder}}/" }

[entitlement.assume]
role_arn = "arn:aws:iam::444455556666:role/ReportsReader"
session_policy = '''
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::sandbox-reports/{{folder}}/*"},
  {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::sandbox-reports"}]}
'''

[[entitlement.parameter]]
name = "folder"
title = "Folder"
kind = "path"

[[entitlement]]
id = "own-folder"
title = "One folder of the reports, with a role of its own"
account = "444455556666"
account_name = "sandbox"
environment = "dev"
region = "us-east-1"
risk = 0
owners = ["reports-owners"]
max_duration = "1h"
probe = { service = "s3", path = "/sandbox-reports?list-type=2&max-keys=1" }

[entitlement.create]
permissions_boundary = "arn:aws:iam::444455556666:policy/hallpass-boundary"
permissions = '''
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::sandbox-reports/{{folder}}/*"},
  {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::sandbox-reports"}]}
'''

[[entitlement.parameter]]
name = "folder"
title = "Folder"
kind = "path"
default = "none"
"#;

/// Nobody asks for some folders.
const NO_PAYROLL: &str = r#"
@id("no-payroll")
@deny("Nobody reads payroll.")
forbid (principal, action == Hallpass::Action::"request", resource)
when {
  context.parameters.hasTag("folder") && context.parameters.getTag("folder") == "payroll"
};

@id("not-too-deep")
@deny("Not this deep.")
forbid (principal, action == Hallpass::Action::"activate", resource)
when {
  resource.parameters.hasTag("folder") && resource.parameters.getTag("folder") like "deep/*"
};
"#;

/// Adds the two entitlements and the policies about their folder to a pack.
pub(crate) fn add_folders(pack: &Path) {
    let entitlements = pack.join("entitlements.toml");
    let text = std::fs::read_to_string(&entitlements).unwrap();
    std::fs::write(&entitlements, format!("{text}\n{FOLDERS}")).unwrap();
    std::fs::write(pack.join("policies/30-folders.cedar"), NO_PAYROLL).unwrap();
}

async fn preview(clients: &Clients, body: AccessRequest) -> Result<AccessRequest, Status> {
    let request = CreateAccessRequestRequest {
        access_request: Some(body),
        request_id: uuid(),
        validate_only: true,
    };
    let answer = clients.access.clone().create_access_request(request).await;
    answer.map(tonic::Response::into_inner)
}
