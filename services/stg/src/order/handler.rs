//! The order stream in the raw layer: enrich, stage, pass on.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::PgConnection;
use strata_events::{Contract, Reject};
use strata_pipeline::{Effects, Handler, Input, Output, Record, StageError};
use strata_streams::order::Order;

use crate::order::store::{OrderEventRows, upsert_order_events};
use crate::reference::ReferenceCache;
use strata_streams::order::enrich::enrich;
use strata_streams::reference::ReferenceData;

/// Handles `stg_topic`.
pub struct OrderHandler {
    reference: ReferenceCache,
    output_topic: Arc<str>,
}

impl OrderHandler {
    /// Writes enriched orders to `output_topic`.
    pub fn new(reference: ReferenceCache, output_topic: Arc<str>) -> Self {
        Self { reference, output_topic }
    }
}

impl Handler for OrderHandler {
    type Event<'r> = Order<'r>;
    type Prepared = ReferenceData;

    fn decode<'r>(&self, record: &'r Record) -> Result<Order<'r>, Reject> {
        Order::decode(&record.payload)
    }

    async fn prepare<'r>(&mut self, inputs: &[Input<'r, Order<'r>>]) -> Result<ReferenceData, StageError> {
        let users = inputs.iter().map(|input| &*input.event.payload.user.id);
        let restaurants = inputs.iter().map(|input| &*input.event.payload.restaurant.id);
        let mut reference = self.reference.fetch(users, restaurants).await?;
        let outdated: BTreeSet<&str> = inputs
            .iter()
            .filter(|input| lacks_a_dish(&input.event, &reference))
            .map(|input| &*input.event.payload.restaurant.id)
            .collect();
        if !outdated.is_empty() {
            self.reference.read_again(&mut reference, &outdated).await?;
        }
        Ok(reference)
    }

    async fn apply<'r>(
        &mut self,
        transaction: &mut PgConnection,
        inputs: &[Input<'r, Order<'r>>],
        reference: ReferenceData,
    ) -> Result<Effects, StageError> {
        let mut effects = Effects::default();
        let mut staged: Vec<&Input<'_, Order<'_>>> = Vec::with_capacity(inputs.len());
        for (index, input) in inputs.iter().enumerate() {
            match enrich(&input.event, &reference) {
                Ok(fact) => {
                    let key = fact.object_id.to_string().into_bytes();
                    let payload = effects.body(&fact)?;
                    let output = Output::from_input(input.record, &self.output_topic, key, payload);
                    effects.outputs.push((index, output));
                    staged.push(input);
                }
                Err(reject) => effects.rejects.push((index, reject)),
            }
        }
        upsert_order_events(transaction, &OrderEventRows::newest(staged)).await?;
        Ok(effects)
    }
}

/// True when the menu is known and lacks a dish of the order.
fn lacks_a_dish(order: &Order<'_>, reference: &ReferenceData) -> bool {
    let menu = reference.restaurants.get(&*order.payload.restaurant.id);
    menu.is_some_and(|menu| order.payload.order_items.iter().any(|item| !menu.dishes.contains_key(&*item.id)))
}
