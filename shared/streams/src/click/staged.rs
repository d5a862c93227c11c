//! Clicks as they are staged: the first record of each, as it was received.

use strata_events::Contract as _;
use strata_vault::rows::{Load, Rows};

use super::clean::clean;
use super::rows::{ClickFact, links, rest};
use super::{CleanedClick, Click};
use crate::staged::{RawRow, RawTable, Staged};

/// The table of the clicks.
pub const RAW: RawTable = RawTable {
    table: "stg.click_events",
    key: "event_id",
    load_dt: "sent_dttm",
    said: &["(extract(epoch from click_dt) * 1000000)::bigint"],
    compared: "user, page, country, time and client",
    read,
    version: None,
    known: None,
};

fn read(row: &RawRow) -> Result<Box<dyn Staged + '_>, String> {
    let click = Click::decode(row.payload.as_bytes()).and_then(|click| clean(&click));
    let click = click.map_err(|reject| format!("holds no click: {reject}"))?;
    if row.said != [click.timestamp.timestamp_micros().to_string()] {
        return Err("has another time than its payload".to_owned());
    }
    Ok(Box::new(click))
}

impl Staged for CleanedClick {
    fn rows<'e>(&'e self, id: &'e str, load: &Load) -> Rows<'e> {
        let facts = [ClickFact::new(id, self, load.clone())];
        Rows { subjects: links(&facts), rest: rest(&facts) }
    }
}
