//! The vault of every stream. The tables themselves are made by `migrations/`; a test holds the two together.

pub mod hotel_search;
pub mod order;

use crate::model::{Column, ColumnType, Hub, VaultModel};

/// All vaults.
pub static ALL: [&VaultModel; 2] = [&order::MODEL, &hotel_search::MODEL];

/// Users, shared by all streams.
pub static USER: Hub = Hub {
    table: "h_user",
    key: "h_user_pk",
    business_key: Column::new("user_id", ColumnType::Text),
    attributes: &[],
};
