//! What is different when a person sits there.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use hallpass_proto::v1::access_request::State;
use nix::pty::{Winsize, openpty};

use crate::fake::{ID, World, request};
use crate::run::User;

/// Runs on a terminal; says each answer when its question has come. Gives exit code and screen.
async fn sit(
    user: &User,
    arguments: &[&str],
    dialogue: &'static [(&'static str, &'static str)],
) -> (i32, String) {
    let size = Winsize {
        ws_row: 40,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = openpty(Some(&size), None).unwrap();
    let end = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut command = user.command(arguments);
    command.env("TERM", "xterm");
    let mut child = command
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .unwrap();
    // Only the child may hold its side, or the screen never ends.
    drop((command, pty.slave));
    let mut screen = File::from(pty.master);
    let reading = tokio::task::spawn_blocking(move || {
        let (mut seen, mut chunk) = (String::new(), [0; 4096]);
        let mut left = dialogue.iter();
        let mut next = left.next();
        // Linux ends a terminal whose other side is closed with an error.
        while let Ok(n @ 1..) = screen.read(&mut chunk) {
            seen.push_str(&String::from_utf8_lossy(&chunk[..n]));
            if let Some((question, answer)) = next
                && seen.contains(question)
            {
                screen.write_all(format!("{answer}\n").as_bytes()).unwrap();
                next = left.next();
            }
        }
        seen
    });
    let status = child.wait().await.unwrap();
    (status.code().unwrap(), reading.await.unwrap())
}

#[tokio::test]
async fn a_person_is_shown_the_plan_and_asked_first() {
    let world = World::new(State::AwaitingApproval);
    let user = User::with_token(&world.serve().await);
    let ask = ["request", "prod-db-admin", "--for", "10m"];
    let (code, screen) = sit(&user, &ask, &[("Why?", "stuck"), ("[y/N]", "n")]).await;
    assert_eq!(code, 130, "{screen}");
    assert!(screen.contains("WILL ASK"), "{screen}");
    assert_eq!(world.count("Create"), 0);
}

#[tokio::test]
async fn a_person_who_agrees_waits_for_the_answer() {
    let world = World::new(State::AwaitingApproval);
    let user = User::with_token(&world.serve().await);
    let ask = ["request", "prod-db-admin", "--for", "10m", "-m", "stuck"];
    let granting = async {
        world.called("Watch", 1).await;
        world.request.send_replace(request(State::Active, 2));
    };
    let ((code, screen), ()) = tokio::join!(sit(&user, &ask, &[("[y/N]", "y")]), granting);
    assert_eq!(code, 0, "{screen}");
    let id_at = screen.find(ID).unwrap();
    assert!(
        screen[id_at..].contains(&format!("hallpass watch {ID}")),
        "{screen}"
    );
    assert!(screen.contains(&format!("hallpass exec {ID}")), "{screen}");
}

#[tokio::test]
async fn tables_fit_and_colours_can_be_turned_off() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let (_, screen) = sit(&user, &["ls"], &[]).await;
    assert!(
        screen.lines().all(|l| l.trim_end().chars().count() <= 100),
        "{screen}"
    );
    let (_, screen) = sit(&user, &["show", ID], &[]).await;
    assert!(screen.contains("\u{1b}[32mactive\u{1b}[0m"), "{screen:?}");
    let (_, screen) = sit(&user.set("NO_COLOR", "1"), &["show", ID], &[]).await;
    assert!(!screen.contains('\u{1b}'), "{screen:?}");
}
