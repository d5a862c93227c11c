//! The statements that fill a table, made once from the description of the vault.

use crate::model::{
    Column, ColumnType, Hub, LOAD_DT, LOAD_SEQ, Parent, SCHEMA, SENT, Satellite, Table, VaultModel,
};

/// The statements of a vault.
pub struct Statements {
    /// The subject: see [`VaultModel::subject`].
    pub subject: Fill,
    /// Locks subjects in key order. `$1` key uuid[].
    pub lock: String,
    /// Hubs but the subject.
    pub hubs: Vec<Fill>,
    /// Links but the subject.
    pub links: Vec<Fill>,
    /// Satellites.
    pub satellites: Vec<Compared>,
}

impl Statements {
    /// Makes them.
    pub fn of(model: &VaultModel) -> Self {
        let subject = model.subject.table();
        let others = |hub: &&&Hub| hub.table != subject;
        Self {
            subject: Fill::of(&model.subject.shape()).returning(model.subject.key()),
            lock: lock(model.subject),
            hubs: model.hubs.iter().filter(others).map(|hub| Fill::of(&hub.shape())).collect(),
            links: model
                .links
                .iter()
                .filter(|link| link.table != subject)
                .map(|link| Fill::of(&link.shape()))
                .collect(),
            satellites: model.satellites.iter().map(|satellite| Compared::of(satellite)).collect(),
        }
    }
}

/// What fills a table.
pub struct Fill {
    /// The table.
    pub table: Table,
    /// Its name with the schema.
    pub name: String,
    /// Safe to repeat: what is there stays. An array per column, in the order of the description; rows are sorted
    /// by primary key, each once.
    pub insert: String,
    /// `COPY` of the same columns, for rows that cannot be there.
    pub copy: String,
}

impl Fill {
    /// Makes the statements of a table.
    pub fn of(table: &Table) -> Self {
        let columns = list(&table.columns, |_, column| column.name.to_owned());
        let values = list(&table.columns, |_, Column { name, kind, .. }| match kind {
            ColumnType::TextArray => format!("n.{name}::text[]"),
            _ => format!("n.{name}"),
        });
        let arrays = list(&table.columns, |at, column| format!("${}::{}[]", at + 1, item(column.kind)));
        Self {
            insert: format!(
                "insert into {table} ({columns}) select {values} from unnest({arrays}) as n ({columns}) \
                 on conflict do nothing"
            ),
            copy: format!("copy {table} ({columns}) from stdin (format binary)"),
            name: table.to_string(),
            table: table.clone(),
        }
    }

    /// Lets the insert return the keys of the rows that were not there.
    fn returning(mut self, key: &str) -> Self {
        self.insert.push_str(" returning ");
        self.insert.push_str(key);
        self
    }

    /// Number of columns.
    pub fn width(&self) -> i16 {
        i16::try_from(self.table.columns.len()).unwrap_or(i16::MAX)
    }
}

/// Locks rows in key order. `$1` key uuid[].
fn lock(table: Parent) -> String {
    let key = table.key();
    format!("select from {SCHEMA}.{} where {key} = any($1) order by {key} for no key update", table.table())
}

/// The columns as a list.
fn list(columns: &[Column], text: impl Fn(usize, &Column) -> String) -> String {
    columns.iter().enumerate().map(|(at, column)| text(at, column)).collect::<Vec<_>>().join(", ")
}

/// The type of the items of an array that is bound. Lists differ in length, so no array can hold them: each comes
/// as its text.
fn item(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::TextArray => "text",
        // Without digits, so that the table's type rounds as for any other writer.
        ColumnType::Numeric => "numeric",
        _ => kind.name(),
    }
}

/// A satellite whose candidates are compared with what is stored.
pub struct Compared {
    /// What fills it.
    pub fill: Fill,
    /// Versions in force at the earliest candidate and all later ones; all, where versions say when they were sent,
    /// for those are of parents that have few.
    /// `$1` parent uuid[] · `$2` load_dt timestamptz[] · `$3` load_seq bigint[].
    pub select: String,
    /// Locks parents in key order. `$1` parent uuid[].
    pub lock: String,
}

impl Compared {
    /// Makes the statements of a satellite.
    pub fn of(satellite: &Satellite) -> Self {
        let fill = Fill::of(&satellite.shape());
        let (key, hashdiff) = (satellite.parent.key(), satellite.hashdiff);
        let [load_dt, load_seq] = [LOAD_DT, LOAD_SEQ].map(|column| column.name);
        let sent = if satellite.sent { format!("s.{}", SENT.name) } else { "null::timestamptz".to_owned() };
        let version = format!(
            "select s.{key}, s.{load_dt}, s.{load_seq}, s.{hashdiff}, {sent} from {} as s where s.{key} = c.parent",
            fill.name
        );
        let versions = if satellite.sent {
            // Kept apart, so that each parent is looked up whatever the size of the table was when this was planned.
            format!("{version} offset 0")
        } else {
            format!(
                "({version} and (s.{load_dt}, s.{load_seq}) <= (c.load_dt, c.load_seq) \
                 order by s.{load_dt} desc, s.{load_seq} desc limit 1) \
                 union all \
                 ({version} and (s.{load_dt}, s.{load_seq}) > (c.load_dt, c.load_seq))"
            )
        };
        Self {
            select: format!(
                "select v.* from unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) as c (parent, load_dt, load_seq) \
                 cross join lateral ({versions}) as v"
            ),
            lock: lock(satellite.parent),
            fill,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Link;

    static USER: Hub = Hub {
        table: "h_user",
        key: "h_user_pk",
        business_key: Column::new("user_id", ColumnType::Text),
        attributes: &[],
    };
    static SEARCH: Link = Link {
        table: "l_search",
        key: "hk_search_pk",
        hubs: &[&USER],
        event: Some(Column::new("event_id", ColumnType::Text)),
        attributes: &[],
    };
    static OFFERS: Satellite = Satellite {
        table: "s_offers",
        parent: Parent::Link(&SEARCH),
        hashdiff: "hk_offers_hashdiff",
        sent: false,
        attributes: &[
            Column::new("advertisers", ColumnType::TextArray),
            Column::nullable("price", ColumnType::Numeric),
        ],
    };

    #[test]
    fn columns_are_bound_as_arrays_and_lists_as_their_text() {
        assert_eq!(
            Fill::of(&OFFERS.shape()).insert,
            "insert into dds.s_offers (hk_search_pk, load_dt, load_seq, load_src, hk_offers_hashdiff, advertisers, \
             price) select n.hk_search_pk, n.load_dt, n.load_seq, n.load_src, n.hk_offers_hashdiff, \
             n.advertisers::text[], n.price from unnest($1::uuid[], $2::timestamp with time zone[], $3::bigint[], \
             $4::text[], $5::uuid[], $6::text[], $7::numeric[]) as n (hk_search_pk, load_dt, load_seq, load_src, \
             hk_offers_hashdiff, advertisers, price) on conflict do nothing"
        );
    }

    #[test]
    fn only_the_subject_says_what_was_not_there() {
        static MODEL: VaultModel = VaultModel {
            stream: "search",
            subject: Parent::Link(&SEARCH),
            hubs: &[&USER],
            links: &[&SEARCH],
            satellites: &[&OFFERS],
        };
        let statements = Statements::of(&MODEL);
        assert!(statements.subject.insert.ends_with("on conflict do nothing returning hk_search_pk"));
        assert_eq!((statements.hubs.len(), statements.links.len()), (1, 0));
        assert!(statements.hubs[0].insert.ends_with("on conflict do nothing"));
    }
}
