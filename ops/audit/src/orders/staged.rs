//! The raw layer against the vault: what is staged has arrived, and what has arrived is staged.
//!
//! stg commits an order and its output together, dds applies it later. In flight are the orders of the
//! outputs that stg has kept and of the records that dds has not read, as far as their inputs lie below
//! stg's offset in the snapshot. An order that dds refused is a dead letter. Every other order must be in
//! both layers, or in none.

use std::collections::BTreeSet;

use chrono::DateTime;
use serde::Deserialize;
use strata_events::stream::dlq_topic;
use strata_events::{Money, StageId};
use strata_streams::order;
use strata_streams::order::ORDER;
use strata_vault::{LoadPosition, hashdiff, hub_key};

use super::super::copy::Row;
use super::super::keys::{Marks, short};
use super::super::outputs::origin_of;
use super::super::reader::Reader;
use super::super::report::Check;
use super::super::snapshot::Snapshot;
use super::super::vault::{Place, Places};
use super::vault::{OrderVault, status_fingerprint};
use strata_observe::read_ranges;

/// Orders as they are staged.
#[derive(Default)]
pub struct Staged {
    /// Numbers of the staged orders, in the vault's numbering.
    known: Marks,
    /// When the stored version was sent, microseconds, by number.
    sent: Vec<i64>,
    /// Business keys of orders that dds need not have as stg has them.
    pub excused: BTreeSet<i64>,
    /// What was found.
    pub checks: Vec<Check>,
    /// What is worth knowing besides.
    pub notes: Vec<String>,
}

impl Staged {
    /// When the stored version of an order was sent, in microseconds; none where it is not staged.
    pub fn sent(&self, number: u32) -> Option<i64> {
        self.known.has(number).then(|| self.sent.get(number as usize).copied())?
    }

    fn put(&mut self, number: u32, sent: i64) {
        self.known.set(number);
        let at = number as usize;
        if self.sent.len() <= at {
            self.sent.resize(at + 1, 0);
        }
        self.sent[at] = sent;
    }
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

/// Checks the order stream from stg to dds. Orders that the vault does not have get numbers, too.
pub fn check(snapshot: &Snapshot<'_>, reader: &mut Reader, vault: &mut OrderVault) -> anyhow::Result<Staged> {
    let [stg_topic, dds_topic] =
        [StageId::Stg, StageId::Dds].map(|stage| snapshot.settings.topics.name(ORDER.topic(stage)));
    let mut staged = Staged::default();
    let in_flight = in_flight(snapshot, stg_topic, dds_topic)?;
    if !in_flight.is_empty() {
        staged.notes.push(format!("{} orders are on their way from stg to dds", in_flight.len()));
    }
    let refused = refused(snapshot, dds_topic);
    if !refused.is_empty() {
        staged
            .notes
            .push(format!("{} orders are dead letters of dds and need not be in the vault", refused.len()));
    }
    staged.excused = &in_flight | &refused;
    let places = Places::new(snapshot, &[(StageId::Stg.as_str(), stg_topic)]);
    let mut there = Check::new("stg → dds: every order has arrived");
    let mut versions = Check::new("stg → dds: user, products, status and cost of every order");
    let mut in_force =
        Check::new("stg → dds: the version in force of every order is the one that was sent last");
    let mut positions = Check::new("stg orders: versions came from records below the offsets");
    let in_hub = vault.order_ids.len();
    reader.copy_out(SELECT, |row| {
        let id = row.bigint(0)?;
        let number = vault.orders.insert(hub_key(&id.to_string()));
        staged.put(number, row.micros(1)?);
        there.compared += 1;
        check_place(&places, &mut positions, row, id)?;
        let excused = staged.excused.contains(&id);
        if (number as usize) < in_hub {
            if !excused {
                versions.compared += 1;
                let version = Version::of(row)?;
                let mut missing = version.missing(vault, number);
                let kind = row.text(2)?;
                if kind != order::OBJECT_TYPE {
                    missing.push(format!("has the type {kind}"));
                }
                for what in missing {
                    versions.differs(|| format!("stg.order_events: order {id} {what}"));
                }
                in_force.compared += 1;
                for what in version.superseded(vault, number, place(row)?) {
                    in_force.differs(|| format!("stg.order_events: order {id} {what}"));
                }
            }
        } else if !excused {
            there.differs(|| format!("stg.order_events: order {id} is not in h_order"));
        }
        Ok(())
    })?;
    // Records that were written to dds_topic by hand never were in stg.
    let mut back = Check::new("dds → stg: every order is staged");
    for number in vault.numbers() {
        back.compared += 1;
        if !staged.known.has(number) && !vault.by_hand.has(number) {
            back.differs(|| format!("h_order: order {} is not in stg.order_events", vault.order_id(number)));
        }
    }
    staged.checks = vec![there, versions, in_force, back, positions];
    Ok(staged)
}

/// Rows that are older than the columns do not say where they came from.
fn check_place(places: &Places, check: &mut Check, row: &Row<'_>, id: i64) -> anyhow::Result<()> {
    if let (Some(topic), Some(partition), Some(offset)) =
        (row.optional_text(3)?, row.optional_bigint(4)?, row.optional_bigint(5)?)
    {
        let place = (i32::try_from(partition)?, offset);
        places.check_offset(check, topic, place, row.micros(6)?, || format!("stg.order_events: order {id}"));
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
#[derive(Default)]
pub struct Version<'a> {
    /// Business key of the user.
    pub user: Option<&'a str>,
    /// Business keys of the products.
    pub products: Vec<&'a str>,
    /// Where the order stands.
    pub status: &'a str,
    /// Sum of the order, as a JSON number.
    pub cost: &'a str,
    /// Sum paid, likewise.
    pub payment: &'a str,
}

impl<'a> Version<'a> {
    fn of(row: &'a Row<'_>) -> anyhow::Result<Self> {
        Ok(Self {
            user: row.optional_text(7)?,
            products: serde_json::from_str(row.optional_text(11)?.unwrap_or("[]")).unwrap_or_default(),
            status: row.optional_text(8)?.unwrap_or_default(),
            cost: row.optional_text(9)?.unwrap_or_default(),
            payment: row.optional_text(10)?.unwrap_or_default(),
        })
    }

    /// What of the version the vault's order does not have, in words.
    pub fn missing(&self, vault: &OrderVault, number: u32) -> Vec<String> {
        let mut missing = Vec::new();
        let user = self.user.and_then(|id| vault.users.keys.find(&hub_key(id)));
        if !user.is_some_and(|user| vault.users_of.of(number).contains(&user)) {
            missing.push(format!("names user {}, who is not linked to it", self.user.unwrap_or("nobody")));
        }
        if self.products.is_empty() {
            missing.push("holds no products".to_owned());
        }
        for item in &self.products {
            let product = vault.products.keys.find(&hub_key(item));
            if !product.is_some_and(|product| vault.products_of.of(number).contains(&product)) {
                missing.push(format!("holds product {item}, which is not linked to it"));
            }
        }
        if !vault.statuses_of.fingerprints.of(number).contains(&status_fingerprint(self.status)) {
            missing.push(format!("is {:?}, which s_order_status does not have", self.status));
        }
        if !self.amounts().is_some_and(|known| vault.costs_of.fingerprints.of(number).contains(&known)) {
            let Self { cost, payment, .. } = self;
            missing.push(format!("costs {cost:?}, paid {payment:?}, which s_order_cost does not have"));
        }
        missing
    }

    /// What the vault has in force of the order, and another version said, in words.
    ///
    /// A value that was repeated is not stored a second time, so an older version may be in force that came after
    /// it; see the rule in `strata_vault::satellite`. A version that was sent later than the staged one may not.
    fn superseded(&self, vault: &OrderVault, number: u32, staged: Place) -> Vec<String> {
        let satellites = [
            ("s_order_status", &vault.statuses_of, Some(status_fingerprint(self.status))),
            ("s_order_cost", &vault.costs_of, self.amounts()),
        ];
        let newer = satellites.into_iter().filter(|(_, versions, said)| {
            let in_force = versions.in_force.get(number as usize);
            in_force.is_some_and(|(place, fingerprint)| *place >= staged && Some(*fingerprint) != *said)
        });
        newer.map(|(table, ..)| format!("is another version than the one in force in {table}")).collect()
    }

    /// The fingerprint of cost and payment; none where they are no amounts.
    fn amounts(&self) -> Option<u64> {
        let (cost, payment) = amount(self.cost).zip(amount(self.payment))?;
        Some(short(hashdiff(&[&cost, &payment])))
    }
}

/// An amount as dds hashes it.
fn amount(text: &str) -> Option<String> {
    Some(serde_json::from_str::<Money>(text).ok()?.to_string())
}

/// The orders that stg has and dds need not have yet.
fn in_flight(snapshot: &Snapshot<'_>, stg_topic: &str, dds_topic: &str) -> anyhow::Result<BTreeSet<i64>> {
    let mut orders: BTreeSet<i64> = BTreeSet::new();
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
fn refused(snapshot: &Snapshot<'_>, dds_topic: &str) -> BTreeSet<i64> {
    let letters = snapshot.letters.iter().filter(|letter| {
        letter.stage == StageId::Dds.as_str() && letter.topic == dds_topic && letter.status != "replayed"
    });
    letters.filter_map(|letter| about(&letter.payload)).collect()
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
