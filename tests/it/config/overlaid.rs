//! The environment goes before the file, the command line before both.

use super::{Site, refusal, text};

use std::process::{Command, Output};

fn checked(site: &Site, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let file = site.dir.path().join("hallpassd.toml");
    std::fs::write(&file, &site.text).unwrap();
    Command::new(harness::binary("hallpassd"))
        .args(["--log", "info", "check-config", "--config"])
        .arg(&file)
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn a_flag_goes_before_a_variable_and_a_variable_before_the_file() {
    let site = Site::new();
    let namespace = ("HALLPASS__TEMPORAL__NAMESPACE", "");
    let said = refusal(&checked(&site, &[namespace], &[]));
    assert!(said.contains("`temporal.namespace` is empty"), "{said}");
    let set = ["--set", "temporal.namespace=other"];
    let right = checked(&site, &[namespace], &set);
    assert!(right.status.success(), "{}", text(&right.stderr));
    let said = text(&right.stdout);
    for over in [
        "temporal.namespace (HALLPASS__TEMPORAL__NAMESPACE)",
        "temporal.namespace (--set)",
    ] {
        assert!(said.contains(over), "{over}: {said}");
    }
}

#[test]
fn what_is_laid_over_is_checked_as_the_file_is_and_never_quoted() {
    let site = Site::new();
    for (set, parts) in [
        (
            "listen.adress=127.0.0.1:1",
            ["unknown key `listen.adress`", "did you mean `address`?"],
        ),
        (
            "limits.burst=many",
            ["`limits.burst` is \"many\"", "print-config"],
        ),
        ("deployment.x=1", ["`deployment`", "is no table"]),
    ] {
        let said = refusal(&checked(&site, &[], &["--set", set]));
        for part in parts {
            assert!(said.contains(part), "{set}: no {part:?} in {said}");
        }
        assert!(
            !said.contains(" line "),
            "it is no line of the file: {said}"
        );
    }
    let secret = ("HALLPASS__TEMPORAL__API_KEY", "hunter2hunter2");
    let said = refusal(&checked(&site, &[secret], &[]));
    assert!(!said.contains("hunter2"), "{said}");
    assert!(
        said.contains("`temporal.api_key` is not as it must be"),
        "{said}"
    );
    let flag = ["--set", "aws.credentials.secret_access_key=hunter2hunter2"];
    let said = refusal(&checked(&site, &[], &flag));
    assert!(said.contains("seen by everybody"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}
