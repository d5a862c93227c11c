//! Repairs while the fleet runs: a layer rebuilt from the one before it, dead letters replayed or discarded, a stage resumed.
//!
//! Nothing here prints: what was done is returned, and what is being done is told to a [`Progress`].

pub mod dead_letters;
pub mod rebuild;
mod restored;
mod stage;

pub use rebuild::Repair;
pub use restored::{Restored, restored};
pub use stage::resume;

/// Told what is worked through and how many more of it are done.
pub type Progress<'a> = dyn FnMut(&'static str, u64) + Send + 'a;
