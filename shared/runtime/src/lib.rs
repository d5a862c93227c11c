//! What every service needs and nothing about orders or searches: configuration, logs, health,
//! HTTP, connections, shutdown, and the consumer loop in [`kafka`].

pub mod config;
pub mod docs;
pub mod failpoint;
pub mod health;
pub mod http;
pub mod kafka;
pub mod lane;
mod linger;
pub mod metrics;
pub mod operator_lock;
pub mod pg;
pub mod redis;
pub mod restart;
pub mod retention;
mod same_origin;
pub mod server;
pub mod service;
pub mod session_lock;
mod sqlstate;
pub mod telemetry;
pub mod tls;
pub mod trace;

pub use config::{Settings, Topics};
pub use lane::Lane;
pub use operator_lock::OperatorLock;
pub use service::{App, Assembled, ServiceSpec, run};
pub use session_lock::SessionLock;
