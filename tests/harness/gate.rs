//! A door between the service and the emulator that can be shut: AWS is away, and forgets nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on while it is open, and cuts them off while it is shut.
#[derive(Debug)]
pub(crate) struct Gate {
    address: SocketAddr,
    open: watch::Sender<bool>,
    calls: Arc<AtomicUsize>,
}

/// Ends the first line of every request.
const REQUEST_LINE: &[u8] = b" HTTP/1.1\r\n";

impl Gate {
    /// An open gate to `behind`.
    ///
    /// # Panics
    /// When loopback has no port.
    pub(crate) async fn start(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (open, state) = watch::channel(true);
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((inward, _)) = listener.accept().await {
                tokio::spawn(pass(inward, behind, state.clone(), Arc::clone(&counter)));
            }
        });
        Self {
            address,
            open,
            calls,
        }
    }

    /// The URL that the service is pointed at.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests came in so far.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, open: bool) {
        self.open.send_replace(open);
    }
}

async fn pass(
    inward: TcpStream,
    behind: SocketAddr,
    mut open: watch::Receiver<bool>,
    calls: Arc<AtomicUsize>,
) {
    if !*open.borrow() {
        return;
    }
    let Ok(onward) = TcpStream::connect(behind).await else {
        return;
    };
    let (mut asks, mut hears) = inward.into_split();
    let (mut answers, mut told) = onward.into_split();
    tokio::select! {
        _ = async { tokio::join!(count(&mut asks, &mut told, &calls), back(&mut answers, &mut hears)) } => {}
        _ = open.wait_for(|open| !open) => {}
    }
}

async fn back(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) {
    let _ = copy(from, to).await;
    let _ = to.shutdown().await;
}

/// Copies requests and counts them; a request line may come in pieces.
async fn count(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    calls: &AtomicUsize,
) {
    let mut seen = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        seen.extend_from_slice(&buffer[..read]);
        let lines = seen.windows(REQUEST_LINE.len());
        let lines = lines.filter(|part| *part == REQUEST_LINE).count();
        calls.fetch_add(lines, Ordering::Relaxed);
        let keep = REQUEST_LINE.len() - 1;
        seen.drain(..seen.len().saturating_sub(keep));
    }
    let _ = to.shutdown().await;
}
