//! The statements that fill a table, made once from the description of the vault.

use strata_vault::model::{self, Column, ColumnType, SCHEMA, Satellite};

/// A table, by the statements that fill it.
pub struct Table {
    /// Its name with the schema.
    pub name: String,
    /// Safe to repeat: what is there stays. An array per column, in the order of the description; rows are sorted
    /// by primary key, each once.
    pub insert: String,
    /// `COPY` of the same columns, for rows that cannot be there.
    pub copy: String,
}

impl Table {
    /// Makes the statements of a table.
    pub fn of(table: &model::Table) -> Self {
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
        }
    }

    /// Lets the insert return the keys of the rows that were not there.
    pub fn returning(mut self, key: &str) -> Self {
        self.insert.push_str(" returning ");
        self.insert.push_str(key);
        self
    }
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
    /// The table.
    pub table: Table,
    /// Versions in force at the earliest candidate and all later ones; all, where versions say when they were sent,
    /// for those are of orders, which have few.
    /// `$1` parent uuid[] · `$2` load_dt timestamptz[] · `$3` load_seq bigint[].
    pub select: String,
    /// Locks parents in key order. `$1` parent uuid[].
    pub lock: String,
}

impl Compared {
    /// Makes the statements of a satellite.
    pub fn of(satellite: &Satellite) -> Self {
        let table = Table::of(&satellite.shape());
        let (parent, key) = (satellite.parent.table(), satellite.parent.key());
        let sent = if satellite.sent { "s.sent_dttm" } else { "null::timestamptz" };
        let version = format!(
            "select s.{key}, s.load_dt, s.load_seq, s.{}, {sent} from {} as s where s.{key} = c.parent",
            satellite.hashdiff, table.name
        );
        let versions = if satellite.sent {
            // Kept apart, so that each parent is looked up whatever the size of the table was when this was planned.
            format!("{version} offset 0")
        } else {
            format!(
                "({version} and (s.load_dt, s.load_seq) <= (c.load_dt, c.load_seq) \
                 order by s.load_dt desc, s.load_seq desc limit 1) \
                 union all \
                 ({version} and (s.load_dt, s.load_seq) > (c.load_dt, c.load_seq))"
            )
        };
        Self {
            select: format!(
                "select v.* from unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) as c (parent, load_dt, load_seq) \
                 cross join lateral ({versions}) as v"
            ),
            lock: format!(
                "select from {SCHEMA}.{parent} where {key} = any($1) order by {key} for no key update"
            ),
            table,
        }
    }
}

#[cfg(test)]
mod tests {
    use strata_streams::hotel_search::vault::HOTEL_SEARCH_OFFERS;

    use super::*;

    #[test]
    fn columns_are_bound_as_arrays_and_lists_as_their_text() {
        let table = Table::of(&HOTEL_SEARCH_OFFERS.shape());
        assert_eq!(
            table.insert,
            "insert into dds.s_hotel_search_offers (hk_hotel_search_pk, load_dt, load_seq, load_src, \
             hk_hotel_search_offers_hashdiff, advertisers, min_price, min_advertiser) \
             select n.hk_hotel_search_pk, n.load_dt, n.load_seq, n.load_src, n.hk_hotel_search_offers_hashdiff, \
             n.advertisers::text[], n.min_price, n.min_advertiser \
             from unnest($1::uuid[], $2::timestamp with time zone[], $3::bigint[], $4::text[], $5::uuid[], \
             $6::text[], $7::bigint[], $8::text[]) as n (hk_hotel_search_pk, load_dt, load_seq, load_src, \
             hk_hotel_search_offers_hashdiff, advertisers, min_price, min_advertiser) on conflict do nothing"
        );
    }
}
