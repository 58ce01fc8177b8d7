//! A door between the service and the emulator that can be shut: AWS is away, and forgets nothing.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on while it is open, and cuts them off while it is shut.
#[derive(Debug)]
pub(crate) struct Gate {
    address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Gate {
    /// An open gate to `behind`.
    ///
    /// # Panics
    /// When loopback has no port.
    pub(crate) async fn start(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (open, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((inward, _)) = listener.accept().await {
                tokio::spawn(pass(inward, behind, state.clone()));
            }
        });
        Self { address, open }
    }

    /// The URL that the service is pointed at.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, open: bool) {
        self.open.send_replace(open);
    }
}

async fn pass(mut inward: TcpStream, behind: SocketAddr, mut open: watch::Receiver<bool>) {
    if !*open.borrow() {
        return;
    }
    let Ok(mut onward) = TcpStream::connect(behind).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut inward, &mut onward) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}
