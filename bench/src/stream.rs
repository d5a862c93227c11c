//! The streams that can be measured: their topics by stage and the tables they fill.

use strata_events::stream::{HOTEL_SEARCH, ORDER};
use strata_events::{StoreKind, StreamSpec};
use strata_streams::{hotel_search, order};
use strata_testkit::{Fleet, Service};
use strata_vault::model::VaultModel;

/// A stream as the bench sees it.
#[derive(Debug)]
pub struct Measured {
    /// Topics and name.
    pub spec: StreamSpec,
    /// Table of the raw layer.
    pub raw: &'static str,
    /// Its vault.
    pub vault: &'static VaultModel,
    /// Counters it adds to: table and key.
    pub counters: &'static [(&'static str, &'static str)],
}

/// Orders, from `/push` to the counters.
pub const ORDERS: Measured = Measured {
    spec: ORDER,
    raw: "stg.order_events",
    vault: &order::vault::MODEL,
    counters: &[
        ("cdm.user_product_counters", "user_id, product_id"),
        ("cdm.user_category_counters", "user_id, category_id"),
    ],
};

/// Hotel searches, from `/push` to the metrics in Redis.
pub const SEARCHES: Measured = Measured {
    spec: HOTEL_SEARCH,
    raw: "stg.hotel_search_events",
    vault: &hotel_search::vault::MODEL,
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

    /// Tables it fills, those of the data marts aside.
    pub fn tables(&self) -> impl Iterator<Item = String> {
        let vault = self.vault.tables().into_iter().map(|table| table.to_string());
        std::iter::once(self.raw.to_owned()).chain(vault)
    }

    /// All tables.
    pub fn all_tables(&self) -> impl Iterator<Item = String> {
        self.tables().chain(self.counters.iter().map(|(table, _)| (*table).to_owned()))
    }
}
