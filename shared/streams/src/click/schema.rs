//! JSON Schemas of the clicks.

use strata_events::Schema;

/// `clickstream`, both forms.
pub const RAW: Schema = Schema::new(include_str!("schemas/clickstream.json"));

/// `clickstream_dds`.
pub const CLEANED: Schema = Schema::new(include_str!("schemas/clickstream_dds.json"));
