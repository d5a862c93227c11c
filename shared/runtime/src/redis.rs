//! Redis: one multiplexed connection that heals by itself.

use std::time::Duration;

use redis::Client;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};

use crate::config::Secret;

/// Prepares a connection without opening it, so that a service starts while Redis is down.
///
/// Call within the tokio runtime.
pub fn connect(url: &Secret) -> redis::RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_max_delay(Duration::from_millis(500))
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(Duration::from_secs(2)));
    ConnectionManager::new_lazy_with_config(Client::open(url.expose())?, config)
}
