//! The proxy between a client and what answers: what passes, what breaks, what is counted.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hallpass_faults::{Fault, FaultProxy, Lag, Reads, Rule, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const SESSION: &str = "<Credentials><AccessKeyId>ASIA7</AccessKeyId></Credentials>";

/// What the upstream got, each as head and body.
type Heard = Arc<Mutex<Vec<(String, String)>>>;

async fn upstream() -> (SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, heard) = (listener.local_addr().unwrap(), Heard::default());
    let told = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let told = Arc::clone(&told);
            tokio::spawn(async move {
                while let Some(request) = read(&mut stream).await {
                    told.lock().unwrap().push(request);
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                        SESSION.len()
                    );
                    stream.write_all(head.as_bytes()).await.unwrap();
                    stream.write_all(SESSION.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (address, heard)
}

/// One message of HTTP with a length.
async fn read(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.to_lowercase();
    let length = length
        .split_once("content-length: ")
        .map_or("0", |(_, l)| l);
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}

struct World {
    proxy: FaultProxy,
    heard: Heard,
}

impl World {
    async fn new() -> Self {
        let (address, heard) = upstream().await;
        let proxy = FaultProxy::start(address).await.unwrap();
        Self { proxy, heard }
    }

    /// Status and body; `None` when the connection broke.
    async fn ask(&self, service: &str, key: &str, form: &str) -> Option<(u16, String)> {
        let address = self.proxy.endpoint();
        let address = address.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let length = form.len();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: signed.example\r\nAuthorization: AWS4-HMAC-SHA256 \
             Credential={key}/20261122/r/{service}/aws4_request, Signature=0\r\n\
             Content-Length: {length}\r\n\r\n{form}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let (head, body) = read(&mut stream).await?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Some((status, body))
    }

    async fn iam(&self, form: &str) -> Option<(u16, String)> {
        self.ask("iam", "AKIA1", form).await
    }

    fn heard(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard.iter().map(|(_, body)| body.clone()).collect()
    }
}

#[tokio::test]
async fn what_passes_keeps_its_signed_host_and_is_counted() {
    let world = World::new().await;
    let form = "Action=GetRole&RoleName=hallpass-x7";
    assert_eq!(world.iam(form).await, Some((200, SESSION.to_owned())));
    let (head, body) = world.heard.lock().unwrap().remove(0);
    assert!(
        head.to_lowercase().contains("host: signed.example\r\n"),
        "{head}"
    );
    assert_eq!(body, form);
    world.iam("Action=GetRole&RoleName=other").await.unwrap();
    let all = world.proxy.counts(&Target::any());
    assert_eq!(
        all.into_iter().collect::<Vec<_>>(),
        [("iam:GetRole".to_owned(), 2)]
    );
    assert_eq!(
        world.proxy.counts(&Target::any().about("x7"))["iam:GetRole"],
        1
    );
    assert_eq!(world.proxy.calls()[0].executed, Some(200));
    world.proxy.forget();
    assert!(world.proxy.calls().is_empty());
}

#[tokio::test]
async fn refusals_are_worded_as_the_service_words_them() {
    let world = World::new().await;
    let always = |fault| world.proxy.add(Rule::new(Target::any(), fault));
    always(Fault::Throttled);
    let (status, body) = world.iam("Action=GetRole").await.unwrap();
    assert_eq!(status, 400);
    assert!(
        body.contains("<Code>Throttling</Code><Message>Rate exceeded</Message>"),
        "{body}"
    );
    always(Fault::Throttled);
    let (status, body) = world.ask("s3", "AKIA1", "").await.unwrap();
    assert_eq!(status, 503);
    assert!(body.contains("<Error><Code>SlowDown</Code>"), "{body}");
    always(Fault::ServerError);
    assert_eq!(world.iam("Action=GetRole").await.unwrap().0, 500);
    always(Fault::Error {
        status: 409,
        code: "ConcurrentModification",
    });
    let (status, body) = world.iam("Action=GetRole").await.unwrap();
    assert_eq!(status, 409);
    assert!(
        body.contains("<Code>ConcurrentModification</Code>"),
        "{body}"
    );
    assert!(world.heard().is_empty(), "none was executed");
    assert_eq!(world.iam("Action=GetRole").await.unwrap().0, 200);
}

#[tokio::test]
async fn a_reset_is_not_executed_and_a_lost_reply_is() {
    let world = World::new().await;
    world
        .proxy
        .add(Rule::new(Target::action("CreateRole"), Fault::Reset));
    assert_eq!(world.iam("Action=CreateRole").await, None);
    assert!(world.heard().is_empty());
    world
        .proxy
        .add(Rule::new(Target::action("CreateRole"), Fault::LoseReply));
    assert_eq!(world.iam("Action=CreateRole").await, None);
    assert_eq!(world.heard(), ["Action=CreateRole"]);
    let executed: Vec<_> = world.proxy.calls().iter().map(|c| c.executed).collect();
    assert_eq!(executed, [None, Some(200)]);
}

#[tokio::test]
async fn an_outage_breaks_every_call_until_it_is_over() {
    let world = World::new().await;
    world.proxy.set_away(true);
    for _ in 0..3 {
        assert_eq!(world.iam("Action=GetRole").await, None);
    }
    world.proxy.set_away(false);
    assert_eq!(world.iam("Action=GetRole").await.unwrap().0, 200);
    assert_eq!(world.heard().len(), 1);
}

#[tokio::test]
async fn a_hanging_call_is_never_answered_and_harms_no_other() {
    let world = World::new().await;
    world
        .proxy
        .add(Rule::new(Target::action("GetRole"), Fault::Hang));
    let hanging = timeout(Duration::from_millis(300), world.iam("Action=GetRole"));
    assert!(hanging.await.is_err());
    assert_eq!(world.iam("Action=GetRole").await.unwrap().0, 200);
}

#[tokio::test]
async fn a_held_call_is_executed_at_once_and_answered_when_released() {
    let world = Arc::new(World::new().await);
    let hold = world.proxy.hold(Target::action("CreateRole"), 1);
    assert_eq!(world.iam("Action=CreateRole&n=1").await.unwrap().0, 200);
    let asked = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.iam("Action=CreateRole&n=2").await }
    });
    hold.executed().await;
    assert_eq!(world.heard().len(), 2);
    assert!(!asked.is_finished());
    hold.release();
    assert_eq!(asked.await.unwrap().unwrap().0, 200);
}

#[tokio::test]
async fn a_held_call_is_executed_also_when_its_client_dies() {
    let world = Arc::new(World::new().await);
    let hold = world.proxy.hold(Target::action("CreateRole"), 0);
    let asked = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.iam("Action=CreateRole").await }
    });
    hold.executed().await;
    asked.abort();
    assert_eq!(world.heard(), ["Action=CreateRole"]);
    assert_eq!(world.proxy.calls()[0].executed, Some(200));
}

#[tokio::test]
async fn late_writes_are_answered_at_once_and_take_effect_in_order() {
    let world = World::new().await;
    let by = Duration::from_millis(400);
    world.proxy.set_lag(Some(Lag {
        by,
        reads: Reads::Written,
    }));
    let put = "Action=PutRolePolicy&RoleName=r&PolicyName=p&PolicyDocument=%7B%22a%22%3A1%7D";
    let (status, body) = world.iam(put).await.unwrap();
    assert_eq!(status, 200);
    assert!(body.contains("<RequestId>"), "{body}");
    let read = "Action=GetRolePolicy&RoleName=r&PolicyName=p";
    let (_, body) = world.iam(read).await.unwrap();
    assert!(
        body.contains("<PolicyDocument>%7B%22a%22%3A1%7D</PolicyDocument>"),
        "{body}"
    );
    world.iam("Action=DeleteRole&RoleName=r").await.unwrap();
    assert_eq!(world.iam(read).await.unwrap().0, 404);
    assert!(world.heard().is_empty(), "nothing has taken effect");
    world.proxy.set_lag(None);
    let settled = async {
        while world.heard().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(5), settled).await.unwrap();
    assert_eq!(world.heard(), [put, "Action=DeleteRole&RoleName=r"]);
    assert_eq!(world.proxy.late_failures(), Vec::<String>::new());
}

#[tokio::test]
async fn a_call_with_a_session_is_about_the_sessions_name() {
    let world = World::new().await;
    let form = "Action=AssumeRole&RoleSessionName=alice.ar-7&RoleArn=x";
    world.ask("sts", "AKIA1", form).await.unwrap();
    world.ask("s3", "ASIA7", "").await.unwrap();
    let about = world.proxy.counts(&Target::any().about("ar-7"));
    let about: Vec<_> = about.into_iter().collect();
    assert_eq!(
        about,
        [("s3:POST".to_owned(), 1), ("sts:AssumeRole".to_owned(), 1)]
    );
}
