//! Golden messages of the hotel searches.

/// `raw_data_topic`.
pub const RAW: &str = include_str!("golden/raw_data_topic.json");

/// `processed_data_topic`, and `metrics_topic`: the same search, cleaned.
pub const PROCESSED: &str = include_str!("golden/processed_data_topic.json");
