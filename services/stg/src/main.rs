//! The stg service.

use std::process::ExitCode;

fn main() -> ExitCode {
    strata_service::run(stg::app::SPEC, stg::app::build)
}
