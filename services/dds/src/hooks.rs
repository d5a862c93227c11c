//! What the loader of the vault tells this service.

use strata_pipeline::metrics::written;
use strata_service::failpoint;
use strata_vault::load::Hooks;

/// Rows are counted, and a test may have the process die in a `COPY`.
pub const HOOKS: Hooks = Hooks {
    wrote: written::note,
    in_copy: || failpoint::pass("in_copy").map_err(|error| sqlx::Error::Protocol(error.to_string())),
};
