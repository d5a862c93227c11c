//! The cdm service.

use std::process::ExitCode;

fn main() -> ExitCode {
    strata_service::run(cdm::app::SPEC, cdm::app::build)
}
