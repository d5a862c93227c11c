//! Accepting connections: no more than can be served, and none that says nothing.
//!
//! A caller that opens connections and sends its headers byte by byte holds nothing for longer than the
//! limit, and no number of callers makes a service open more connections than it was told.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::config::HttpLimits;

/// Pause after a connection could not be accepted: the process may have too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` is cancelled and every request in hand is answered.
pub async fn serve(listener: TcpListener, router: Router, limits: HttpLimits, stop: CancellationToken) {
    let mut http = http1::Builder::new();
    // Also the longest silence between two requests of a connection.
    http.timer(TokioTimer::new()).header_read_timeout(limits.read_timeout);
    let connections = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    loop {
        let (stream, permit) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "a connection broke off");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The next connection, once there is room for it; the rest wait in the system's queue.
async fn accept(listener: &TcpListener, connections: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        // Nobody closes the semaphore.
        let Ok(permit) = Arc::clone(connections).acquire_owned().await else { continue };
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are small and written at once.
                drop(stream.set_nodelay(true));
                return (stream, permit);
            }
            Err(e) => {
                tracing::warn!(error = %e, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
