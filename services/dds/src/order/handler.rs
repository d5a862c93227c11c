//! The order stream in the vault: load, decide, announce.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use sqlx::PgConnection;
use strata_events::{Contract, Reject};
use strata_pipeline::{Effects, Handler, Input, Output, Record, StageError};
use strata_streams::order::FactMessage;
use uuid::Uuid;

use super::states;
use crate::hooks::HOOKS;
use strata_streams::order::countable::OrderState;
use strata_streams::order::rows::{OrderFact, spread};
use strata_streams::order::vault::MODEL;
use strata_vault::load::Loader;
use strata_vault::rows::{Fresh, Keys, Load, Rows};

static VAULT: LazyLock<Loader> = LazyLock::new(|| Loader::of(&MODEL, HOOKS));

/// Handles `dds_topic`.
pub struct OrderHandler {
    output_topic: Arc<str>,
    /// The last attempt found rows of an order that the hub does not know: the next one expects them.
    hub_lacks_orders: bool,
}

impl OrderHandler {
    /// Announces what became countable on `output_topic`.
    pub fn new(output_topic: Arc<str>) -> Self {
        Self { output_topic, hub_lacks_orders: false }
    }

    fn announce<'a>(
        &self,
        inputs: &[Input<'_, FactMessage<'_>>],
        facts: &[OrderFact<'a>],
        mut states: BTreeMap<Uuid, OrderState<'a>>,
    ) -> Result<Effects, StageError> {
        let mut effects = Effects::default();
        for (index, fact) in facts.iter().enumerate() {
            let Some(message) = states.entry(fact.order_pk).or_default().add(fact) else { continue };
            let payload = effects.body(&message)?;
            let key = fact.user_pk.to_string().into_bytes();
            let output = Output::from_input(inputs[index].record, &self.output_topic, key, payload);
            effects.outputs.push((index, output));
        }
        Ok(effects)
    }
}

impl Handler for OrderHandler {
    type Event<'r> = FactMessage<'r>;
    type Prepared = ();

    fn decode<'r>(&self, record: &'r Record) -> Result<FactMessage<'r>, Reject> {
        FactMessage::decode(&record.payload)
    }

    /// Rows of an order that the hub does not know are no reason to refuse it: the batch is repeated for
    /// a hub that lacks orders, and they count as what the vault knows.
    async fn apply<'r>(
        &mut self,
        tx: &mut PgConnection,
        inputs: &[Input<'r, FactMessage<'r>>],
        (): (),
    ) -> Result<Effects, StageError> {
        let mut keys = Keys::default();
        let facts: Vec<OrderFact<'_>> = inputs
            .iter()
            .map(|input| {
                let load = Load::new(input.record.load_dt(), &input.record.start());
                OrderFact::new(&input.event, load, &mut keys)
            })
            .collect();
        match write(tx, spread(&facts), self.hub_lacks_orders).await {
            Err(StageError::Data(source)) if !self.hub_lacks_orders && is_duplicate(&source) => {
                self.hub_lacks_orders = true;
                Err(StageError::Transient { dependency: "the vault", source })
            }
            Err(error) => Err(error),
            Ok(states) => {
                self.hub_lacks_orders = false;
                self.announce(inputs, &facts, states)
            }
        }
    }
}

/// Writes a batch and returns what the vault knew of its orders before.
///
/// A vault that lost rows may hold links and satellites of an order that its hub does not know; with
/// `hub_lacks_orders` the writer expects that. Without it, it fails there with a unique violation, and nothing is written.
async fn write(
    tx: &mut PgConnection,
    rows: Rows<'_>,
    hub_lacks_orders: bool,
) -> Result<BTreeMap<Uuid, OrderState<'static>>, StageError> {
    let created = VAULT.create(tx, &rows.subjects).await?;
    let fresh = if hub_lacks_orders { Fresh::new() } else { created };
    let known = rows.subjects.known(&fresh);
    VAULT.lock(tx, &known).await?;
    let states = states::read(tx, &known).await?;
    VAULT.complete(tx, rows.rest, &fresh).await?;
    Ok(states)
}

/// True when a row was there already.
fn is_duplicate(error: &anyhow::Error) -> bool {
    let database = error.downcast_ref::<sqlx::Error>().and_then(|error| error.as_database_error());
    database.is_some_and(|error| error.is_unique_violation())
}
