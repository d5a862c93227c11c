//! The click stream in the vault: load. Nothing is passed on.

use std::sync::LazyLock;

use sqlx::PgConnection;
use strata_events::event_id::event_id;
use strata_events::{Contract, Reject};
use strata_pipeline::{Effects, Handler, Input, Record, StageError};
use strata_streams::click::CleanedClick;
use strata_streams::click::rows::{ClickFact, earliest, links, rest};
use strata_streams::click::vault::MODEL;
use strata_vault::load::Loader;
use strata_vault::rows::Load;

use crate::hooks::HOOKS;

static VAULT: LazyLock<Loader> = LazyLock::new(|| Loader::of(&MODEL, HOOKS));

/// Handles `clickstream_dds`.
pub struct ClickHandler;

impl Handler for ClickHandler {
    type Event<'r> = (String, CleanedClick);
    type Prepared = ();

    fn decode(&self, record: &Record) -> Result<(String, CleanedClick), Reject> {
        let click = CleanedClick::decode(&record.payload)?;
        Ok((event_id(record.event_id.as_deref(), &record.start())?, click))
    }

    /// The link comes first, and only what its unique key lets in brings its hubs and its client: a click that comes
    /// again with another page would leave one without a click.
    async fn apply<'r>(
        &mut self,
        tx: &mut PgConnection,
        inputs: &[Input<'r, (String, CleanedClick)>],
        (): (),
    ) -> Result<Effects, StageError> {
        let facts: Vec<ClickFact<'_>> = inputs
            .iter()
            .map(|Input { record, event: (event_id, click) }| {
                ClickFact::new(event_id, click, Load::new(record.load_dt(), &record.start()))
            })
            .collect();
        let records = earliest(&facts);
        let created = VAULT.create(tx, &links(records.values().map(|&index| &facts[index]))).await?;
        let fresh = records.iter().filter(|(key, _)| created.contains(key)).map(|(_, &index)| &facts[index]);
        VAULT.complete(tx, rest(fresh), &created).await?;
        Ok(Effects::default())
    }
}
