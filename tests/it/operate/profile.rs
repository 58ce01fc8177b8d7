//! Temporal's own file of profiles says where it is, and its variables go before the file.

use std::os::unix::fs::PermissionsExt as _;

use harness::{Private, issue};

#[tokio::test]
async fn a_profile_that_temporals_tools_share_is_enough() {
    let mut world = Private::start().await;
    let file = world.dir().join("temporal.toml");
    world.configure(|config| {
        let temporal = config["temporal"].as_table_mut().unwrap();
        let address = temporal.remove("address").unwrap();
        let address = address.as_str().unwrap().trim_start_matches("http://");
        let namespace = temporal.remove("namespace").unwrap();
        let text = format!(
            "[profile.prod]\naddress = \"{address}\"\nnamespace = {namespace}\n\
             [profile.prod.grpc_meta]\nauthorization = \"hunter2\"\n"
        );
        std::fs::write(&file, text).unwrap();
        let profile = [
            ("file".to_owned(), file.display().to_string().into()),
            ("name".to_owned(), "prod".into()),
        ];
        let profile = toml::Table::from_iter(profile);
        temporal.insert("profile".to_owned(), profile.into());
    });
    let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode));
    mode(0o644).unwrap();
    let refused = world.hallpassd(&["check-config"]).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("chmod 600"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    mode(0o600).unwrap();
    let refused = world.hallpassd(&["check-config"]).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("travel in the clear"), "{said}");
    let text = std::fs::read_to_string(&file).unwrap();
    let (without, _) = text.split_once("[profile.prod.grpc_meta]").unwrap();
    std::fs::write(&file, without).unwrap();

    let service = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-reports", 60).await.unwrap();
    issue(&alice, &request.name).await.unwrap();
    service.terminate().await;

    world.set_environment("TEMPORAL_NAMESPACE", "nowhere");
    let checked = world.hallpassd(&["check"]).await;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("namespace nowhere"), "{said}");
}
