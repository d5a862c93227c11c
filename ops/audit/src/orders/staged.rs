//! The raw layer against the vault: what is staged has arrived, and what has arrived is staged.
//!
//! stg commits an order and its output together, dds applies it later. In flight are the orders of the
//! outputs that stg has kept and of the records that dds has not read, as far as their inputs lie below
//! stg's offset in the snapshot. An order that dds refused is a dead letter. Every other order must be in
//! both layers, or in none.

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use strata_events::stream::dlq_topic;
use strata_events::{Money, StageId};
use strata_observe::read_ranges;
use strata_streams::order;
use strata_streams::order::ORDER;
use strata_streams::order::vault::{ORDER as HUB, ORDER_COST, ORDER_STATUS};
use strata_vault::{LoadPosition, hashdiff, hub_key};
use uuid::Uuid;

use super::super::copy::Row;
use super::super::ordered::Ordered;
use super::super::outputs::origin_of;
use super::super::report::Check;
use super::super::snapshot::Snapshot;
use super::super::vault::{Place, Places};
use super::Excused;
use super::vault::Order;

/// The raw layer against the vault.
pub struct Staged {
    /// Business keys of orders that dds need not have as stg has them.
    pub excused: Excused,
    /// What is worth knowing besides.
    pub notes: Vec<String>,
    there: Check,
    versions: Check,
    in_force: Check,
    back: Check,
    positions: Check,
}

/// What is kept of a staged order until it is looked at.
#[derive(Serialize, Deserialize)]
struct Kept {
    id: i64,
    kind: String,
    place: Place,
    content: Content,
}

/// What of a record of `dds_topic` says which order it is about.
#[derive(Deserialize)]
struct About {
    object_id: i64,
}

fn about(body: &[u8]) -> Option<i64> {
    serde_json::from_slice::<About>(body).ok().map(|about| about.object_id)
}

/// The columns that are compared. Fields that are absent from the payload are null.
const SELECT: &str = "select object_id, sent_dttm, object_type, load_src, load_partition::bigint, load_offset, load_dt, \
     payload #>> '{user,id}', payload ->> 'final_status', payload ->> 'cost', payload ->> 'payment', \
     jsonb_path_query_array(payload, '$.order_items[*].id')::text from stg.order_events";

impl Staged {
    /// Reads the raw layer; the rows come in the order of the orders' keys.
    pub fn read(snapshot: &Snapshot<'_>) -> anyhow::Result<(Self, Ordered)> {
        let [stg_topic, dds_topic] =
            [StageId::Stg, StageId::Dds].map(|stage| snapshot.settings.topics.name(ORDER.topic(stage)));
        let mut notes = Vec::new();
        let in_flight = in_flight(snapshot, stg_topic, dds_topic)?;
        if !in_flight.is_empty() {
            notes.push(format!("{} orders are on their way from stg to dds", in_flight.len()));
        }
        let refused = refused(snapshot, dds_topic);
        if !refused.is_empty() {
            notes.push(format!(
                "{} orders are dead letters of dds and need not be in the vault",
                refused.len()
            ));
        }
        let mut positions = Check::new("stg orders: versions came from records below the offsets");
        let places = Places::new(snapshot, &[(StageId::Stg.as_str(), stg_topic)]);
        let mut sorter = snapshot.source.sorter();
        snapshot.source.all(SELECT, |row| {
            let id = row.bigint(0)?;
            check_place(&places, &mut positions, row, id)?;
            let kind = row.text(2)?.to_owned();
            sorter.put(
                hub_key(&id.to_string()),
                &Kept { id, kind, place: place(row)?, content: Content::of(row)? },
            )
        })?;
        let staged = Self {
            excused: &in_flight | &refused,
            notes,
            there: Check::new("stg → dds: every order has arrived"),
            versions: Check::new("stg → dds: user, products, status and cost of every order"),
            in_force: Check::new(
                "stg → dds: the version in force of every order is the one that was sent last",
            ),
            back: Check::new("dds → stg: every order is staged"),
            positions,
        };
        Ok((staged, sorter.sorted()?))
    }

    /// Compares what is staged of an order with its vault; gives when the staged version was sent, in microseconds.
    pub fn compare(&mut self, rows: &mut Ordered, key: Uuid, order: &Order) -> anyhow::Result<Option<i64>> {
        let mut sent = None;
        rows.rows(key, |row| {
            let kept: Kept = row.json()?;
            sent = Some(kept.place.0);
            self.there.compared += 1;
            if !self.excused.contains(&kept.id) {
                self.arrived(&kept, order);
            }
            Ok(())
        })?;
        if let Some(id) = order.id {
            self.back.compared += 1;
            // Records that were written to dds_topic by hand never were in stg.
            if sent.is_none() && !order.by_hand {
                self.back.differs(|| format!("{}: order {id} is not in stg.order_events", HUB.table));
            }
        }
        Ok(sent)
    }

    fn arrived(&mut self, kept: &Kept, order: &Order) {
        let Kept { id, kind, place, content } = kept;
        let staged = || format!("stg.order_events: order {id}");
        if order.id.is_none() {
            self.there.differs(|| format!("{} is not in {}", staged(), HUB.table));
            return;
        }
        self.versions.compared += 1;
        let mut missing = content.missing(order);
        if kind != order::OBJECT_TYPE {
            missing.push(format!("has the type {kind}"));
        }
        for what in missing {
            self.versions.differs(|| format!("{} {what}", staged()));
        }
        self.in_force.compared += 1;
        for what in content.superseded(order, *place) {
            self.in_force.differs(|| format!("{} {what}", staged()));
        }
    }

    /// What was found.
    pub fn checks(self) -> [Check; 5] {
        [self.there, self.versions, self.in_force, self.back, self.positions]
    }
}

/// Rows that are older than the columns do not say where they came from.
fn check_place(places: &Places, check: &mut Check, row: &Row<'_>, id: i64) -> anyhow::Result<()> {
    if let (Some(topic), Some(partition), Some(offset)) =
        (row.optional_text(3)?, row.optional_bigint(4)?, row.optional_bigint(5)?)
    {
        let place = (i32::try_from(partition)?, offset);
        places.check(check, topic, place, row.micros(6)?, || format!("stg.order_events: order {id}"));
    }
    Ok(())
}

/// The place of the staged version; rows that are older than the columns stand behind all that were sent with them.
fn place(row: &Row<'_>) -> anyhow::Result<Place> {
    let sent = row.micros(1)?;
    let (Some(partition), Some(offset)) = (row.optional_bigint(4)?, row.optional_bigint(5)?) else {
        return Ok((sent, i64::MAX, i64::MAX));
    };
    let load_dt = DateTime::from_timestamp_micros(row.micros(6)?).unwrap_or_default();
    let at = LoadPosition::new(load_dt, i32::try_from(partition)?, offset);
    Ok((sent, load_dt.timestamp_micros(), at.load_seq))
}

/// What a version of an order says, as far as the vault keeps it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Content {
    /// Business key of the user.
    pub user: Option<String>,
    /// Business keys of the products.
    pub products: Vec<String>,
    /// Where the order stands.
    pub status: String,
    /// Sum of the order, as a JSON number.
    pub cost: String,
    /// Sum paid, likewise.
    pub payment: String,
}

impl Content {
    fn of(row: &Row<'_>) -> anyhow::Result<Self> {
        let text = |column| anyhow::Ok(row.optional_text(column)?.unwrap_or_default().to_owned());
        Ok(Self {
            user: row.optional_text(7)?.map(str::to_owned),
            products: serde_json::from_str(row.optional_text(11)?.unwrap_or("[]")).unwrap_or_default(),
            status: text(8)?,
            cost: text(9)?,
            payment: text(10)?,
        })
    }

    /// What of the version the vault's order does not have, in words.
    pub fn missing(&self, order: &Order) -> Vec<String> {
        let mut missing = Vec::new();
        if !self.user.as_ref().is_some_and(|id| order.users().contains(&hub_key(id))) {
            let user = self.user.as_deref().unwrap_or("nobody");
            missing.push(format!("names user {user}, who is not linked to it"));
        }
        if self.products.is_empty() {
            missing.push("holds no products".to_owned());
        }
        for item in self.products.iter().filter(|item| !order.products().contains(&hub_key(item))) {
            missing.push(format!("holds product {item}, which is not linked to it"));
        }
        let status = self.status_fingerprint();
        if !order.statuses().iter().any(|known| known.fingerprint == status) {
            missing.push(format!("is {:?}, which {} does not have", self.status, ORDER_STATUS.table));
        }
        let amounts = self.amounts_fingerprint();
        if !order.costs().iter().any(|known| Some(known.fingerprint) == amounts) {
            let Self { cost, payment, .. } = self;
            missing
                .push(format!("costs {cost:?}, paid {payment:?}, which {} does not have", ORDER_COST.table));
        }
        missing
    }

    /// What the vault has in force of the order, and another version said, in words.
    ///
    /// A value that was repeated is not stored a second time, so an older version may be in force that came after
    /// it; see the rule in `strata_vault::satellite`. A version that was sent later than the staged one may not.
    fn superseded(&self, order: &Order, staged: Place) -> Vec<String> {
        let satellites = [
            (&ORDER_STATUS, order.statuses(), Some(self.status_fingerprint())),
            (&ORDER_COST, order.costs(), self.amounts_fingerprint()),
        ];
        let newer = satellites.into_iter().filter(|(_, versions, said)| {
            let in_force = versions.iter().max_by_key(|version| version.place());
            in_force.is_some_and(|version| version.place() >= staged && Some(version.fingerprint) != *said)
        });
        newer
            .map(|(satellite, ..)| format!("is another version than the one in force in {}", satellite.table))
            .collect()
    }

    fn status_fingerprint(&self) -> Uuid {
        hashdiff(&[&self.status])
    }

    /// The fingerprint of cost and payment; none where they are no amounts.
    fn amounts_fingerprint(&self) -> Option<Uuid> {
        let (cost, payment) = amount(&self.cost).zip(amount(&self.payment))?;
        Some(hashdiff(&[&cost, &payment]))
    }
}

/// An amount as dds hashes it.
fn amount(text: &str) -> Option<String> {
    Some(serde_json::from_str::<Money>(text).ok()?.to_string())
}

/// The orders that stg has and dds need not have yet.
fn in_flight(snapshot: &Snapshot<'_>, stg_topic: &str, dds_topic: &str) -> anyhow::Result<Excused> {
    let mut orders = Excused::new();
    let (read, replays) = (snapshot.offsets_of(StageId::Stg.as_str(), stg_topic), dlq_topic(dds_topic));
    let unread = snapshot.unread(StageId::Dds.as_str(), dds_topic);
    read_ranges(&snapshot.settings.kafka, dds_topic, &unread, |record| {
        let staged = record.origin.as_ref().is_some_and(|origin| {
            let below = read.get(&origin.partition).is_some_and(|next| origin.offset < *next);
            *origin.topic == *replays || (*origin.topic == *stg_topic && below)
        });
        orders.extend(staged.then(|| about(&record.payload)).flatten());
        Ok(())
    })?;
    let kept = snapshot.kept_for(StageId::Stg.as_str(), stg_topic, dds_topic);
    orders.extend(
        kept.filter(|output| origin_of(output).is_some()).filter_map(|output| about(&output.payload)),
    );
    Ok(orders)
}

/// The orders that dds refused and that were not replayed since.
fn refused(snapshot: &Snapshot<'_>, dds_topic: &str) -> Excused {
    let refused = snapshot.dead_letters.iter().filter(|dead_letter| {
        dead_letter.stage == StageId::Dds.as_str()
            && dead_letter.topic == dds_topic
            && dead_letter.status != "replayed"
    });
    refused.filter_map(|dead_letter| about(&dead_letter.payload)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_those_that_dds_hashes() {
        for (text, hashed) in
            [("4050", "4050"), ("0.10", "0.1"), ("12.345678", "12.34568"), ("1000.0", "1000")]
        {
            assert_eq!(amount(text).as_deref(), Some(hashed), "{text}");
        }
        assert_eq!(amount(""), None);
        assert_eq!(amount("\"12\""), None);
    }
}
