//! The streams that can be measured: their topics by stage and the tables they fill.

use strata_events::stream::{HOTEL_SEARCH, ORDER};
use strata_events::{StoreKind, StreamSpec};
use strata_testkit::{Fleet, Service};

/// A stream as the bench sees it.
#[derive(Debug)]
pub struct Measured {
    /// Topics and name.
    pub spec: StreamSpec,
    /// Tables it fills, those of the data marts aside.
    pub tables: &'static [&'static str],
    /// Counters it adds to: table and key.
    pub counters: &'static [(&'static str, &'static str)],
}

/// Orders, from `/push` to the counters.
pub const ORDERS: Measured = Measured {
    spec: ORDER,
    tables: &[
        "stg.order_events",
        "dds.h_order",
        "dds.h_user",
        "dds.h_product",
        "dds.h_category",
        "dds.h_restaurant",
        "dds.l_order_user",
        "dds.l_order_product",
        "dds.l_order_category",
        "dds.l_product_restaurant",
        "dds.l_product_category",
        "dds.s_user_names",
        "dds.s_product_names",
        "dds.s_restaurant_names",
        "dds.s_order_cost",
        "dds.s_order_status",
    ],
    counters: &[
        ("cdm.user_product_counters", "user_id, product_id"),
        ("cdm.user_category_counters", "user_id, category_id"),
    ],
};

/// Hotel searches, from `/push` to the metrics in Redis.
pub const SEARCHES: Measured = Measured {
    spec: HOTEL_SEARCH,
    tables: &[
        "stg.hotel_search_events",
        "dds.h_user",
        "dds.h_hotel",
        "dds.h_advertiser",
        "dds.l_hotel_search",
        "dds.s_hotel_search_offers",
    ],
    counters: &[],
};

impl Measured {
    /// The stages whose progress Postgres knows, with the topics they read.
    pub fn topics(&self, fleet: &Fleet) -> Vec<(Service, String)> {
        let in_postgres = self.spec.hops.iter().filter(|hop| hop.store == StoreKind::Postgres);
        in_postgres.map(|hop| (Service::of(hop.stage), fleet.topic(hop.topic.env))).collect()
    }

    /// True when a layer keeps its data, and its progress, in Redis.
    pub fn ends_in_redis(&self) -> bool {
        self.spec.hops.iter().any(|hop| hop.store == StoreKind::Redis)
    }

    /// Names of all layers, in order.
    pub fn layers(&self) -> impl Iterator<Item = &'static str> {
        self.spec.hops.iter().map(|hop| hop.stage.as_str())
    }

    /// All tables.
    pub fn all_tables(&self) -> impl Iterator<Item = &'static str> {
        self.tables.iter().copied().chain(self.counters.iter().map(|(table, _)| *table))
    }
}
