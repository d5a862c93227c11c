//! The test kit itself, against real servers.

mod database;
mod kafka;
mod searches;
mod waiting;
mod warehouse;
