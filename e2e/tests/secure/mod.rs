//! Servers that speak TLS only and ask for a password or a certificate.

mod connections;
mod fleet;
mod refusals;

use std::sync::Arc;

use strata_service::Settings;
use strata_testkit::SecureServers;
use tokio::sync::OnceCell;

/// Servers that no test changes; the kit removes them when this process has ended.
async fn shared() -> Arc<SecureServers> {
    static SHARED: OnceCell<Arc<SecureServers>> = OnceCell::const_new();
    Arc::clone(SHARED.get_or_init(async || Arc::new(SecureServers::start().await)).await)
}

/// What a service makes of these variables, some of them replaced.
fn settings(variables: &[(&'static str, String)], replaced: &[(&str, &str)]) -> Settings {
    let replaced = |name: &str| replaced.iter().find(|(variable, _)| *variable == name);
    let settings = Settings::from_lookup("STG_PORT", |name| match replaced(name) {
        Some((_, value)) => Some((*value).to_owned()),
        None => variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.clone()),
    });
    settings.unwrap_or_else(|e| panic!("{e}"))
}
