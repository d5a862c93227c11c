//! The vault of every stream. The tables themselves are made by `migrations/`; a test holds the two together.

use strata_vault::model::{Column, ColumnType, Hub, VaultModel};

use crate::{hotel_search, order};

/// All vaults.
pub static ALL: [&VaultModel; 2] = [&order::vault::MODEL, &hotel_search::vault::MODEL];

/// Users, shared by all streams.
pub static USER: Hub = Hub {
    table: "h_user",
    key: "h_user_pk",
    business_key: Column::new("user_id", ColumnType::Text),
    attributes: &[],
};
