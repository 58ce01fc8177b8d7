//! `configure`: profiles between markers, and nothing else in the file.

use std::os::unix::fs::PermissionsExt as _;

use hallpass_proto::v1::access_request::State;

use crate::fake::World;
use crate::run::User;

#[tokio::test]
async fn profiles_for_all_that_may_be_asked_for_are_written_once() {
    let world = World::new(State::Active);
    let server = world.serve().await;
    let user = User::with_token(&server);
    let ran = user.run(&["configure"]).await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "dev-read\nprod-db-admin\n"),
        "{ran:?}"
    );
    let path = user.home().join(".aws/config");
    let text = std::fs::read_to_string(&path).unwrap();
    let exe = env!("CARGO_BIN_EXE_hallpass");
    assert!(
        text.contains(&format!(
            "[profile prod-db-admin]\n# prod-db-admin\n\
             credential_process = {exe} --server {server} credential-process prod-db-admin\n\
             region = eu-central-1\n"
        )),
        "{text}"
    );
    assert!(!text.contains("t0ken"), "{text}");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let again = user.run(&["configure", "-o", "json"]).await;
    assert_eq!(again.json()[0]["written"], false, "{again:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn what_the_user_wrote_stays_and_a_link_stays_a_link() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let mine = "[default]\nregion = x\n\n[profile work]\nrole_arn = y";
    let file = user.home().join("dotfiles-config");
    let link = user.home().join("config-link");
    std::fs::write(&file, mine).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let user = user.set("AWS_CONFIG_FILE", &link.to_string_lossy());
    let write = ["configure", "prod-db-admin", "--profile", "db"];
    assert_eq!(user.run(&write).await.out, "db\n");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.starts_with(mine) && text.contains("[profile db]\n"),
        "{text}"
    );
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    assert!(link.symlink_metadata().unwrap().is_symlink());
    let ran = user.run(&["configure", "--remove"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.trim_end(), mine);
}

#[tokio::test]
async fn a_dry_run_prints_the_file_and_writes_nothing() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let ran = user.run(&["configure", "dev-read", "--dry-run"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("[profile dev-read]\n"), "{ran:?}");
    assert!(!user.home().join(".aws").exists());
}

#[tokio::test]
async fn a_profile_of_the_users_own_or_broken_markers_stop_it() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let folder = user.home().join(".aws");
    std::fs::create_dir(&folder).unwrap();
    for (text, words) in [
        (
            "[profile dev-read]\nregion = x\n",
            "a profile dev-read that hallpass did not write",
        ),
        ("# BEGIN hallpass\n", "not in pairs: line 1"),
    ] {
        std::fs::write(folder.join("config"), text).unwrap();
        let ran = user.run(&["configure", "dev-read"]).await;
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
        assert!(ran.err.contains(words), "{ran:?}");
        assert_eq!(
            std::fs::read_to_string(folder.join("config")).unwrap(),
            text
        );
    }
    std::fs::remove_file(folder.join("config")).unwrap();
    assert_eq!(user.run(&["configure", "no-such"]).await.code, 64);
    assert_eq!(user.run(&["configure", "--profile", "x"]).await.code, 64);
}
