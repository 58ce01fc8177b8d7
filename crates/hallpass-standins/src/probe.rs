//! Asking a program on loopback whether it is ready, over plain TCP or HTTP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The condition on which a program counts as ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// The address takes connections.
    Tcp(SocketAddr),
    /// `GET path` at the address is answered with a 2xx status.
    Http {
        /// Where to ask.
        address: SocketAddr,
        /// What to ask for, with its leading slash.
        path: String,
    },
}

impl Readiness {
    pub(crate) async fn holds(&self) -> bool {
        let asked = async {
            match self {
                Self::Tcp(address) => TcpStream::connect(address).await.map(|_| true),
                Self::Http { address, path } => answers(*address, path).await,
            }
        };
        matches!(timeout(ANSWER_WITHIN, asked).await, Ok(Ok(true)))
    }
}

async fn answers(address: SocketAddr, path: &str) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0; "HTTP/1.1 2".len()];
    stream.read_exact(&mut head).await?;
    Ok(is_success(&head))
}

fn is_success(head: &[u8]) -> bool {
    matches!(
        head,
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            b'0' | b'1',
            b' ',
            b'2'
        ]
    )
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn answering(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn http_readiness_wants_a_success() {
        for (answer, ready) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n"[..], true),
            (b"HTTP/1.0 204 No Content\r\n\r\n", true),
            (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", false),
            (b"SSH-2.0-something\r\n", false),
            (b"HTTP", false),
        ] {
            let readiness = Readiness::Http {
                address: answering(answer).await,
                path: "/".to_owned(),
            };
            assert_eq!(
                readiness.holds().await,
                ready,
                "{}",
                String::from_utf8_lossy(answer)
            );
        }
    }

    #[tokio::test]
    async fn tcp_readiness_wants_a_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let readiness = Readiness::Tcp(listener.local_addr().unwrap());
        assert!(readiness.holds().await);
        drop(listener);
        assert!(!readiness.holds().await);
    }
}
