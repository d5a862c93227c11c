//! Every stream with the model that it is compared with.

use std::pin::Pin;
use std::time::Duration;

use strata_streams::click::CLICK;
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_streams::order::ORDER;
use strata_streams::{STREAMS, StreamDef};

use crate::click::{ClickModel, assert_clicks_equal};
use crate::compare::assert_warehouse_equals;
use crate::fleet::{Fleet, Service};
use crate::kafka::TopicRecord;
use crate::model::Model;
use crate::search::{SearchModel, assert_searches_equal};

/// Compares every layer of a fleet at rest with the model of one stream, made of these records of its first topic.
type Compare = for<'f> fn(&'f Fleet, &'f str, &'f [TopicRecord]) -> Pin<Box<dyn Future<Output = ()> + 'f>>;

/// The comparisons by stream; a new one is one more line.
const MODELS: &[(&str, Compare)] = &[
    (ORDER.name, |fleet, _, records| Box::pin(orders(fleet, records))),
    (HOTEL_SEARCH.name, |fleet, topic, records| Box::pin(searches(fleet, topic, records))),
    (CLICK.name, |fleet, topic, records| Box::pin(clicks(fleet, topic, records))),
];

async fn orders(fleet: &Fleet, records: &[TopicRecord]) {
    let (reference, mut model) = (fleet.reference().await, Model::default());
    records.iter().for_each(|record| model.accept(record, &reference));
    assert_warehouse_equals(fleet.pool(), &model).await;
}

async fn searches(fleet: &Fleet, topic: &str, records: &[TopicRecord]) {
    let mut model = SearchModel::default();
    records.iter().for_each(|record| model.accept(topic, record));
    assert_searches_equal(fleet, &model).await;
}

async fn clicks(fleet: &Fleet, topic: &str, records: &[TopicRecord]) {
    let mut model = ClickModel::default();
    records.iter().for_each(|record| model.accept(topic, record));
    assert_clicks_equal(fleet.pool(), &model).await;
}

impl Fleet {
    /// Every stage of every stream with the topic that it reads.
    pub fn inputs(&self) -> Vec<(Service, String)> {
        let hops = STREAMS.iter().flat_map(|stream| stream.spec.hops);
        hops.map(|hop| (Service::of(hop.stage), self.topic(hop.topic.env))).collect()
    }

    /// Waits until every event of a stream has gone through all layers, then compares each with the model; every
    /// record of its first topic must be a valid event.
    ///
    /// **Panics** when a layer differs, or the stream has no model.
    pub async fn assert_exact(&self, stream: &StreamDef, within: Duration) {
        self.assert_exact_of(stream, within, |_| true).await;
    }

    /// As [`Fleet::assert_exact`], of those records that are `good`: the others are no events.
    pub async fn assert_exact_of(
        &self,
        stream: &StreamDef,
        within: Duration,
        good: impl Fn(&TopicRecord) -> bool,
    ) {
        let (name, topic) = (stream.spec.name, self.topic(stream.spec.source().env));
        let (_, compare) =
            MODELS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name} has no model"));
        self.stream_at_rest(stream, within).await;
        let mut records = self.kafka().read_all(&topic).await;
        records.retain(good);
        compare(self, &topic, &records).await;
    }
}
