//! The fleet as seen from outside, for everything that shows it: `strata status`, `strata watch`, the dashboard.
//!
//! [`Observer::look`] takes one [`Snapshot`]: it asks all parts at once, and a part that does not answer is
//! shown as down while the rest still shows. [`Fleet`] answers single questions, for tools that wait; [`Api`]
//! asks the services themselves.

mod api;
pub mod backlog;
pub mod fleet;
mod kafka;
mod members;
mod observer;
mod range;
mod rows;
pub mod services;
pub mod snapshot;
mod store;

pub use api::{Api, Ingested, Push};
pub use fleet::{Fleet, StagePosition};
pub use observer::Observer;
pub use range::{Ranges, read_ranges};
pub use rows::summary;
pub use services::Service;
pub use snapshot::Snapshot;
pub use store::{last_reconcile, reconcile_is_due};
