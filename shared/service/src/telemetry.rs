//! Log lines: text for people, JSON for machines.

use tracing_subscriber::EnvFilter;

use crate::Settings;

/// Installs the subscriber. Call once, before anything logs.
pub fn init(settings: &Settings) {
    let filter = EnvFilter::try_new(&settings.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if settings.log_json {
        builder.json().init();
    } else {
        builder.with_ansi(false).init();
    }
}
