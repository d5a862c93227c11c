//! The frame of a process, and nothing of what it does with events: configuration, connections, HTTP, health, metrics,
//! traces, start and stop.

mod api_error;
pub mod client;
pub mod config;
pub mod docs;
pub mod failpoint;
pub mod health;
pub mod http;
mod linger;
pub mod metrics;
pub mod pg;
pub mod producers;
pub mod redis;
pub mod registry;
pub mod restart;
mod same_origin;
pub mod schemas;
pub mod server;
pub mod service;
pub mod session_lock;
mod sqlstate;
pub mod status;
pub mod telemetry;
pub mod tls;
pub mod trace;

pub use client::Client;
pub use config::{Route, Settings, Topics};
pub use registry::SchemaRegistry;
pub use service::{App, Assembled, Runnable, ServiceSpec, run};
pub use session_lock::SessionLock;
