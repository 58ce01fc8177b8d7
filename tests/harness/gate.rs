//! A door between the service and the emulator: it counts what passes, and can be shut or held.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to the service's calls to AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// They reach AWS.
    Open,
    /// They are cut off: AWS is away, and forgets nothing.
    Shut,
    /// They are taken and never answered.
    Held,
}

/// Passes connections on as it is told, and notes every call.
#[derive(Debug)]
pub(crate) struct Gate {
    address: SocketAddr,
    passage: watch::Sender<Passage>,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Gate {
    /// An open gate to `behind`.
    ///
    /// # Panics
    /// When loopback has no port.
    pub(crate) async fn start(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (passage, state) = watch::channel(Passage::Open);
        let calls = Arc::<Mutex<Vec<String>>>::default();
        let book = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((inward, _)) = listener.accept().await {
                tokio::spawn(pass(inward, behind, state.clone(), Arc::clone(&book)));
            }
        });
        Self {
            address,
            passage,
            calls,
        }
    }

    /// The URL that the service is pointed at.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, passage: Passage) {
        self.passage.send_replace(passage);
    }

    /// Every call so far, as `{action} {role}` or `{method} {path}`.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("a book").clone()
    }
}

async fn pass(
    inward: TcpStream,
    behind: SocketAddr,
    mut passage: watch::Receiver<Passage>,
    book: Arc<Mutex<Vec<String>>>,
) {
    let now = *passage.borrow();
    match now {
        Passage::Open => {}
        Passage::Shut => return,
        Passage::Held => return held(inward, passage.clone()).await,
    }
    let Ok(onward) = TcpStream::connect(behind).await else {
        return;
    };
    let (mut from_aws, to_aws) = onward.into_split();
    let (from_service, mut to_service) = inward.into_split();
    let is_not_open = |passage: &Passage| *passage != Passage::Open;
    tokio::select! {
        _ = forward(from_service, to_aws, &book) => {}
        _ = copy(&mut from_aws, &mut to_service) => {}
        // Connections that live on are cut off, also when new ones will be held.
        _ = passage.wait_for(is_not_open) => {}
    }
}

async fn held(inward: TcpStream, mut passage: watch::Receiver<Passage>) {
    let _ = passage.wait_for(|passage| *passage != Passage::Held).await;
    drop(inward);
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, book: &Mutex<Vec<String>>) {
    let mut unread = Vec::new();
    let mut chunk = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        unread.extend_from_slice(&chunk[..read]);
        while let Some(call) = take_call(&mut unread) {
            book.lock().expect("a book").push(call);
        }
        if to.write_all(&chunk[..read]).await.is_err() {
            return;
        }
    }
}

/// Takes one whole HTTP/1.1 request off the front.
fn take_call(unread: &mut Vec<u8>) -> Option<String> {
    let end = unread.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&unread[..end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let ours = name.eq_ignore_ascii_case("content-length");
        ours.then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    let whole = end + length.unwrap_or_default();
    if unread.len() < whole {
        return None;
    }
    let body = unread[end..whole].to_vec();
    unread.drain(..whole);
    let field = |name: &str| {
        let mut fields = url::form_urlencoded::parse(&body);
        fields
            .find(|(key, _)| key == name)
            .map(|(_, v)| v.into_owned())
    };
    Some(match field("Action") {
        Some(action) => {
            let role = field("RoleName")
                .or_else(|| field("RoleArn"))
                .unwrap_or_default();
            let role = role.rsplit('/').next().unwrap_or_default().to_owned();
            format!("{action} {role}").trim().to_owned()
        }
        None => head.split(" HTTP/").next().unwrap_or_default().to_owned(),
    })
}
