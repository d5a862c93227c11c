//! The live hotel metrics: how often users, hotels and advertisers are seen, and the lowest winning prices.
//!
//! Data, offsets and watermarks lie in one Redis and change in one script a batch, so what Redis loses, it
//! loses together: the loop finds the older offset and repeats. No Postgres row says where this stage stands.

pub mod api;
pub mod ranking;
pub mod stage;
pub mod store;
