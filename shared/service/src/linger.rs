//! Whoever is answered early may finish sending.
//!
//! A request may be answered before all of its body has arrived: its key is wrong, its body too long. Were
//! the connection closed at once, what is still under way would meet a closed socket, and the caller would
//! see a broken connection instead of the answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures::{Stream, StreamExt as _};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// Time to read the answer and to stop sending.
const LINGER: Duration = Duration::from_secs(2);

/// A body; what its reader leaves of it is read and thrown away.
struct Lingering(Option<BodyDataStream>);

impl Stream for Lingering {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let next = ready!(body.poll_next_unpin(context));
        if !matches!(next, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(next)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        // Outside of the runtime everything ends, connections too.
        if let (Some(mut rest), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(timeout(LINGER, async move { while let Some(Ok(_)) = rest.next().await {} }));
        }
    }
}

/// Middleware: keeps the connection of a request whose body is not wanted open for a moment.
pub async fn linger(request: Request, next: Next) -> Response {
    let keep = |body: Body| match body.is_end_stream() {
        true => body,
        false => Body::from_stream(Lingering(Some(body.into_data_stream()))),
    };
    next.run(request.map(keep)).await
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::middleware::from_fn;
    use axum::routing::post;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::config::HttpLimits;

    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n";

    /// A caller of a server that refuses everything unread, who has read the refusal.
    async fn refused() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router =
            Router::new().route("/", post(|| async { StatusCode::UNAUTHORIZED })).layer(from_fn(linger));
        let limits = HttpLimits { connections: 1, requests: 1, read_timeout: Duration::from_secs(10) };
        tokio::spawn(crate::server::serve(listener, router, limits, CancellationToken::new()));
        let mut caller = TcpStream::connect(address).await.expect("a connection");
        caller.write_all(HEAD).await.expect("sent");
        assert!(answer(&mut caller).await.starts_with("HTTP/1.1 401"));
        caller
    }

    async fn answer(caller: &mut TcpStream) -> String {
        let mut bytes = [0; 1024];
        let length = caller.read(&mut bytes).await.expect("an answer");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    async fn send_piece(caller: &mut TcpStream) -> std::io::Result<()> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        caller.write_all(b"400\r\n").await?;
        caller.write_all(&[b'a'; 1024]).await?;
        caller.write_all(b"\r\n").await
    }

    #[tokio::test]
    async fn a_caller_may_end_what_is_refused_and_ask_again() {
        let mut caller = refused().await;
        for _ in 0..20 {
            send_piece(&mut caller).await.expect("sent");
        }
        caller.write_all(b"0\r\n\r\n").await.expect("sent");
        caller.write_all(HEAD).await.expect("sent");
        assert!(answer(&mut caller).await.starts_with("HTTP/1.1 401"));
    }

    #[tokio::test]
    async fn a_caller_that_does_not_end_is_let_go() {
        let mut caller = refused().await;
        let sending = async { while send_piece(&mut caller).await.is_ok() {} };
        timeout(LINGER * 3, sending).await.expect("an end");
    }
}
