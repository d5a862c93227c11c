//! The hotel-search stream: searches as they are sent, what they must become, and the question whether
//! they did.

mod builder;
mod compare;
mod fleet;
mod model;

pub use builder::{SearchBuilder, log_line, search};
pub use compare::{assert_search_vault_equals, assert_searches_equal, search_differences};
pub use fleet::{Metrics, Ranked};
pub use model::{Fact, SearchModel};

/// The golden raw search.
const GOLDEN_RAW: &str = strata_streams::hotel_search::golden::RAW;

/// The golden processed search.
const GOLDEN_PROCESSED: &str = strata_streams::hotel_search::golden::PROCESSED;

/// The golden search as it is received, and as every later layer passes it on.
pub fn golden_searches() -> (serde_json::Value, serde_json::Value) {
    let parse = |text| serde_json::from_str(text).expect("a golden search is JSON");
    (parse(GOLDEN_RAW), parse(GOLDEN_PROCESSED))
}
