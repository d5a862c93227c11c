//! The test kit itself, against real servers.

mod database;
mod kafka;
mod searches;
mod vault_model;
mod waiting;
mod warehouse;
