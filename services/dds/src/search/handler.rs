//! The hotel-search stream in the vault: load, announce what is new.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use sqlx::PgConnection;
use strata_events::event_id::{EVENT_ID_HEADER, event_id};
use strata_events::{Contract, Reject};
use strata_pipeline::{Effects, Handler, Input, Output, Record, StageError};
use strata_streams::hotel_search::ProcessedSearch;

use crate::hooks::HOOKS;
use strata_streams::hotel_search::rows::{SearchFact, earliest, fresh, links, rest};
use strata_streams::hotel_search::vault::MODEL;
use strata_vault::load::Loader;
use strata_vault::rows::Load;

static VAULT: LazyLock<Loader> = LazyLock::new(|| Loader::of(&MODEL, HOOKS));

/// A cleaned search with its identity.
#[derive(Debug)]
pub struct IdentifiedSearch {
    /// What it is known by in all layers.
    pub event_id: String,
    /// Its user's id as text.
    pub user_id: String,
    /// The search.
    pub search: ProcessedSearch,
}

/// Handles `processed_data_topic`.
pub struct SearchHandler {
    output_topic: Arc<str>,
}

impl SearchHandler {
    /// Announces searches that the vault saw for the first time on `output_topic`.
    pub fn new(output_topic: Arc<str>) -> Self {
        Self { output_topic }
    }

    fn announce(&self, input: &Input<'_, IdentifiedSearch>) -> Result<Output, StageError> {
        let IdentifiedSearch { event_id, search, .. } = &input.event;
        let payload = serde_json::to_vec(search).map_err(|e| StageError::Data(e.into()))?;
        let key = search.hotel_id.clone().into_bytes();
        let mut output = Output::from_input(input.record, &self.output_topic, key, payload);
        output.headers.push((EVENT_ID_HEADER.into(), event_id.clone()));
        Ok(output)
    }
}

impl Handler for SearchHandler {
    type Event<'r> = IdentifiedSearch;
    type Prepared = ();

    /// Metrics count advertisers as the vault lists them, so a list written by hand is brought into the
    /// same form: each name once, in order, the winner among them.
    fn decode(&self, record: &Record) -> Result<IdentifiedSearch, Reject> {
        let mut search = ProcessedSearch::decode(&record.payload)?;
        let names: BTreeSet<String> = std::mem::take(&mut search.advertisers).into_iter().collect();
        if let Some(offer) = search.min_offer.as_ref().filter(|offer| !names.contains(&offer.advertiser)) {
            let detail = format!("min_offer.advertiser {:?} is not among the advertisers", offer.advertiser);
            return Err(Reject::new("unknown_advertiser", detail));
        }
        search.advertisers = names.into_iter().collect();
        let event_id = event_id(record.event_id.as_deref(), &record.start())?;
        Ok(IdentifiedSearch { event_id, user_id: search.user_id.to_string(), search })
    }

    async fn apply<'r>(
        &mut self,
        tx: &mut PgConnection,
        inputs: &[Input<'r, IdentifiedSearch>],
        (): (),
    ) -> Result<Effects, StageError> {
        let facts: Vec<SearchFact<'_>> = inputs
            .iter()
            .map(|input| {
                let load = Load::new(input.record.load_dt(), &input.record.start());
                let IdentifiedSearch { event_id, user_id, search } = &input.event;
                SearchFact::new(event_id, user_id, search, load)
            })
            .collect();
        let mut effects = Effects::default();
        for index in write(tx, &facts).await? {
            effects.outputs.push((index, self.announce(&inputs[index])?));
        }
        Ok(effects)
    }
}

/// Writes a batch and returns the searches that the vault did not know, by index.
///
/// The link comes first, and only what its unique key lets in brings its hubs and its offers: a search that comes
/// again with another hotel would leave one without a search. Two partitions may bring one search at once: the
/// second writer waits for the first and then finds the search known.
///
/// Users are the only table that the orders fill too, and who fills orders asks for no lock on a search while it
/// holds users. So writers of both wait for each other, never in a circle.
async fn write(tx: &mut PgConnection, facts: &[SearchFact<'_>]) -> Result<Vec<usize>, StageError> {
    let records = earliest(facts);
    let created = VAULT.create(tx, &links(records.values().map(|&index| &facts[index]))).await?;
    let fresh = fresh(&records, &created);
    VAULT.complete(tx, rest(fresh.iter().map(|&index| &facts[index])), &created).await?;
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const GOLDEN: &[u8] = strata_streams::hotel_search::golden::PROCESSED.as_bytes();

    fn record(payload: Vec<u8>) -> Record {
        Record {
            topic: "processed_data_topic".into(),
            partition: 2,
            offset: 7,
            timestamp_ms: 8,
            payload,
            event_id: Some("a-1".into()),
            ..Record::default()
        }
    }

    fn decode(record: &Record) -> Result<IdentifiedSearch, Reject> {
        SearchHandler::new("metrics_topic".into()).decode(record)
    }

    #[test]
    fn the_golden_search_is_announced_as_it_came() {
        let record = record(GOLDEN.to_vec());
        let input = Input { event: decode(&record).expect("valid"), record: &record };
        let output = SearchHandler::new("metrics_topic".into()).announce(&input).expect("JSON");
        assert_eq!((&*output.topic, output.timestamp_ms), ("metrics_topic", 8));
        assert_eq!(output.key.as_deref(), Some(&b"6033"[..]));
        let headers = [("origin", "processed_data_topic/2/7"), ("event_id", "a-1")];
        assert_eq!(output.headers, headers.map(|(name, value)| (name.into(), value.to_owned())));
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
        assert_eq!(json(&output.payload), json(GOLDEN));
    }

    #[test]
    fn a_search_without_a_header_is_known_by_its_source() {
        let mut record = record(GOLDEN.to_vec());
        record.event_id = None;
        let own = decode(&record).expect("valid").event_id;
        assert_eq!(Ok(own), event_id(None, &record.coordinates()));
        record.origin = Some("raw_data_topic/1/2".parse().expect("an origin"));
        let source = decode(&record).expect("valid").event_id;
        assert_eq!(Ok(source), event_id(None, &record.source()));
    }

    #[test]
    fn advertisers_written_by_hand_are_brought_into_order() {
        let mut body: Value = serde_json::from_slice(GOLDEN).expect("JSON");
        body["advertisers"] = json!(["Expedia", "Amoma", "Expedia"]);
        let search = decode(&record(body.to_string().into_bytes())).expect("valid").search;
        assert_eq!(search.advertisers, ["Amoma", "Expedia"]);
        body["advertisers"] = json!(["Amoma"]);
        let reject = decode(&record(body.to_string().into_bytes())).expect_err("no Expedia");
        assert_eq!(reject.code, "unknown_advertiser");
    }
}
