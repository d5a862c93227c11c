//! The vault of the orders.

use strata_vault::model::{Column, ColumnType, Hub, Link, Parent, Satellite, VaultModel};

use crate::vault::USER;

/// The vault of the orders.
pub static MODEL: VaultModel = VaultModel {
    stream: "order",
    subject: Parent::Hub(&ORDER),
    hubs: &[&ORDER, &USER, &PRODUCT, &CATEGORY, &RESTAURANT],
    links: &[&ORDER_USER, &ORDER_PRODUCT, &ORDER_CATEGORY, &PRODUCT_RESTAURANT, &PRODUCT_CATEGORY],
    satellites: &[&USER_NAMES, &PRODUCT_NAMES, &RESTAURANT_NAMES, &ORDER_COST, &ORDER_STATUS],
};

/// Orders, with the date of the first version.
pub static ORDER: Hub = Hub {
    table: "h_order",
    key: "h_order_pk",
    business_key: Column::new("order_id", ColumnType::BigInt),
    attributes: &[Column::new("order_dt", ColumnType::Timestamp)],
};

/// Products.
pub static PRODUCT: Hub = Hub {
    table: "h_product",
    key: "h_product_pk",
    business_key: Column::new("product_id", ColumnType::Text),
    attributes: &[],
};

/// Categories.
pub static CATEGORY: Hub = Hub {
    table: "h_category",
    key: "h_category_pk",
    business_key: Column::new("category_name", ColumnType::Text),
    attributes: &[],
};

/// Restaurants.
pub static RESTAURANT: Hub = Hub {
    table: "h_restaurant",
    key: "h_restaurant_pk",
    business_key: Column::new("restaurant_id", ColumnType::Text),
    attributes: &[],
};

/// Who ordered.
pub static ORDER_USER: Link = Link {
    table: "l_order_user",
    key: "hk_order_user_pk",
    hubs: &[&ORDER, &USER],
    event: None,
    attributes: &[],
};

/// What was ordered.
pub static ORDER_PRODUCT: Link = Link {
    table: "l_order_product",
    key: "hk_order_product_pk",
    hubs: &[&ORDER, &PRODUCT],
    event: None,
    attributes: &[],
};

/// Which categories an order held when it was placed: menus move dishes, facts do not.
pub static ORDER_CATEGORY: Link = Link {
    table: "l_order_category",
    key: "hk_order_category_pk",
    hubs: &[&ORDER, &CATEGORY],
    event: None,
    attributes: &[],
};

/// Who sells a product.
pub static PRODUCT_RESTAURANT: Link = Link {
    table: "l_product_restaurant",
    key: "hk_product_restaurant_pk",
    hubs: &[&PRODUCT, &RESTAURANT],
    event: None,
    attributes: &[],
};

/// Which categories a product was in.
pub static PRODUCT_CATEGORY: Link = Link {
    table: "l_product_category",
    key: "hk_product_category_pk",
    hubs: &[&PRODUCT, &CATEGORY],
    event: None,
    attributes: &[],
};

/// What users are called.
pub static USER_NAMES: Satellite = Satellite {
    table: "s_user_names",
    parent: Parent::Hub(&USER),
    hashdiff: "hk_user_names_hashdiff",
    sent: false,
    attributes: &[Column::new("username", ColumnType::Text), Column::new("userlogin", ColumnType::Text)],
};

/// What products are called.
pub static PRODUCT_NAMES: Satellite = Satellite {
    table: "s_product_names",
    parent: Parent::Hub(&PRODUCT),
    hashdiff: "hk_product_names_hashdiff",
    sent: false,
    attributes: &[Column::new("name", ColumnType::Text)],
};

/// What restaurants are called.
pub static RESTAURANT_NAMES: Satellite = Satellite {
    table: "s_restaurant_names",
    parent: Parent::Hub(&RESTAURANT),
    hashdiff: "hk_restaurant_names_hashdiff",
    sent: false,
    attributes: &[Column::new("name", ColumnType::Text)],
};

/// What orders cost, and what was paid.
pub static ORDER_COST: Satellite = Satellite {
    table: "s_order_cost",
    parent: Parent::Hub(&ORDER),
    hashdiff: "hk_order_cost_hashdiff",
    sent: true,
    attributes: &[Column::new("cost", ColumnType::Numeric), Column::new("payment", ColumnType::Numeric)],
};

/// States of orders.
pub static ORDER_STATUS: Satellite = Satellite {
    table: "s_order_status",
    parent: Parent::Hub(&ORDER),
    hashdiff: "hk_order_status_hashdiff",
    sent: true,
    attributes: &[Column::new("status", ColumnType::Text)],
};
