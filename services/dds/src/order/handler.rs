//! The order stream in the vault: load, decide, announce.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use strata_events::{Contract, FactMessage, Reject};
use strata_runtime::kafka::{Effects, Handler, Input, Output, Record, StageError};
use uuid::Uuid;

use crate::order::countable::OrderState;
use crate::order::rows::{OrderFact, VaultRows};
use crate::rows::Load;
use crate::store::{hubs, links, orders, satellites};

/// Handles `dds_topic`.
pub struct OrderHandler {
    output_topic: String,
}

impl OrderHandler {
    /// Announces what became countable on `output_topic`.
    pub fn new(output_topic: String) -> Self {
        Self { output_topic }
    }

    fn announce(
        &self,
        inputs: &[Input<'_, FactMessage>],
        facts: &[OrderFact<'_>],
        mut states: BTreeMap<Uuid, OrderState>,
    ) -> Result<Effects, StageError> {
        let mut effects = Effects::default();
        for (index, fact) in facts.iter().enumerate() {
            let Some(message) = states.entry(fact.order_pk).or_default().add(fact) else { continue };
            let payload = serde_json::to_vec(&message).map_err(|e| StageError::Data(e.into()))?;
            let key = fact.user_pk.to_string().into_bytes();
            let output = Output::from_input(inputs[index].record, &self.output_topic, key, payload);
            effects.outputs.push((index, output));
        }
        Ok(effects)
    }
}

impl Handler for OrderHandler {
    type Event = FactMessage;

    fn decode(&self, record: &Record) -> Result<FactMessage, Reject> {
        FactMessage::decode(&record.payload)
    }

    async fn apply(
        &mut self,
        tx: &mut PgConnection,
        inputs: &[Input<'_, FactMessage>],
    ) -> Result<Effects, StageError> {
        let facts: Vec<OrderFact<'_>> = inputs
            .iter()
            .map(|input| {
                OrderFact::new(&input.event, Load::new(input.record.load_dt(), &input.record.start()))
            })
            .collect();
        let states = write(tx, VaultRows::build(&facts)).await?;
        self.announce(inputs, &facts, states)
    }
}

/// Writes a batch and returns what the vault knew of its orders before.
///
/// The order of the steps is the order of the locks: hub of orders, known orders, other hubs, links,
/// satellites, each sorted by key. All writers keep it, so they wait for each other, never in a circle.
///
/// **Idempotent**: rows that are there stay as they are.
pub async fn write(tx: &mut PgConnection, rows: VaultRows) -> Result<BTreeMap<Uuid, OrderState>, StageError> {
    let created: BTreeSet<Uuid> = hubs::insert_orders(tx, &rows.orders).await?;
    let known: Vec<Uuid> = rows.orders.keys().filter(|key| !created.contains(key)).copied().collect();
    let states = orders::lock_and_read(tx, &known).await?;

    let other_hubs = [
        (hubs::USER, &rows.users),
        (hubs::PRODUCT, &rows.products),
        (hubs::CATEGORY, &rows.categories),
        (hubs::RESTAURANT, &rows.restaurants),
    ];
    hubs::insert(tx, &other_hubs).await?;
    links::insert_all(tx, &rows).await?;
    satellites::insert_names(tx, rows.user_names, rows.product_names, rows.restaurant_names).await?;
    satellites::insert_orders(tx, &known, rows.order_cost, rows.order_status).await?;
    Ok(states)
}
