//! What the bench asks of a stream: its topics by stage and the tables it fills.

use strata_events::StoreKind;
use strata_streams::StreamDef;
use strata_testkit::{Fleet, Service};

/// The stages of a stream whose progress Postgres knows, with the topics they read.
pub fn topics(stream: &StreamDef, fleet: &Fleet) -> Vec<(Service, String)> {
    let in_postgres = stream.spec.hops.iter().filter(|hop| hop.store == StoreKind::Postgres);
    in_postgres.map(|hop| (Service::of(hop.stage), fleet.topic(hop.topic.env))).collect()
}

/// True when a layer keeps its data, and its progress, in Redis.
pub fn ends_in_redis(stream: &StreamDef) -> bool {
    stream.spec.hops.iter().any(|hop| hop.store == StoreKind::Redis)
}

/// Tables that a stream fills, those of the data marts aside.
pub fn tables(stream: &StreamDef) -> impl Iterator<Item = String> + use<> {
    let vault = stream.vault.tables().into_iter().map(|table| table.to_string());
    std::iter::once(stream.raw.table.to_owned()).chain(vault)
}

/// All tables that a stream fills.
pub fn all_tables(stream: &StreamDef) -> impl Iterator<Item = String> + use<> {
    tables(stream).chain(stream.counters().map(|counters| counters.table.to_owned()))
}
