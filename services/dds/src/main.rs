//! Data Vault layer. Reads enriched orders and cleaned searches, writes hubs, links and satellites in bulk,
//! insert-only, and tells cdm what became countable.
//!
//! Guarantee: whatever the order, duplication or concurrency of the input, the vault ends the same, and
//! every (order, user, product), every (order, user, category) and every search is announced exactly once.

mod app;
mod click;
mod hooks;
mod order;
mod search;

use std::process::ExitCode;

fn main() -> ExitCode {
    strata_service::run(app::SPEC, app::build)
}
