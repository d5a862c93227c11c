//! The vault of the orders, one order at a time.
//!
//! dds writes hubs, links and satellites of a record in one transaction, so nothing of this is ever in
//! flight.

use chrono::Utc;
use strata_events::StageId;
use strata_streams::order::ORDER as STREAM;
use strata_streams::order::vault::{
    ORDER, ORDER_CATEGORY, ORDER_COST, ORDER_PRODUCT, ORDER_STATUS, ORDER_USER,
};
use strata_vault::model::{Link, Satellite};
use uuid::Uuid;

use super::super::keys::Marks;
use super::super::ordered::Ordered;
use super::super::report::Check;
use super::super::snapshot::Snapshot;
use super::super::vault::{Places, VaultChecks, Version, hub_in_order, link_in_order, satellite_in_order};
use super::menus::{Menus, is_small};
use super::repeats::Repeats;

/// Links of orders, each with another hub.
const LINKS: [&Link; 3] = [&ORDER_USER, &ORDER_PRODUCT, &ORDER_CATEGORY];

/// Satellites of orders.
const SATELLITES: [&Satellite; 2] = [&ORDER_COST, &ORDER_STATUS];

/// All that the vault says of an order.
#[derive(Debug, Default)]
pub struct Order {
    /// Business key; none where it is not in the hub.
    pub id: Option<i64>,
    /// True where it was written to dds_topic by hand.
    pub by_hand: bool,
    links: [Vec<Uuid>; LINKS.len()],
    satellites: [Vec<Version>; SATELLITES.len()],
}

impl Order {
    /// Keys of its users.
    pub fn users(&self) -> &[Uuid] {
        &self.links[0]
    }

    /// Keys of its products.
    pub fn products(&self) -> &[Uuid] {
        &self.links[1]
    }

    /// Keys of its categories.
    pub fn categories(&self) -> &[Uuid] {
        &self.links[2]
    }

    /// Cost and payment that it had.
    pub fn costs(&self) -> &[Version] {
        &self.satellites[0]
    }

    /// The states that it had.
    pub fn statuses(&self) -> &[Version] {
        &self.satellites[1]
    }
}

/// The vault, read in the order of the orders' keys.
pub struct OrderVault<'a> {
    /// Of every table.
    pub checks: VaultChecks,
    /// Each product of an order has a category that both were linked to, and each category of it a product.
    pub pairs: Check,
    /// No value follows itself.
    pub histories: Check,
    /// The tables around the products.
    pub menus: Menus,
    by_hand: &'a str,
    repeats: Repeats,
    hub: Ordered,
    links: [Ordered; LINKS.len()],
    satellites: [Ordered; SATELLITES.len()],
    /// Rows of the other hubs that orders name.
    named: [Marks; LINKS.len()],
}

impl<'a> OrderVault<'a> {
    /// Opens all tables.
    pub fn open(snapshot: &'a Snapshot<'_>) -> anyhow::Result<Self> {
        let [stg_topic, dds_topic] =
            [StageId::Stg, StageId::Dds].map(|stage| snapshot.settings.topics.name(STREAM.topic(stage)));
        let (hub, links, satellites) = (
            hub_in_order(&snapshot.source, &ORDER),
            LINKS.map(|link| link_in_order(&snapshot.source, link)),
            SATELLITES.map(|satellite| satellite_in_order(&snapshot.source, satellite)),
        );
        let places =
            Places::new(snapshot, &[(StageId::Stg.as_str(), stg_topic), (StageId::Dds.as_str(), dds_topic)]);
        let mut checks = VaultChecks::new("orders", "hubs have their links and satellites", places);
        let menus = Menus::read(&snapshot.source, &mut checks)?;
        let remembered = Utc::now() - snapshot.settings.keep_settled;
        let judged = snapshot.in_order_since.map_or(remembered, |since| since.max(remembered));
        Ok(Self {
            checks,
            pairs: Check::new("dds orders: products and categories of an order belong together"),
            histories: Check::new("dds orders: satellites hold changes only"),
            menus,
            by_hand: dds_topic,
            repeats: Repeats::new(snapshot, judged),
            hub,
            links,
            satellites,
            named: Default::default(),
        })
    }

    /// The tables, to look for the next order.
    pub fn tables(&mut self) -> impl Iterator<Item = &mut Ordered> {
        [&mut self.hub].into_iter().chain(&mut self.links).chain(&mut self.satellites)
    }

    /// Reads an order and checks it by itself.
    pub fn order(&mut self, key: Uuid) -> anyhow::Result<Order> {
        let (mut order, checks) = (Order::default(), &mut self.checks);
        self.hub.rows(key, |row| {
            checks.hub(&ORDER, key, row.text(1)?);
            order.id = Some(row.text(1)?.parse()?);
            order.by_hand = row.text(2)? == self.by_hand;
            Ok(())
        })?;
        let is_there = order.id.is_some();
        for (at, link) in LINKS.into_iter().enumerate() {
            let other = link.hubs[1];
            let small = is_small(other).then(|| self.menus.hub(other)).transpose()?;
            self.links[at].rows(key, |row| {
                let target = checks.link(link, row)?;
                checks.parent(is_there, ORDER.table, link.table, key, 1);
                // Users come later, all together.
                let number = small.map(|hub| hub.parent(checks, link.table, target));
                if let Some(Some(number)) = number {
                    self.named[at].set(number);
                }
                if is_there && number != Some(None) {
                    order.links[at].push(target);
                }
                Ok(())
            })?;
        }
        for (at, satellite) in SATELLITES.into_iter().enumerate() {
            self.satellites[at].rows(key, |row| {
                let version = checks.version(satellite, row)?;
                checks.parent(is_there, ORDER.table, satellite.table, key, 1);
                if is_there {
                    order.satellites[at].push(version);
                }
                Ok(())
            })?;
        }
        if let Some(id) = order.id {
            self.childless(&order, id);
            self.check_categories(&order, id)?;
            for (satellite, versions) in SATELLITES.into_iter().zip(&mut order.satellites) {
                self.histories.compared += versions.len() as i64;
                self.repeats.find(satellite.table, id, versions, &mut self.histories);
            }
        }
        Ok(order)
    }

    fn childless(&mut self, order: &Order, id: i64) {
        let check = &mut self.checks.childless;
        check.compared += 1;
        let links = LINKS.iter().zip(&order.links).map(|(link, rows)| (link.table, rows.is_empty()));
        let satellites = SATELLITES.iter().zip(&order.satellites);
        let satellites = satellites.map(|(satellite, rows)| (satellite.table, rows.is_empty()));
        for (child, _) in links.chain(satellites).filter(|(_, is_missing)| *is_missing) {
            check.differs(|| format!("{}: order {id} has no row in {child}", ORDER.table));
        }
    }

    fn check_categories(&mut self, order: &Order, id: i64) -> anyhow::Result<()> {
        let (menus, check) = (&self.menus, &mut self.pairs);
        let (products, categories) = (menus.products()?, menus.categories()?);
        let held: Vec<u32> = order.products().iter().filter_map(|key| products.find(*key)).collect();
        let sorted: Vec<u32> = order.categories().iter().filter_map(|key| categories.find(*key)).collect();
        check.compared += (held.len() + sorted.len()) as i64;
        for product in &held {
            if !sorted.iter().any(|category| menus.are_linked(*product, *category)) {
                let (table, product) = (ORDER_PRODUCT.table, products.name(*product));
                check.differs(|| format!("{table}: order {id} holds {product}, but no category of it"));
            }
        }
        for category in &sorted {
            if !held.iter().any(|product| menus.are_linked(*product, *category)) {
                let (table, category) = (ORDER_CATEGORY.table, categories.name(*category));
                check.differs(|| format!("{table}: order {id} holds {category}, but no product of it"));
            }
        }
        Ok(())
    }

    /// Ends the checks: what no order names.
    pub fn finish(mut self) -> anyhow::Result<Self> {
        for (link, seen) in LINKS.into_iter().zip(&self.named).filter(|(link, _)| is_small(link.hubs[1])) {
            let hub = self.menus.hub(link.hubs[1])?;
            hub.childless(&mut self.checks.childless, seen, link.table);
        }
        Ok(self)
    }
}
