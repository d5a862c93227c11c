//! The test kit itself, against real servers.

mod database;
mod kafka;
mod retention;
mod searches;
mod streams;
mod vault_model;
mod waiting;
mod warehouse;
