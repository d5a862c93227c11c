//! For tests only: real servers, the fleet as processes, and the model it is compared with.
//!
//! Nothing here is mocked. Every test gets a database, topics, consumer groups and Redis keys of its
//! own, so tests run side by side on one set of servers; a server that is missing is a failure.

pub mod alone;
pub mod brokers;
pub mod builders;
pub mod click;
pub mod compare;
pub mod database;
pub mod eventually;
mod faults;
pub mod fleet;
mod http;
pub mod kafka;
pub mod keys;
pub mod local;
pub mod model;
mod process;
pub mod proxy;
pub mod reference;
pub mod registry;
mod rest;
pub mod samples;
pub mod search;
pub mod secure;
pub mod servers;
mod streams;
mod tool;

pub use alone::Alone;
pub use builders::{OrderBuilder, order};
pub use compare::{assert_no_dead_letters, assert_vault_equals, assert_warehouse_equals};
pub use database::{TestDatabase, migrate};
pub use eventually::eventually;
pub use fleet::{Fleet, Service};
pub use http::Answer;
pub use kafka::{Kafka, NewRecord, TopicRecord};
pub use local::{LocalServers, Server};
pub use model::{Arrival, Model};
pub use process::Stopped;
pub use proxy::Proxy;
pub use reference::{Reference, golden_order};
pub use registry::Registry;
pub use search::{SearchBuilder, SearchModel, assert_search_vault_equals, assert_searches_equal, search};
pub use secure::{Identity, Mechanism, SecureServers};
pub use servers::Servers;
