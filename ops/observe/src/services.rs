//! The services by address.

use strata_events::StageId;
use strata_service::Settings;
use strata_service::config::ConfigError;

/// A service as it is reached from outside.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// Name for people.
    pub name: &'static str,
    port_variable: &'static str,
    url_variable: &'static str,
}

const fn service(name: &'static str, port_variable: &'static str, url_variable: &'static str) -> Service {
    Service { name, port_variable, url_variable }
}

/// Generates and takes events.
pub const DATA_SOURCE: Service = service("data-source", "DATA_SOURCE_PORT", "DATA_SOURCE_URL");
/// The raw layer.
pub const STG: Service = service("stg", "STG_PORT", "STG_URL");
/// The Data Vault.
pub const DDS: Service = service("dds", "DDS_PORT", "DDS_URL");
/// Serves the data marts.
pub const CDM: Service = service("cdm", "CDM_PORT", "CDM_URL");
/// All of them, in the order of the data's way.
pub const SERVICES: [Service; 4] = [DATA_SOURCE, STG, DDS, CDM];

impl Service {
    /// The service that is a stage.
    pub const fn of(stage: StageId) -> Self {
        match stage {
            StageId::Stg => STG,
            StageId::Dds => DDS,
            StageId::Cdm => CDM,
        }
    }

    /// Its URL: given by its variable, else the port on this machine.
    pub fn url(self) -> Result<String, ConfigError> {
        if let Some(url) = strata_service::config::value(self.url_variable) {
            return Ok(url.trim_end_matches('/').to_owned());
        }
        let settings = Settings::from_env(self.port_variable)?;
        Ok(format!("http://{}", settings.http_address_here()))
    }
}
