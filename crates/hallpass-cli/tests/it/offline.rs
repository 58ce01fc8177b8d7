//! What needs no server, or asks it least: `time`, `check`, `man`.

use hallpass_proto::v1::access_request::State;

use crate::fake::{ID, World, request};
use crate::run::User;

#[tokio::test]
async fn the_time_left_is_told_from_memory() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let none = user.run(&["time"]).await;
    assert_eq!((none.code, none.out.as_str()), (3, ""), "{none:?}");
    let checked = user.run(&["check", ID]).await;
    assert_eq!((checked.code, checked.out), (0, format!("{ID}\n")));
    let others = user.run(&["time"]).await;
    assert_eq!(
        others.code, 3,
        "looking at a request does not make it one's own"
    );
    assert_eq!(user.run(&["creds", ID]).await.code, 0);
    let calls = world.calls.borrow().len();
    for arguments in [&["time"][..], &["time", ID], &["time", "prod-db-admin"]] {
        let ran = user.run(arguments).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(
            ran.out.starts_with("prod-db-admin ") && ran.out.lines().count() == 1,
            "{ran:?}"
        );
    }
    let ran = user.run(&["time", "-o", "json"]).await;
    assert_eq!(ran.json()[0]["endTime"], "2096-10-02T07:16:40Z");
    assert_eq!(user.run(&["time", "dev-read"]).await.code, 3);
    assert_eq!(world.calls.borrow().len(), calls, "nobody was asked");
    world.request.send_replace(request(State::Ended, 2));
    assert_eq!(user.run(&["check", ID]).await.code, 3);
    assert_eq!(user.run(&["time"]).await.code, 3);
}

#[tokio::test]
async fn checking_tells_by_exit_code_what_it_is_instead() {
    for (state, code) in [
        (State::Active, 0),
        (State::AwaitingApproval, 6),
        (State::Denied, 2),
        (State::Ended, 3),
    ] {
        let world = World::new(state);
        let user = User::with_token(&world.serve().await);
        assert_eq!(user.run(&["check", ID]).await.code, code, "{state:?}");
        let other = user.run(&["check", "dev-read"]).await;
        assert_eq!(other.code, 3, "{other:?}");
    }
}

#[tokio::test]
async fn each_command_has_a_manual_page() {
    let user = User::new("");
    let ran = user.run(&["man"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for part in [
        ".TH hallpass 1",
        "credential\\-process",
        "EXIT STATUS",
        "SEE ALSO",
        "HALLPASS_TOKEN",
    ] {
        assert!(
            ran.out.to_uppercase().contains(&part.to_uppercase()),
            "{part}"
        );
    }
    let folder = user.home().join("man1");
    let ran = user.run(&["man", "--dir", &folder.to_string_lossy()]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for page in ["hallpass.1", "hallpass-request.1", "hallpass-admin-sweep.1"] {
        assert!(folder.join(page).is_file(), "{page}");
    }
}
