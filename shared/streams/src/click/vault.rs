//! The vault of the clicks.

use strata_vault::model::{Column, ColumnType, Hub, Link, Parent, Satellite, VaultModel};

use crate::vault::USER;

/// The vault of the clicks.
pub static MODEL: VaultModel = VaultModel {
    stream: "click",
    subject: Parent::Link(&CLICK),
    hubs: &[&USER, &PAGE, &COUNTRY],
    links: &[&CLICK],
    satellites: &[&CLICK_CLIENTS],
};

/// Pages of the site.
pub static PAGE: Hub = Hub {
    table: "h_page",
    key: "h_page_pk",
    business_key: Column::new("url", ColumnType::Text),
    attributes: &[],
};

/// Countries that clicks come from.
pub static COUNTRY: Hub = Hub {
    table: "h_country",
    key: "h_country_pk",
    business_key: Column::new("country_name", ColumnType::Text),
    attributes: &[],
};

/// Clicks: who opened which page, from where, and when.
pub static CLICK: Link = Link {
    table: "l_click",
    key: "hk_click_pk",
    hubs: &[&USER, &PAGE, &COUNTRY],
    event: Some(Column::new("event_id", ColumnType::Text)),
    attributes: &[Column::new("click_dt", ColumnType::Timestamp)],
};

/// What a click was made with; empty texts where nobody knows.
pub static CLICK_CLIENTS: Satellite = Satellite {
    table: "s_click_clients",
    parent: Parent::Link(&CLICK),
    hashdiff: "hk_click_clients_hashdiff",
    sent: false,
    attributes: &[
        Column::new("city", ColumnType::Text),
        Column::new("browser", ColumnType::Text),
        Column::new("os", ColumnType::Text),
        Column::new("device", ColumnType::Text),
    ],
};
