//! The dds service.

use std::process::ExitCode;

fn main() -> ExitCode {
    strata_service::run(dds::app::SPEC, dds::app::build)
}
