//! How to reach a schema registry.

use std::path::PathBuf;

use reqwest::Url;

use super::reader::{ConfigError, Reader, Secret};

const URL: &str = "SCHEMA_REGISTRY_URL";

/// A registry with Confluent's REST API.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// Where its API begins; Apicurio's has a path.
    pub url: Url,
    /// True when the fleet registers its schemas, false when somebody else does.
    pub register: bool,
    /// User and password.
    pub user: Option<(String, Secret)>,
    /// CAs to trust; those of the system where absent.
    pub ca: Option<PathBuf>,
}

impl RegistrySettings {
    /// None where no URL is set.
    pub(super) fn read(reader: &Reader<'_>) -> Result<Option<Self>, ConfigError> {
        let register = reader.choice("SCHEMA_REGISTRY_REGISTER", &[("false", false), ("true", true)])?;
        let username = reader.value("SCHEMA_REGISTRY_USERNAME");
        let password = reader.secret("SCHEMA_REGISTRY_PASSWORD", "SCHEMA_REGISTRY_PASSWORD_FILE")?;
        let ca = reader.certificates("SCHEMA_REGISTRY_CA")?;
        let user = match (username, password) {
            (Some(username), Some(password)) => Some((username, password)),
            (None, None) => None,
            (Some(_), None) => {
                return Err(
                    reader.refused("SCHEMA_REGISTRY_USERNAME", "it needs SCHEMA_REGISTRY_PASSWORD, too")
                );
            }
            (None, Some(_)) => {
                return Err(ConfigError::new(
                    "SCHEMA_REGISTRY_PASSWORD",
                    "it needs SCHEMA_REGISTRY_USERNAME, too",
                ));
            }
        };
        let Some(url) = reader.value(URL) else { return Ok(None) };
        let parsed = Url::parse(&url).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
        // Not shown: it may hold a password after all.
        let Some(url) = parsed.filter(|url| url.username().is_empty() && url.password().is_none()) else {
            let why =
                "it must read http[s]://host[:port][/path]; user and password have variables of their own";
            return Err(ConfigError::new(URL, why));
        };
        if ca.is_some() && url.scheme() != "https" {
            return Err(reader.refused(URL, "SCHEMA_REGISTRY_CA is only used with https"));
        }
        Ok(Some(Self { url, register, user, ca }))
    }
}
