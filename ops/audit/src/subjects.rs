//! The vault of a stream, one event at a time in the order of their keys.
//!
//! dds writes hubs, links and satellites of a record in one transaction, so nothing of this is ever in flight.

use std::collections::HashSet;

use chrono::Utc;
use strata_events::StageId;
use strata_streams::vault::USER;
use strata_streams::{Pairs, StreamDef};
use strata_vault::hub_key;
use strata_vault::model::{self, Parent, Satellite};
use uuid::Uuid;

use super::copy::Row;
use super::identity::describe;
use super::keys::{Marks, pair};
use super::metrics::{Fold, Withheld};
use super::ordered::Ordered;
use super::repeats::Repeats;
use super::report::Check;
use super::shape::{HUBS, Shape, Subject};
use super::snapshot::Snapshot;
use super::tables::{ATTRIBUTES, Hubs, Places, VaultChecks};

/// The vault, read in the order of the events' keys.
pub struct Subjects<'a> {
    /// Which tables.
    pub shape: Shape,
    /// Of every table.
    pub checks: VaultChecks,
    /// What must belong together does.
    pub pairs: Option<Check>,
    /// No value follows itself.
    pub histories: Option<Check>,
    /// Hubs around the events, and what names them.
    pub named: Named,
    by_hand: &'a str,
    repeats: Repeats,
    /// The second and first kind of [`Pairs`], as [`pair`].
    joined: HashSet<u64>,
    table: Ordered,
    links: Vec<Ordered>,
    satellites: Vec<Ordered>,
}

/// The hubs around events, small enough for the memory, and which of their rows are named.
pub struct Named {
    /// The hubs.
    pub hubs: Hubs,
    /// Names that rows of a satellite's hub had, by table.
    called: Vec<(&'static str, Vec<Vec<Box<str>>>)>,
    /// Rows that were named, by the table that names them.
    seen: Vec<(&'static str, &'static model::Hub, Marks)>,
    /// The metrics as they follow from the events.
    pub fold: Option<Fold>,
}

impl<'a> Subjects<'a> {
    /// Opens all tables; what the metrics do not count yet is `withheld`.
    pub fn open(
        snapshot: &'a Snapshot<'_>,
        stream: &'static StreamDef,
        withheld: Withheld,
    ) -> anyhow::Result<Self> {
        let [stg_topic, dds_topic] =
            [StageId::Stg, StageId::Dds].map(|stage| snapshot.settings.topics.name(stream.spec.topic(stage)));
        let (source, shape) = (&snapshot.source, Shape::of(stream));
        let (table, links, satellites) = (
            shape.subjects_in_order(source)?,
            shape.links_in_order(source),
            shape.satellites_in_order(source),
        );
        let places =
            Places::new(snapshot, &[(StageId::Stg.as_str(), stg_topic), (StageId::Dds.as_str(), dds_topic)]);
        let (is_hub, many) = (matches!(shape.subject, Parent::Hub(_)), stream.words.many);
        let childless = if is_hub {
            "hubs have their links and satellites"
        } else {
            "hubs and links have their children"
        };
        let mut checks = VaultChecks::new(many, childless, places);
        let mut joined = HashSet::new();
        let mut named = Named::read(snapshot, &shape, &mut checks, &mut joined)?;
        named.fold = stream.metrics().map(|metrics| Fold::new(metrics, withheld, &snapshot.redis.touched));
        let remembered = Utc::now() - snapshot.settings.keep_settled;
        let judged =
            snapshot.in_order_since.get(dds_topic).map_or(remembered, |since| remembered.max(*since));
        let pairs = stream
            .pairs
            .map(|Pairs { names, .. }| Check::new(format!("dds {many}: {names} belong together")));
        Ok(Self {
            checks,
            pairs,
            histories: is_hub.then(|| Check::new(format!("dds {many}: satellites hold changes only"))),
            named,
            by_hand: dds_topic,
            repeats: Repeats::new(snapshot, judged),
            joined,
            table,
            links,
            satellites,
            shape,
        })
    }

    /// The tables, to look for the next event.
    pub fn tables(&mut self) -> impl Iterator<Item = &mut Ordered> {
        [&mut self.table].into_iter().chain(&mut self.links).chain(&mut self.satellites)
    }

    /// Reads an event and checks it by itself.
    pub fn subject(&mut self, key: Uuid) -> anyhow::Result<Subject> {
        let mut subject = self.shape.nothing();
        if let Some(fold) = &mut self.named.fold {
            fold.begin(key);
        }
        self.read_row(key, &mut subject)?;
        self.read_links(key, &mut subject)?;
        self.read_satellites(key, &mut subject)?;
        if let Some(id) = &subject.id {
            let described = describe(self.shape.stream, id);
            self.childless(&subject, &described);
            self.check_pairs(&subject, &described)?;
            if let Some(histories) = &mut self.histories {
                for (satellite, versions) in self.shape.satellites.iter().zip(&mut subject.satellites) {
                    histories.compared += versions.len() as i64;
                    self.repeats.find(satellite.table, &described, versions, histories);
                }
            }
        }
        Ok(subject)
    }

    fn read_row(&mut self, key: Uuid, subject: &mut Subject) -> anyhow::Result<()> {
        let Self { checks, named, shape, by_hand, table, .. } = self;
        table.rows(key, |row| {
            let id = row.text(1)?;
            match shape.subject {
                Parent::Hub(hub) => checks.hub(hub, key, id),
                Parent::Link(link) => checks.event(link, key, id),
            }
            (subject.id, subject.by_hand) = (Some(id.to_owned()), row.text(2)? == *by_hand);
            subject.load_dt = row.micros(3)?;
            for (hub, column) in shape.joined.iter().zip(HUBS..) {
                let other = row.uuid(column)?;
                named.name(checks, shape.subject.table(), hub, other);
                subject.hubs.push(other);
            }
            for (_, column) in shape.attributes.iter().zip(HUBS + shape.joined.len()..) {
                subject.attributes.push(row.text(column)?.to_owned());
            }
            Ok(())
        })
    }

    fn read_links(&mut self, key: Uuid, subject: &mut Subject) -> anyhow::Result<()> {
        let (Self { checks, named, shape, links, .. }, is_there) = (self, subject.id.is_some());
        for ((link, table), others) in shape.links.iter().zip(links).zip(&mut subject.links) {
            table.rows(key, |row| {
                let other = checks.link(link, row)?;
                checks.parent(is_there, shape.subject.table(), link.table, key, 1);
                if named.name(checks, link.table, link.hubs[1], other) && is_there {
                    others.push(other);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn read_satellites(&mut self, key: Uuid, subject: &mut Subject) -> anyhow::Result<()> {
        let Self { checks, named, shape, satellites, .. } = self;
        let is_event = matches!(shape.subject, Parent::Link(_));
        let Subject { id, load_dt, hubs, satellites: found, .. } = subject;
        for ((satellite, table), versions) in shape.satellites.iter().zip(satellites).zip(found) {
            table.rows(key, |row| {
                let version = checks.version(satellite, row)?;
                checks.parent(id.is_some(), shape.subject.table(), satellite.table, key, 1);
                if id.is_none() {
                    return Ok(());
                }
                if is_event && (!versions.is_empty() || *load_dt != version.load_dt) {
                    let table = satellite.table;
                    checks.childless.differs(|| {
                        format!("{table}: {key} is not the only one, or not of its link's record")
                    });
                }
                versions.push(version);
                named.satellite(checks, satellite, row)?;
                if let Some(fold) = &mut named.fold {
                    fold.lowest(satellite, row, &named.hubs, shape.joined, hubs)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn childless(&mut self, subject: &Subject, described: &str) {
        let (check, shape) = (&mut self.checks.childless, &self.shape);
        check.compared += 1;
        let links = shape.links.iter().zip(&subject.links).map(|(link, rows)| (link.table, rows.is_empty()));
        let satellites = shape.satellites.iter().zip(&subject.satellites);
        let satellites = satellites.map(|(satellite, rows)| (satellite.table, rows.is_empty()));
        for (child, _) in links.chain(satellites).filter(|(_, is_missing)| *is_missing) {
            check.differs(|| format!("{}: {described} has no row in {child}", shape.subject.table()));
        }
    }

    fn check_pairs(&mut self, subject: &Subject, described: &str) -> anyhow::Result<()> {
        let (Some(check), Some(pairs)) = (&mut self.pairs, self.shape.stream.pairs) else { return Ok(()) };
        let mut sides = Vec::with_capacity(2);
        for link in pairs.links {
            let hub = self.named.hubs.of(link.hubs[1])?;
            let keys = self.shape.links.iter().zip(&subject.links).find(|(own, _)| own.table == link.table);
            let keys = keys.into_iter().flat_map(|(_, keys)| keys);
            sides.push((link, hub, keys.filter_map(|key| hub.find(*key)).collect::<Vec<u32>>()));
        }
        let [(first, first_hub, firsts), (second, second_hub, seconds)] = &sides[..] else { return Ok(()) };
        check.compared += (firsts.len() + seconds.len()) as i64;
        let belongs = |first: u32, second: u32| self.joined.contains(&pair(first, second));
        for number in firsts.iter().filter(|first| !seconds.iter().any(|second| belongs(**first, *second))) {
            let (table, name, other) = (first.table, first_hub.name(*number), second_hub.model.table);
            check.differs(|| {
                format!("{table}: {described} holds {name}, but none of {other} that it belongs to")
            });
        }
        for number in seconds.iter().filter(|second| !firsts.iter().any(|first| belongs(*first, **second))) {
            let (table, name, other) = (second.table, second_hub.name(*number), first_hub.model.table);
            check.differs(|| {
                format!("{table}: {described} holds {name}, but none of {other} that belongs to it")
            });
        }
        Ok(())
    }

    /// Ends the checks: what no event names.
    pub fn finish(mut self) -> anyhow::Result<Self> {
        for (table, hub, seen) in &self.named.seen {
            self.named.hubs.of(hub)?.childless(&mut self.checks.childless, seen, table);
        }
        Ok(self)
    }
}

impl Named {
    /// Reads the hubs with what only they have: links among them, and satellites; notes what [`Pairs::by`] joins.
    fn read(
        snapshot: &Snapshot<'_>,
        shape: &Shape,
        checks: &mut VaultChecks,
        joined: &mut HashSet<u64>,
    ) -> anyhow::Result<Self> {
        let (source, stream) = (&snapshot.source, shape.stream);
        // Users are looked at later, those of all streams together.
        let is_small = |hub: &model::Hub| ![shape.subject.table(), USER.table].contains(&hub.table);
        let small: Vec<_> = stream.vault.hubs.iter().copied().filter(|hub| is_small(hub)).collect();
        let hubs = Hubs::read(source, checks, &small)?;
        let is_inner = |link: &model::Link| link.event.is_none() && link.hubs.iter().all(|hub| is_small(hub));
        for link in stream.vault.links.iter().filter(|link| is_inner(link)) {
            let is_by = stream.pairs.is_some_and(|pairs| pairs.by.table == link.table);
            hubs.read_link(source, checks, link, |first, second| {
                if is_by {
                    joined.insert(pair(first, second));
                }
            })?;
        }
        let mut called = Vec::new();
        for satellite in stream.vault.satellites {
            let Parent::Hub(hub) = satellite.parent else { continue };
            if !is_small(hub) {
                continue;
            }
            let asked =
                stream.counters().any(|c| c.names.is_some_and(|names| names.table == satellite.table));
            let mut names: Vec<Vec<Box<str>>> = vec![Vec::new(); hubs.of(hub)?.names.len()];
            hubs.read_satellite(source, checks, satellite, |number, row| {
                if let (true, Some(names)) = (asked, names.get_mut(number as usize)) {
                    names.push(row.text(ATTRIBUTES)?.into());
                }
                Ok(())
            })?;
            called.push((satellite.table, names));
        }
        let by_links = shape.links.iter().map(|link| (link.table, link.hubs[1]));
        let by_events = shape.joined.iter().map(|hub| (shape.subject.table(), *hub));
        let by_satellites = shape.satellites.iter().flat_map(|satellite| {
            satellite.attributes.iter().filter_map(|attribute| Some((satellite.table, attribute.names?)))
        });
        let all = by_links.chain(by_events).chain(by_satellites).filter(|(_, hub)| is_small(hub));
        let seen = all.map(|(table, hub)| (table, hub, Marks::default())).collect();
        Ok(Self { hubs, called, seen, fold: None })
    }

    /// Notes that an event names a row of a hub; false where the row is missing.
    fn name(&mut self, checks: &mut VaultChecks, table: &str, hub: &model::Hub, key: Uuid) -> bool {
        let known = self.hubs.get(hub);
        let number = known.map(|hub| hub.parent(checks, table, key));
        if let Some(Some(number)) = number
            && let Some((_, _, seen)) =
                self.seen.iter_mut().find(|(by, named, _)| (*by, named.table) == (table, hub.table))
        {
            seen.set(number);
        }
        if let (Some(fold), true) = (&mut self.fold, number != Some(None)) {
            fold.count(hub, key, number.flatten());
        }
        number != Some(None)
    }

    /// Notes what the attributes of an event's satellite name.
    fn satellite(
        &mut self,
        checks: &mut VaultChecks,
        satellite: &Satellite,
        row: &Row<'_>,
    ) -> anyhow::Result<()> {
        for (attribute, column) in satellite.attributes.iter().zip(ATTRIBUTES..) {
            let Some(hub) = attribute.names else { continue };
            let names = match attribute.kind {
                model::ColumnType::TextArray => row.texts(column)?,
                _ => row.optional_text(column)?.into_iter().collect(),
            };
            for name in names {
                self.name(checks, satellite.table, hub, hub_key(name));
            }
        }
        Ok(())
    }

    /// True where a row of a hub has a name: its business key, or one that a satellite gave it once.
    pub fn was_called(&self, hub: &model::Hub, number: u32, by: Option<&Satellite>, name: &str) -> bool {
        let Some(by) = by else { return self.hubs.get(hub).is_some_and(|hub| hub.name(number) == name) };
        let names = self.called.iter().find(|(table, _)| *table == by.table);
        let names = names.and_then(|(_, names)| names.get(number as usize));
        names.is_some_and(|names| names.iter().any(|known| **known == *name))
    }
}
