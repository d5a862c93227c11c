//! What is staged of a stream, into the vault.
//!
//! Where the vault knows better than staging and the reference data of today, it is left alone: a name that it has of what
//! an event names stands, and so does a name that was in force when the event came.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use strata_events::{Origin, StageId};
use strata_observe::Fleet;
use strata_service::Settings;
use strata_streams::{RawRow, RawTable, STREAMS, Staged, StreamDef};
use strata_vault::load::{Hooks, Loader};
use strata_vault::model::{LOAD_DT, LOAD_SEQ, Link, Parent};
use strata_vault::rows::{Fresh, KeyedRows, Load, Rows, SatelliteRows};
use strata_vault::{LoadPosition, Value, hub_key};
use uuid::Uuid;

use super::coming::Coming;
use super::reference::Reference;
use crate::Progress;

/// What was left out, by kind of event and reason: how often, and the first.
pub type LeftOut = BTreeMap<(&'static str, &'static str), (u64, String)>;

/// Rows that are loaded at once.
const CHUNK: i64 = 500;

/// The loaders, in the order of the streams.
static LOADERS: LazyLock<Vec<Loader>> =
    LazyLock::new(|| STREAMS.iter().map(|stream| Loader::of(stream.vault, Hooks::NONE)).collect());

/// A row of the raw layer.
struct Row {
    raw: RawRow,
    /// Key of the event in the vault.
    key: Uuid,
    /// The record that it came with.
    start: Origin,
    load: Load,
}

/// An event with the row that it was read from.
type Event<'e> = (&'e Row, Box<dyn Staged + 'e>);

/// Puts what is staged of every stream into the vault; returns what was left out.
pub async fn fill(
    tx: &mut PgConnection,
    settings: &Settings,
    fleet: &Fleet,
    progress: &mut Progress<'_>,
) -> anyhow::Result<LeftOut> {
    let (mut reference, mut left_out) = (Reference::new(settings), LeftOut::new());
    for (stream, loader) in STREAMS.iter().copied().zip(LOADERS.iter()) {
        // dds is held and does not move, so this is what it has not read.
        let staged = list(tx, &stream.raw).await?;
        let coming = Coming::find(tx, settings, fleet, &stream.spec).await?;
        for place in (0..staged).step_by(CHUNK as usize) {
            let rows = read(tx, settings, stream, place).await?;
            progress(stream.words.many, rows.len() as u64);
            let mut events: Vec<Event<'_>> = Vec::with_capacity(rows.len());
            for row in rows.iter().filter(|row| !coming.holds(&row.start)) {
                match (stream.raw.read)(&row.raw) {
                    Ok(event) => events.push((row, event)),
                    Err(why) => note(&mut left_out, stream, "unreadable", || format!("{} {why}", row.raw.id)),
                }
            }
            let wanted = events.iter().flat_map(|(_, event)| event.wants());
            reference.read(wanted.collect()).await?;
            let known = known(tx, &stream.raw, &events).await?;
            let (mut complete, mut enriched): (Vec<&Event<'_>>, Vec<Event<'_>>) = Default::default();
            for staged in &events {
                let (row, event) = staged;
                let known = known.get(&row.key).map_or(&[][..], Vec::as_slice);
                match event.enriched(&reference.data, known) {
                    None => complete.push(staged),
                    Some(Ok(event)) => enriched.push((row, event)),
                    Some(Err(reject)) => note(&mut left_out, stream, reject.code, || reject.detail),
                }
            }
            complete.extend(&enriched);
            write(tx, loader, stream, &complete).await?;
        }
    }
    Ok(left_out)
}

fn note(left_out: &mut LeftOut, stream: &StreamDef, reason: &'static str, first: impl FnOnce() -> String) {
    let (count, _) = left_out.entry((stream.words.many, reason)).or_insert_with(|| (0, first()));
    *count += 1;
}

/// Lists what is staged at this moment, in the order in which it came, in a table `places`; returns how many.
///
/// In that order the first sighting of a key comes first, and a satellite's versions follow each other. A row that
/// is a newer version by the time it is read came after the list, and dds will bring it.
async fn list(tx: &mut PgConnection, RawTable { table, key, load_dt, .. }: &RawTable) -> anyhow::Result<i64> {
    let list = format!(
        "create temporary table places on commit drop as \
         select row_number() over (order by {load_dt}, load_offset, load_partition, {key}) as place, {key}, \
         load_partition as in_partition, load_offset as at_offset from {table}"
    );
    for statement in [
        "drop table if exists places".to_owned(),
        list,
        "alter table places add primary key (place)".to_owned(),
        "analyze places".to_owned(),
    ] {
        sqlx::query(&statement).execute(&mut *tx).await?;
    }
    Ok(sqlx::query_scalar("select count(*) from places").fetch_one(tx).await?)
}

/// The next rows of the list.
async fn read(
    tx: &mut PgConnection,
    settings: &Settings,
    stream: &StreamDef,
    after: i64,
) -> anyhow::Result<Vec<Row>> {
    type Columns =
        (String, DateTime<Utc>, DateTime<Utc>, Option<String>, Option<i64>, Option<i64>, String, Vec<String>);
    let (RawTable { table, key, .. }, stg_topic) =
        (&stream.raw, settings.topics.name(stream.spec.topic(StageId::Stg)));
    let select = format!(
        "select {} from places join {table} using ({key}) where place > $1 and place <= $1 + $2 \
         and (load_partition, load_offset) is not distinct from (in_partition, at_offset) order by place",
        stream.raw.columns()
    );
    let rows: Vec<Columns> = sqlx::query_as(&select).bind(after).bind(CHUNK).fetch_all(tx).await?;
    let row = |(id, sent, load_dt, topic, partition, offset, payload, said): Columns| {
        // Rows that are older than these columns have no coordinates.
        let start = Origin {
            topic: topic.as_deref().unwrap_or(stg_topic).into(),
            partition: i32::try_from(partition.unwrap_or_default())?,
            offset: offset.unwrap_or_default(),
        };
        let (key, load) = (hub_key(&id), Load::new(load_dt, &start));
        anyhow::Ok(Row { raw: RawRow { id, sent, payload, said }, key, start, load })
    };
    rows.into_iter().map(row).collect()
}

/// What the vault knows of these events.
async fn known(
    tx: &mut PgConnection,
    raw: &RawTable,
    events: &[Event<'_>],
) -> anyhow::Result<HashMap<Uuid, Vec<(Uuid, String)>>> {
    let mut known: HashMap<Uuid, Vec<(Uuid, String)>> = HashMap::new();
    if let Some(select) = raw.known {
        let keys: Vec<Uuid> = events.iter().map(|(row, _)| row.key).collect();
        let rows: Vec<(Uuid, Uuid, String)> = sqlx::query_as(select).bind(keys).fetch_all(tx).await?;
        rows.into_iter().for_each(|(event, key, name)| known.entry(event).or_default().push((key, name)));
    }
    Ok(known)
}

/// Writes a batch. The vault may have lost rows of any table.
async fn write(
    tx: &mut PgConnection,
    loader: &'static Loader,
    stream: &StreamDef,
    events: &[&Event<'_>],
) -> anyhow::Result<()> {
    let rows = |chosen: &dyn Fn(Uuid) -> bool| {
        let chosen = events.iter().filter(|(row, _)| chosen(row.key));
        Rows::merged(chosen.map(|(row, event)| event.rows(&row.raw.id, &row.load)))
    };
    let Some(Rows { subjects, mut rest }) = rows(&|_| true) else { return Ok(()) };
    let Parent::Link(link) = stream.vault.subject else {
        for names in rest.satellites.iter_mut().filter(|rows| !rows.satellite.sent) {
            keep_unknown(tx, names).await?;
        }
        loader.create(tx, &subjects).await?;
        loader.lock(tx, &subjects.known(&Fresh::new())).await?;
        return Ok(loader.complete(tx, rest, &Fresh::new()).await?);
    };
    let created = loader.create(tx, &subjects).await?;
    if let Some(new) = rows(&|key| created.contains(&key)) {
        loader.complete(tx, new.rest, &created).await?;
    }
    let same = made_of(tx, link, &subjects).await?;
    let Some(Rows { mut rest, .. }) = rows(&|key| !created.contains(&key) && same.contains(&key)) else {
        return Ok(());
    };
    for rows in &mut rest.satellites {
        let has = format!("select {} from {} where {0} = any($1)", link.key, rows.satellite.shape());
        let keys: Vec<Uuid> = rows.records.iter().map(|record| record.parent).collect();
        let has: Vec<Uuid> = sqlx::query_scalar(&has).bind(keys).fetch_all(&mut *tx).await?;
        let has: HashSet<Uuid> = has.into_iter().collect();
        rows.records.retain(|record| !has.contains(&record.parent));
    }
    Ok(loader.complete(tx, rest, &Fresh::new()).await?)
}

/// The events whose links were made of the records that staging has.
///
/// The vault may have let in another record of an event than staging did. Then what staging says is not what the link
/// was made of, and nothing is added to it.
async fn made_of(
    tx: &mut PgConnection,
    link: &Link,
    subjects: &KeyedRows<'_>,
) -> anyhow::Result<HashSet<Uuid>> {
    let hubs: Vec<&str> = link.hubs.iter().map(|hub| hub.key).collect();
    let stored = format!(
        "select {}, array[{}], {} from {} where {0} = any($1)",
        link.key,
        hubs.join(", "),
        LOAD_DT.name,
        link.shape()
    );
    let keys: Vec<Uuid> = subjects.keys().collect();
    let stored: Vec<(Uuid, Vec<Uuid>, DateTime<Utc>)> =
        sqlx::query_as(&stored).bind(keys).fetch_all(tx).await?;
    let stored: HashMap<Uuid, (Vec<Value<'_>>, DateTime<Utc>)> = stored
        .into_iter()
        .map(|(key, hubs, load_dt)| (key, (hubs.into_iter().map(Value::Uuid).collect(), load_dt)))
        .collect();
    let same = subjects.iter().filter(|(key, said, load)| {
        // What a link says begins with the identity, the keys of its hubs follow.
        stored
            .get(key)
            .is_some_and(|(hubs, load_dt)| said[1..].starts_with(hubs) && load.at.load_dt == *load_dt)
    });
    Ok(same.map(|(key, ..)| key).collect())
}

/// Drops names of whom the vault knows a name that was in force already.
async fn keep_unknown(tx: &mut PgConnection, names: &mut SatelliteRows<'_>) -> anyhow::Result<()> {
    let (table, key) = (names.satellite.shape(), names.satellite.parent.key());
    let at = format!("{}, {}", LOAD_DT.name, LOAD_SEQ.name);
    let first = format!(
        "select distinct on ({key}) {key}, {at} from {table} where {key} = any($1) order by {key}, {at}"
    );
    let parents: Vec<Uuid> = names.records.iter().map(|name| name.parent).collect();
    let rows: Vec<(Uuid, DateTime<Utc>, i64)> = sqlx::query_as(&first).bind(parents).fetch_all(tx).await?;
    let first: BTreeMap<Uuid, LoadPosition> = rows
        .into_iter()
        .map(|(parent, load_dt, load_seq)| (parent, LoadPosition { load_dt, load_seq }))
        .collect();
    names.records.retain(|name| first.get(&name.parent).is_none_or(|first| name.at < *first));
    Ok(())
}
