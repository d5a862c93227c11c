//! JSON Schemas of the hotel searches.

use strata_events::Schema;

/// `raw_data_topic`.
pub const RAW: Schema = Schema::new(include_str!("schemas/raw_data_topic.json"));

/// `processed_data_topic` and `metrics_topic`.
pub const PROCESSED: Schema = Schema::new(include_str!("schemas/processed_data_topic.json"));
