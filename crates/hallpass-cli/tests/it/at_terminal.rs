//! What is different when a person sits there.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use hallpass_proto::v1::access_request::State;
use nix::pty::{Winsize, openpty};
use nix::unistd::ttyname;

use crate::fake::{ID, World, request};
use crate::run::User;

/// What is typed, as it is, once something has appeared.
type Dialogue = &'static [(&'static str, &'static str)];

/// Runs on a terminal of so many columns. Gives exit code and screen.
async fn sit_at(
    columns: u16,
    user: &User,
    arguments: &[&str],
    dialogue: Dialogue,
) -> (i32, String) {
    let size = Winsize {
        ws_row: 40,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = openpty(Some(&size), None).unwrap();
    let device = ttyname(&pty.slave).unwrap();
    let end = || Stdio::from(pty.slave.try_clone().unwrap());
    // A session of its own, so that Ctrl-C on this terminal is a signal.
    let mut command = user.command_by("setsid", &["--ctty", "--wait"], arguments);
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
        let (mut seen, mut chunk, mut from) = (String::new(), [0; 4096], 0);
        let mut left = dialogue.iter();
        let mut next = left.next();
        // Linux ends a terminal whose other side is closed with an error.
        while let Ok(n @ 1..) = screen.read(&mut chunk) {
            seen.push_str(&String::from_utf8_lossy(&chunk[..n]));
            while let Some((question, answer)) = next
                && let Some(at) = seen[from..].find(question)
            {
                from += at + question.len();
                match answer.strip_prefix("resize:") {
                    Some(columns) => {
                        let mut stty = std::process::Command::new("stty");
                        stty.arg("-F").arg(&device).args(["cols", columns]);
                        assert!(stty.status().unwrap().success());
                    }
                    None => screen.write_all(answer.as_bytes()).unwrap(),
                }
                next = left.next();
            }
        }
        seen
    });
    let status = child.wait().await.unwrap();
    (status.code().unwrap(), reading.await.unwrap())
}

async fn sit(user: &User, arguments: &[&str], dialogue: Dialogue) -> (i32, String) {
    sit_at(100, user, arguments, dialogue).await
}

/// The screen's lines without colours and movements of the cursor.
fn plain(screen: &str) -> Vec<String> {
    let mut text = String::new();
    let mut rest = screen.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            rest.find(|c| c.is_ascii_alphabetic());
        } else {
            text.push(c);
        }
    }
    let lines = text.split(['\n', '\r']).map(str::trim_end);
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_person_is_shown_the_plan_and_asked_first() {
    let world = World::new(State::AwaitingApproval);
    let user = User::with_token(&world.serve().await);
    let ask = ["request", "prod-db-admin", "--for", "10m"];
    let (code, screen) = sit(&user, &ask, &[("Why?", "stuck\n"), ("[y/N]", "n\n")]).await;
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
    let ((code, screen), ()) = tokio::join!(sit(&user, &ask, &[("[y/N]", "y\n")]), granting);
    assert_eq!(code, 0, "{screen}");
    let id_at = screen.find(ID).unwrap();
    assert!(
        screen[id_at..].contains(&format!("hallpass watch {ID}")),
        "{screen}"
    );
    assert!(screen.contains(&format!("hallpass exec {ID}")), "{screen}");
}

#[tokio::test]
async fn what_to_ask_for_is_chosen_by_typing_part_of_it() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let choose: Dialogue = &[
        ("Type to narrow", "dbad"),
        ("prod-db-admin", "\r"),
        ("[y/N]", "y\n"),
    ];
    let ask = ["request", "--for", "10m", "-m", "stuck", "--no-wait"];
    let (code, screen) = sit(&user, &ask, choose).await;
    assert_eq!(code, 0, "{screen}");
    assert!(plain(&screen).iter().any(|l| l.trim() == ID), "{screen}");
    assert_eq!(world.count("Create"), 1);
    // Escape leaves without asking.
    let (code, screen) = sit(&user, &ask, &[("Type to narrow", "\u{1b}")]).await;
    assert_eq!(code, 130, "{screen}");
    assert_eq!(world.count("Create"), 1);
}

#[tokio::test]
async fn one_of_the_callers_requests_is_chosen_where_none_is_named() {
    let world = World::new(State::Active);
    *world.open.lock().unwrap() = vec![request(State::Active, 1)];
    let user = User::with_token(&world.serve().await);
    for command in [&["show"][..], &["exec", "--", "echo", ID]] {
        let choose: Dialogue = &[("Type to narrow", "prod\r")];
        let (code, screen) = sit(&user, command, choose).await;
        assert_eq!(code, 0, "{screen}");
        let (code, screen) = sit(&user, command, &[("Type to narrow", "\u{1b}")]).await;
        assert_eq!(code, 130, "{screen}");
        let piped = user.run(command).await;
        assert_eq!((piped.code, piped.out.as_str()), (64, ""), "{piped:?}");
    }
    assert_eq!(world.count("Issue"), 1);
}

#[tokio::test]
async fn ctrl_c_leaves_the_request_and_says_how_to_resume() {
    let world = World::new(State::AwaitingApproval);
    let user = User::with_token(&world.serve().await);
    let ask = [
        "request",
        "prod-db-admin",
        "--for",
        "10m",
        "-m",
        "stuck",
        "-y",
    ];
    let (code, screen) = sit(&user, &ask, &[("needs 1 owner (", "\u{3}")]).await;
    assert_eq!(code, 130, "{screen}");
    let resume = format!("the request stays. To go on waiting: hallpass watch {ID}");
    assert!(
        plain(&screen).iter().any(|l| l.contains(&resume)),
        "{screen}"
    );
    assert_eq!(world.count("Withdraw"), 0);
}

#[tokio::test]
async fn going_on_after_ctrl_c_waits_for_the_same_moment() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let wait = ["watch", ID, "--until", "end"];
    let (code, screen) = sit(&user, &wait, &[("(in ", "\u{3}")]).await;
    assert_eq!(code, 130, "{screen}");
    let resume = format!("To go on waiting: hallpass watch {ID} --until end");
    assert!(
        plain(&screen).iter().any(|l| l.contains(&resume)),
        "{screen}"
    );
}

#[tokio::test]
async fn a_wait_goes_on_when_the_terminal_is_resized() {
    let world = World::new(State::AwaitingApproval);
    let user = User::with_token(&world.serve().await);
    let dialogue: Dialogue = &[("needs 1 owner (", "resize:40")];
    let granting = async {
        world.called("Watch", 1).await;
        world
            .request
            .send_replace(request(State::AwaitingApproval, 2));
        world.request.send_replace(request(State::Active, 3));
    };
    let watching = sit(&user, &["watch", ID], dialogue);
    let ((code, screen), ()) = tokio::join!(watching, granting);
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("active"), "{screen}");
}

#[tokio::test]
async fn tables_fit_narrow_and_wide_terminals_and_ids_stay_whole() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    for columns in [80, 200] {
        for command in [
            &["ls"][..],
            &["queue"],
            &["entitlements"],
            &["timeline", ID],
        ] {
            let (code, screen) = sit_at(columns, &user, command, &[]).await;
            assert_eq!(code, 0, "{screen}");
            let lines = plain(&screen);
            let widest = lines.iter().map(|l| l.chars().count()).max().unwrap();
            assert!(
                widest <= usize::from(columns),
                "{columns} {command:?} {screen}"
            );
            if ["ls", "queue"].contains(&command[0]) {
                assert!(lines.iter().any(|l| l.contains(ID)), "{screen}");
            }
        }
    }
}

#[tokio::test]
async fn colours_are_on_a_terminal_alone_and_can_be_turned_off() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let (_, screen) = sit(&user, &["show", ID], &[]).await;
    assert!(screen.contains("\u{1b}[32mactive\u{1b}[0m"), "{screen:?}");
    let piped = user.run(&["show", ID]).await;
    assert!(
        piped.out.contains("active") && !piped.out.contains('\u{1b}'),
        "{piped:?}"
    );
    let (_, screen) = sit(&user.set("NO_COLOR", "1"), &["show", ID], &[]).await;
    assert!(!screen.contains('\u{1b}'), "{screen:?}");
}

#[tokio::test]
async fn nobody_is_asked_in_a_pipe() {
    let world = World::new(State::AwaitingApproval);
    let user = User::with_token(&world.serve().await);
    for (arguments, code) in [
        (&["request", "-m", "stuck"][..], 64),
        (&["request", "prod-db-admin"], 64),
        (&["exec", "prod-db-admin", "--", "true"], 3),
        (&["request", "prod-db-admin", "-m", "stuck"], 6),
    ] {
        let ran = user.run_with_stdin(arguments, "y\ny\ny\n").await;
        assert_eq!(ran.code, code, "{ran:?}");
        let said = format!("{}{}", ran.out, ran.err);
        assert!(!said.contains("[y/N]") && !said.contains("Why?"), "{ran:?}");
    }
}
