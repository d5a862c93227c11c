//! The order stream in the data marts: skip what was applied, add up the rest.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use strata_events::{Contract, Reject, StageId};
use strata_pipeline::watermark::Watermarks;
use strata_pipeline::{Effects, Handler, Input, Record, StageError};
use strata_streams::order::CountedMessage;

use crate::store;
use strata_streams::order::counters::Counted;

/// The layer.
const STAGE: StageId = StageId::Cdm;

/// Handles `cdm_topic`.
pub struct OrderHandler;

impl Handler for OrderHandler {
    type Event<'r> = CountedMessage<'r>;
    type Prepared = ();

    fn decode<'r>(&self, record: &'r Record) -> Result<CountedMessage<'r>, Reject> {
        CountedMessage::decode(&record.payload)
    }

    async fn apply<'r>(
        &mut self,
        tx: &mut PgConnection,
        inputs: &[Input<'r, CountedMessage<'r>>],
        (): (),
    ) -> Result<Effects, StageError> {
        let Some(topic) = inputs.first().map(|input| &input.record.topic) else {
            return Ok(Effects::default());
        };
        let partitions: BTreeSet<i32> = inputs.iter().map(|input| input.record.partition).collect();
        let mut watermarks =
            Watermarks::read(tx, STAGE.as_str(), topic, partitions.into_iter().collect()).await?;
        let mut counted = Counted::default();
        let mut effects = Effects::default();
        for input in inputs {
            if watermarks.advance(input.record.partition, &input.record.source()) {
                counted.add(&input.event);
            } else {
                effects.duplicates += 1;
            }
        }
        store::add_products(tx, &counted.products).await?;
        store::add_categories(tx, &counted.categories).await?;
        watermarks.write(tx, STAGE.as_str(), topic).await?;
        Ok(effects)
    }
}
