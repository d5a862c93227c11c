//! The test kit itself, against real servers.

mod database;
mod kafka;
mod waiting;
mod warehouse;
