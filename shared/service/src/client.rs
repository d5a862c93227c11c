//! The client of a server that the frame does not connect to itself.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::restart::RestartNeeded;

/// The client of a server that the frame asks after.
pub trait Client: Send + Sync {
    /// Name of the server in `/health`.
    fn server(&self) -> &'static str;
    /// Asks the server; the error says what keeps us from it. Blocks the thread.
    fn ask(&self, within: Duration) -> Result<(), String>;
    /// Adds what it measures to the text of `/metrics`.
    fn expose(&self, text: &mut String);
    /// Ends when the client is of no use any more and only a new process helps.
    fn failed(&self) -> BoxFuture<'static, RestartNeeded>;
}
