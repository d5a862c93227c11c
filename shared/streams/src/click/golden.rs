//! Golden messages of the clicks.

/// `clickstream`, as an object.
pub const RAW: &str = include_str!("golden/clickstream.json");

/// `clickstream`, the same click as an array.
pub const RAW_ARRAY: &str = include_str!("golden/clickstream_array.json");

/// `clickstream_dds`: the same click, cleaned.
pub const CLEANED: &str = include_str!("golden/clickstream_dds.json");
