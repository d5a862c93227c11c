//! What the vaults of several streams share. The tables themselves are made by `migrations/`; a test holds the two
//! together.

use strata_vault::model::{Column, ColumnType, Hub};

/// Users, shared by all streams.
pub static USER: Hub = Hub {
    table: "h_user",
    key: "h_user_pk",
    business_key: Column::new("user_id", ColumnType::Text),
    attributes: &[],
};
