//! Redis: one multiplexed connection that heals by itself, and the names of what the services share.

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

/// Names of the reference data: written by data-source, read by stg.
#[derive(Debug, Clone)]
pub struct ReferenceKeys {
    /// Put before every key.
    pub prefix: String,
}

impl ReferenceKeys {
    /// A user as JSON.
    pub fn user(&self, id: &str) -> String {
        format!("{}ref:user:{id}", self.prefix)
    }

    /// A restaurant with its menu as JSON.
    pub fn restaurant(&self, id: &str) -> String {
        format!("{}ref:restaurant:{id}", self.prefix)
    }

    /// Set of all user ids.
    pub fn users_index(&self) -> String {
        format!("{}ref:users", self.prefix)
    }

    /// Set of all restaurant ids.
    pub fn restaurants_index(&self) -> String {
        format!("{}ref:restaurants", self.prefix)
    }

    /// Counter that grows after every change, so that readers know when to forget.
    pub fn version(&self) -> String {
        format!("{}ref:version", self.prefix)
    }
}
