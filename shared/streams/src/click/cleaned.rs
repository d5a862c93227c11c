//! `clickstream_dds`: clicks with clean texts and a time in UTC.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use strata_events::text::{check_date, check_id};
use strata_events::{Contract, Reject, parse_object};

use super::raw::{check_detail, check_url};

/// A cleaned click.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanedClick {
    /// Who clicked.
    pub user_id: String,
    /// When.
    #[serde(serialize_with = "with_offset")]
    pub timestamp: DateTime<Utc>,
    /// Which page; scheme and host are lower-case.
    pub url: String,
    /// From which country.
    pub country: String,
    /// From which city; empty where nobody knows, as are those below.
    pub city: String,
    /// By which browser.
    pub browser: String,
    /// On which operating system.
    pub os: String,
    /// On what.
    pub device: String,
}

impl Contract<'_> for CleanedClick {
    fn decode(bytes: &[u8]) -> Result<Self, Reject> {
        let click: Self = parse_object(bytes)?;
        check_id("user_id", &click.user_id)?;
        check_date("timestamp", click.timestamp)?;
        check_url(&click.url)?;
        check_id("country", &click.country)?;
        for (field, text) in
            [("city", &click.city), ("browser", &click.browser), ("os", &click.os), ("device", &click.device)]
        {
            check_detail(field, text)?;
        }
        Ok(click)
    }
}

/// The contract's form of a time: `+00:00`, not `Z`.
fn with_offset<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339())
}
