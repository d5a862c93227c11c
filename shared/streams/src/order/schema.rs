//! JSON Schemas of the orders, one per topic.

use strata_events::Schema;

/// `stg_topic`.
pub const RAW: Schema = Schema::new(include_str!("schemas/stg_topic.json"));

/// `dds_topic`.
pub const FACT: Schema = Schema::new(include_str!("schemas/dds_topic.json"));

/// `cdm_topic`.
pub const COUNTED: Schema = Schema::new(include_str!("schemas/cdm_topic.json"));
