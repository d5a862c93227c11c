//! Repairs while the fleet runs: a layer rebuilt from the one before it, dead letters replayed or discarded.
//!
//! Nothing here prints: what was done is returned, and what is being done is told to a [`Progress`].

pub mod dead_letters;
pub mod rebuild;
mod restored;

pub use rebuild::Repair;
pub use restored::{Restored, restored};

/// Told what is worked through and how many more of it are done.
pub type Progress<'a> = dyn FnMut(&'static str, u64) + Send + 'a;
