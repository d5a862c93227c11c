//! Golden messages of the orders, one per topic, and the reference data that the golden order needs.

/// `stg_topic`.
pub const RAW: &str = include_str!("golden/stg_topic.json");

/// `dds_topic`: the same order, enriched.
pub const FACT: &str = include_str!("golden/dds_topic.json");

/// `cdm_topic`: what of it becomes countable.
pub const COUNTED: &str = include_str!("golden/cdm_topic.json");

/// The user who ordered.
pub const USER: &str = include_str!("golden/reference_user.json");

/// The restaurant, with its menu.
pub const RESTAURANT: &str = include_str!("golden/reference_restaurant.json");
