//! The stage of orders, and the model of the orders that were sent to it.

use std::collections::BTreeSet;

use dds::order::handler::OrderHandler;
use serde_json::Value;
use strata_events::{Contract as _, StageId};
use strata_pipeline::PgStage;
use strata_streams::order::counters::{Counted, Increments};
use strata_streams::order::{CountedMessage, ORDER};
use strata_testkit::samples::{enriched, reference};
use strata_testkit::{Alone, Model, NewRecord, Reference, TopicRecord, assert_vault_equals};

/// The stage of orders on a database of its own.
pub struct Orders {
    pub alone: Alone,
    pub model: Model,
}

impl Orders {
    /// A stage that nothing was sent to yet; `variables` are those of the service.
    pub async fn new(variables: &[(&str, &str)]) -> Self {
        Self { alone: Alone::new(&ORDER, StageId::Dds, variables).await, model: Model::default() }
    }

    /// Sends an order as stg enriches it; `place` gives the record its partition and time.
    pub fn send(&mut self, order: &Value, place: impl FnOnce(NewRecord) -> NewRecord) {
        self.send_enriched(order, &reference(), place);
    }

    /// As [`Orders::send`], with the reference data of that time.
    pub fn send_enriched(
        &mut self,
        order: &Value,
        reference: &Reference,
        place: impl FnOnce(NewRecord) -> NewRecord,
    ) {
        let record = self.alone.arrive(&[place(enriched(order, reference))]).remove(0);
        // To the model an order is as it lies in the topic before, at the same place here.
        let order = TopicRecord { payload: Some(order.to_string().into_bytes()), ..record };
        self.model.accept(&order, reference);
    }

    /// As many transactions side by side as the service has.
    pub fn writers(&self) -> Vec<PgStage<OrderHandler>> {
        (0..2).map(|_| self.alone.stage(OrderHandler::new(self.alone.output()))).collect()
    }

    /// An instance starts, reads to the end and stops.
    pub async fn run(&self) {
        self.alone.run(self.writers()).await;
    }

    /// Compares the vault and what was announced of it with the model.
    pub async fn assert_exact(&self) {
        assert_vault_equals(self.alone.pool(), &self.model).await;
        let (mut counted, mut seen) = (Counted::default(), BTreeSet::new());
        for record in self.alone.records(&self.alone.output()) {
            // What was sent again is skipped by who reads it, for its origin.
            if seen.insert(record.header("origin").expect("an origin").to_owned()) {
                let payload = record.payload.unwrap_or_default();
                counted.add(&CountedMessage::decode(&payload).expect("what dds announces is valid"));
            }
        }
        for (what, announced, expected) in [
            ("products", counted.products, self.model.product_counters()),
            ("categories", counted.categories, self.model.category_counters()),
        ] {
            let (announced, expected) = (rows(&announced), BTreeSet::from_iter(expected));
            let differences: Vec<_> = announced.symmetric_difference(&expected).take(8).collect();
            assert!(differences.is_empty(), "{what}, announced or expected alone: {differences:#?}");
        }
        assert_eq!(self.alone.dead_letters().await, []);
    }
}

/// Keys of user and thing, and how often they count.
fn rows(increments: &Increments) -> BTreeSet<Vec<String>> {
    let rows = increments.iter();
    rows.map(|((user, thing), (_, count))| vec![user.to_string(), thing.to_string(), count.to_string()])
        .collect()
}
