//! The tables of the vault in docs/VAULT.md are those of the models.

use strata_streams::STREAMS;
use strata_vault::model::{LOAD_DT, LOAD_SEQ, LOAD_SRC, Table};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/VAULT.md");
const BEGIN: &str = "<!-- Made from the models in shared/streams; do not edit. -->\n";
const END: &str = "<!-- End of what is made. -->";

/// A line of the table; columns that every table has are left out.
fn line(table: &Table, streams: &str, grain: &str) -> String {
    let shared = [LOAD_DT, LOAD_SRC, LOAD_SEQ];
    let columns = table.columns.iter().filter(|column| !shared.contains(column)).map(|column| {
        let null = if column.nullable { ", may be null" } else { "" };
        format!("`{}` {}{null}", column.name, column.kind.name())
    });
    let columns = columns.collect::<Vec<_>>().join("; ");
    let key = table.primary_key.iter().map(|column| format!("`{column}`")).collect::<Vec<_>>().join(", ");
    format!("| `{}` | {streams} | {grain} | {key} | {columns} |\n", table.name)
}

/// All tables with what one row of each is: hubs, links, satellites.
fn kinds() -> [Vec<(Table, String)>; 3] {
    let mut kinds: [Vec<(Table, String)>; 3] = Default::default();
    for model in STREAMS.iter().map(|stream| stream.vault) {
        for hub in model.hubs {
            kinds[0].push((hub.shape(), format!("`{}`", hub.business_key.name)));
        }
        for link in model.links {
            let hubs: Vec<String> =
                link.hubs.iter().map(|hub| format!("`{}`", hub.business_key.name)).collect();
            let grain =
                link.event.map_or_else(|| hubs.join(" and "), |event| format!("event, by `{}`", event.name));
            kinds[1].push((link.shape(), grain));
        }
        for satellite in model.satellites {
            kinds[2].push((satellite.shape(), format!("change of `{}`", satellite.parent.table())));
        }
    }
    kinds
}

/// The tables of the document, each once.
fn tables() -> String {
    let streams_of = |name: &str| {
        let having = STREAMS.iter().filter(|stream| stream.vault.tables().iter().any(|t| t.name == name));
        having.map(|stream| stream.spec.name).collect::<Vec<_>>().join(", ")
    };
    let mut text = String::new();
    for (title, mut rows) in ["Hubs", "Links", "Satellites"].into_iter().zip(kinds()) {
        rows.sort_by_key(|(table, _)| table.name);
        rows.dedup();
        text += &format!("\n## {title}\n\n| table | streams | one row per | primary key | columns |\n");
        text += "| --- | --- | --- | --- | --- |\n";
        text.extend(rows.iter().map(|(table, grain)| line(table, &streams_of(table.name), grain)));
    }
    text + "\n"
}

#[test]
fn the_document_shows_the_tables_of_the_models() {
    // GIVEN the document, and the part between its marks
    let document = std::fs::read_to_string(DOCUMENT).expect("docs/VAULT.md");
    let (before, rest) = document.split_once(BEGIN).expect("the mark where the tables begin");
    let (shown, after) = rest.split_once(END).expect("the mark where they end");
    // WHEN it is to be written, THEN it is
    let tables = tables();
    if std::env::var_os("STRATA_WRITE_DOCS").is_some() {
        std::fs::write(DOCUMENT, format!("{before}{BEGIN}{tables}{END}{after}")).expect("docs/VAULT.md");
        return;
    }
    // ELSE it is up to date
    assert_eq!(
        shown, tables,
        "docs/VAULT.md is not what the models say; write it with \
         STRATA_WRITE_DOCS=1 cargo test -p strata-streams --test main"
    );
}
