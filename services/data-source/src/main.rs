//! The `data-source` program; everything it does lies in the library.

use std::process::ExitCode;

use strata_service::ServiceSpec;

fn main() -> ExitCode {
    strata_service::run(
        ServiceSpec {
            name: "data_generator",
            port_variable: "DATA_SOURCE_PORT",
            openapi: data_source::description::text(),
            has_events: true,
        },
        data_source::app::build,
    )
}
