//! Searches as they are staged: the first record of each, as it was received.

use strata_events::Contract as _;
use strata_vault::rows::{Load, Rows};

use super::clean::clean;
use super::rows::{SearchFact, links, rest};
use super::{ProcessedSearch, Search};
use crate::staged::{RawRow, RawTable, Staged};

/// The table of the searches.
pub const RAW: RawTable = RawTable {
    table: "stg.hotel_search_events",
    key: "event_id",
    load_dt: "sent_dttm",
    said: &["user_id", "hotel_id", "(extract(epoch from search_dt) * 1000000)::bigint"],
    compared: "user, hotel, time and offers",
    read,
    version: None,
    known: None,
};

/// A cleaned search, with its user's id as text.
struct Cleaned {
    user_id: String,
    search: ProcessedSearch,
}

fn read(row: &RawRow) -> Result<Box<dyn Staged + '_>, String> {
    let search =
        Search::decode(row.payload.as_bytes()).map_err(|reject| format!("holds no search: {reject}"))?;
    let user_id = search.user_id.to_string();
    if row.said != [&*user_id, &*search.hotel_id, &*search.timestamp_micros().to_string()] {
        return Err("has another user, hotel or time than its payload".to_owned());
    }
    Ok(Box::new(Cleaned { user_id, search: clean(&search) }))
}

impl Staged for Cleaned {
    fn rows<'e>(&'e self, id: &'e str, load: &Load) -> Rows<'e> {
        let facts = [SearchFact::new(id, &self.user_id, &self.search, load.clone())];
        Rows { subjects: links(&facts), rest: rest(&facts) }
    }
}
