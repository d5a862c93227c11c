//! What belongs to users, user by user: all streams share their hub, and counters and metrics are theirs.

use strata_streams::vault::USER;
use strata_streams::{Counters, StreamDef};
use strata_vault::model::{Link, Parent, SCHEMA, Satellite};
use uuid::Uuid;

use super::counters::Mart;
use super::metrics::check_of;
use super::ordered::{Ordered, Sorter, Source, least};
use super::progress::{Progress, Told};
use super::redis::Member;
use super::report::Check;
use super::snapshot::Snapshot;
use super::stream::Found as Stream;
use super::subjects::Named;
use super::tables::{VaultChecks, hub_in_order, satellite_in_order};
use super::unapplied::Unapplied;

/// What was found of users.
pub struct Found {
    /// Counters and their names, by stream.
    pub counters: Vec<Vec<Check>>,
    /// Events of users in Redis, by stream.
    pub metrics: Vec<Option<Check>>,
    /// Users that nothing belongs to.
    pub idle: Check,
}

/// The tables of one stream that belong to users.
struct Tables {
    stream: &'static StreamDef,
    /// The link of events with users; none where the stream has no users.
    link: Option<(&'static Link, Ordered)>,
    satellites: Vec<(&'static Satellite, Ordered)>,
}

/// The counters of a stream and the check of their names.
type Marts<'a> = (Vec<Mart<'a>>, Check);

/// Compares everything that is kept by user; adds to what was found of the tables of each stream.
pub fn check(
    snapshot: &Snapshot<'_>,
    streams: &mut [Stream<'_>],
    members: Sorter,
    progress: Progress<'_>,
) -> anyhow::Result<Found> {
    let source = &snapshot.source;
    let (mut hub, mut members) = (hub_in_order(source, &USER), members.sorted()?);
    let mut tables: Vec<Tables> = streams.iter().map(|found| Tables::open(source, found.stream)).collect();
    let kinds: Vec<&str> =
        tables.iter().filter(|own| own.link.is_some()).map(|own| own.stream.words.many).collect();
    let mut idle = Check::new(format!("dds: users have {}", kinds.join(" or ")));
    let mut metrics: Vec<Option<Check>> = streams.iter().map(|found| metrics_of(found.stream)).collect();
    let (mut checks, parts): (Vec<_>, Vec<_>) = streams
        .iter_mut()
        .map(|found| {
            let uncounted = found.vault.named.fold.as_ref().map(|fold| &fold.uncounted);
            (&mut found.vault.checks, (found.stream, &found.vault.named, &found.unapplied, uncounted))
        })
        .unzip();
    let mut marts: Vec<Marts<'_>> =
        parts.iter().map(|(stream, named, unapplied, _)| open(source, stream, named, unapplied)).collect();
    let mut told = Told::new(progress, "users");
    loop {
        let own = tables.iter_mut().flat_map(Tables::all);
        let counters = marts.iter_mut().flat_map(|(marts, _)| marts).flat_map(Mart::tables);
        let Some(user) = least([&mut hub, &mut members].into_iter().chain(own).chain(counters))? else {
            break;
        };
        told.at(user);
        let mut name = None;
        hub.rows(user, |row| {
            name = Some(row.text(1)?.to_owned());
            checks.iter_mut().for_each(|checks| checks.hub(&USER, user, row.text(1).unwrap_or_default()));
            Ok(())
        })?;
        let (name, mut all) = (name.as_deref(), 0);
        let member = read_member(&mut members, user)?;
        for (at, own) in tables.iter_mut().enumerate() {
            let events = own.compare(user, name, checks[at])?;
            all += events;
            if let Some(check) = &mut metrics[at] {
                let uncounted = parts[at].3.and_then(|uncounted| uncounted.get(&user)).copied();
                let in_vault = events - uncounted.unwrap_or_default();
                compare_member(check, own.stream, member.as_ref(), (user, name), in_vault);
            }
            let (marts, names) = &mut marts[at];
            marts.iter_mut().try_for_each(|mart| mart.compare(user, name, names))?;
        }
        if let Some(name) = name {
            idle.compared += 1;
            if all == 0 {
                idle.differs(|| format!("{}: {name:?} has no row in any link", USER.table));
            }
        }
    }
    let counters = marts.into_iter().map(|(marts, names)| {
        let names = (!marts.is_empty()).then_some(names);
        marts.into_iter().map(|mart| mart.check).chain(names).collect()
    });
    Ok(Found { counters: counters.collect(), metrics, idle })
}

/// Opens the counters of a stream, and starts the check of their names.
fn open<'a>(
    source: &Source,
    stream: &'static StreamDef,
    named: &'a Named,
    unapplied: &'a Unapplied,
) -> Marts<'a> {
    let counters = stream.counters().zip(&unapplied.added);
    let marts = counters.map(|(law, added): (&'static Counters, _)| Mart::open(source, law, named, added));
    (marts.collect(), Check::new("dds → cdm: names of counters are in the vault"))
}

/// Starts the check of the metrics of users, where a stream has these.
fn metrics_of(stream: &StreamDef) -> Option<Check> {
    let frequency = stream.metrics()?.frequencies.iter().find(|known| known.hub.table == USER.table)?;
    Some(check_of(frequency.name))
}

impl Tables {
    fn open(source: &Source, stream: &'static StreamDef) -> Self {
        let model = stream.vault;
        let link = model.links.iter().find(|link| link.hubs.iter().any(|hub| hub.table == USER.table));
        let is_users =
            |satellite: &&&Satellite| matches!(satellite.parent, Parent::Hub(hub) if hub.table == USER.table);
        let satellites = model.satellites.iter().filter(is_users);
        Self {
            stream,
            link: link.map(|link| (*link, by_user(source, link))),
            satellites: satellites.map(|own| (*own, satellite_in_order(source, own))).collect(),
        }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Ordered> {
        let satellites = self.satellites.iter_mut().map(|(_, table)| table);
        self.link.iter_mut().map(|(_, table)| table).chain(satellites)
    }

    /// Checks the rows of a user; gives how many events are theirs.
    fn compare(&mut self, user: Uuid, name: Option<&str>, checks: &mut VaultChecks) -> anyhow::Result<i64> {
        let Some((link, events)) = &mut self.link else { return Ok(0) };
        let (hub, mut count) = (USER.table, 0);
        events.rows(user, |row| {
            count = row.bigint(1)?;
            checks.parent(name.is_some(), hub, link.table, user, count);
            Ok(())
        })?;
        for (satellite, table) in &mut self.satellites {
            let mut is_there = false;
            table.rows(user, |row| {
                is_there = true;
                checks.version(satellite, row)?;
                checks.parent(name.is_some(), hub, satellite.table, user, 1);
                Ok(())
            })?;
            // Users of other streams have neither.
            let Some(name) = name else { continue };
            checks.childless.compared += 1;
            if is_there != (count > 0) {
                let missing = if is_there { link.table } else { satellite.table };
                checks.childless.differs(|| format!("{hub}: {name:?} has no row in {missing}"));
            }
        }
        Ok(count)
    }
}

/// How many rows of a link name each user.
fn by_user(source: &Source, link: &Link) -> Ordered {
    let (user, table) = (USER.key, link.table);
    source.ordered(format!("select {user}, count(*) from {SCHEMA}.{table} group by {user} order by {user}"))
}

/// A user as the metrics have it.
fn read_member(members: &mut Ordered, user: Uuid) -> anyhow::Result<Option<Member>> {
    let mut member: Option<Member> = None;
    members.rows(user, |row| {
        member = Some(row.json::<Member>()?.or(member.take()));
        Ok(())
    })?;
    Ok(member)
}

/// Compares a user of the metrics with the events that they should count.
fn compare_member(
    check: &mut Check,
    stream: &StreamDef,
    member: Option<&Member>,
    (user, name): (Uuid, Option<&str>),
    in_vault: i64,
) {
    let many = stream.words.many;
    match member.and_then(|member| Some((&member.name, member.times()?))) {
        Some((member, times)) => {
            check.compared += 1;
            if in_vault as f64 != times {
                check.differs(|| format!("metrics users: {member}: {times} {many}, {in_vault} in the vault"));
            }
        }
        None if in_vault > 0 => check.differs(|| {
            let member = name.map_or_else(|| user.to_string(), str::to_owned);
            format!("metrics users: {member}: not there, {in_vault} {many} in the vault")
        }),
        None => {}
    }
}
