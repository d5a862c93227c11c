//! The Data Vault: hash keys, hashdiffs, the rules of satellites, tables as data, and the rows of a batch.
//!
//! All of that is pure. With the feature `load`, [`load`](mod@load) writes the rows of any vault to Postgres.
//! The hash inputs are defined here and nowhere else; no statement computes a key in SQL.

pub mod key;
#[cfg(feature = "load")]
pub mod load;
pub mod model;
pub mod rows;
pub mod satellite;
pub mod value;

pub use key::{hashdiff, hub_key, link_key};
pub use satellite::{LoadPosition, SatelliteRecord, Sent, StoredVersion, changes};
pub use value::{Value, fingerprint, texts};
