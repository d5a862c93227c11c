//! The cdm service.

use std::process::ExitCode;

fn main() -> ExitCode {
    strata_service::run(cdm::api::SPEC, cdm::app::build)
}
