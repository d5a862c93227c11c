//! Data Vault arithmetic: hash keys, hashdiffs, the rules of satellites, and the tables as data. Pure, no I/O.
//!
//! The hash inputs are defined here and nowhere else; no statement computes a key in SQL. So are the names of
//! tables and columns.

pub mod key;
pub mod model;
pub mod models;
pub mod satellite;

pub use key::{hashdiff, hub_key, link_key};
pub use satellite::{LoadPosition, SatelliteRecord, Sent, StoredVersion, changes};
