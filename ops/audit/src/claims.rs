//! What the vault must have of an event, made from the rows that the event brings to it.

use serde::{Deserialize, Serialize};
use strata_vault::model::Parent;
use strata_vault::rows::{KeyedRows, Rows};
use strata_vault::{hashdiff, hub_key, texts};
use uuid::Uuid;

use super::shape::{Shape, Subject};
use super::tables::Place;

/// One row that the vault must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    table: At,
    /// Business key of the other hub of a link, attributes of a satellite, or what the event's own row says.
    says: Vec<String>,
}

/// Where the row is, by its place in a [`Shape`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum At {
    Subject,
    Link(usize),
    Satellite(usize),
}

impl Shape {
    /// What rows of one event claim. The row of a hub may be of another record, so it claims no more than to be there.
    pub fn claims(&self, rows: &Rows<'_>) -> Vec<Claim> {
        let mut claims = Vec::new();
        if matches!(self.subject, Parent::Link(_)) {
            let said = rows.subjects.iter().map(|(_, said, _)| texts(said[1..].iter().copied()));
            claims.extend(said.map(|says| Claim { table: At::Subject, says }));
        }
        for (at, link) in self.links.iter().enumerate() {
            let rows_of = rows.rest.links.iter().filter(|rows| rows.link.table == link.table);
            let others = rows_of.flat_map(|rows| rows.iter()).map(|(_, hubs, _)| hubs[1]);
            let hub = rows.rest.hubs.iter().find(|rows| rows.table.table() == link.hubs[1].table);
            let says = others.map(|key| vec![hub.and_then(|hub| name(hub, key)).unwrap_or_default()]);
            claims.extend(says.map(|says| Claim { table: At::Link(at), says }));
        }
        for (at, satellite) in self.satellites.iter().enumerate() {
            for rows in rows.rest.satellites.iter().filter(|rows| rows.satellite.table == satellite.table) {
                let says = rows.records.iter().map(|record| texts(rows.said(record).iter().copied()));
                claims.extend(says.map(|says| Claim { table: At::Satellite(at), says }));
            }
        }
        claims
    }

    /// What of the claims the vault does not have, in words.
    pub fn missing(&self, claims: &[Claim], found: &Subject) -> Vec<String> {
        claims.iter().filter_map(|claim| self.lacks(claim, found)).collect()
    }

    fn lacks(&self, Claim { table, says }: &Claim, found: &Subject) -> Option<String> {
        match *table {
            At::Subject => {
                let hubs = self.joined.iter().map(|hub| hub.key);
                let columns = hubs.chain(self.attributes.iter().map(|column| column.name));
                let other =
                    columns.zip(says.iter().zip(found.said())).filter(|(_, (says, has))| *says != has);
                let other: Vec<&str> = other.map(|(column, _)| column).collect();
                let table = self.subject.table();
                (!other.is_empty()).then(|| format!("has another {} than in {table}", other.join(", ")))
            }
            At::Link(at) => {
                let (link, name) = (self.links[at], says.first()?);
                let column = link.hubs[1].business_key.name;
                let lacks = !found.links[at].contains(&hub_key(name));
                lacks.then(|| format!("names {column} {name:?}, for which {} has no row", link.table))
            }
            At::Satellite(at) => {
                let (table, said) = (self.satellites[at].table, fingerprint(says));
                let lacks = !found.satellites[at].iter().any(|version| version.fingerprint == said);
                lacks.then(|| format!("says {says:?}, which {table} does not have"))
            }
        }
    }

    /// Where the vault has in force what another version than the staged one said, in words.
    ///
    /// A value that was repeated is not stored a second time, so an older version may be in force that came after
    /// it; see the rule in `strata_vault::satellite`. A version that was sent later than the staged one may not.
    pub fn superseded(&self, claims: &[Claim], found: &Subject, staged: Place) -> Vec<String> {
        let claimed = claims.iter().filter_map(|claim| match claim.table {
            At::Satellite(at) => Some((self.satellites[at], &found.satellites[at], fingerprint(&claim.says))),
            _ => None,
        });
        let newer = claimed.filter(|(satellite, versions, said)| {
            let in_force = versions.iter().max_by_key(|version| version.place());
            satellite.sent
                && in_force.is_some_and(|version| version.place() >= staged && version.fingerprint != *said)
        });
        newer
            .map(|(satellite, ..)| format!("is another version than the one in force in {}", satellite.table))
            .collect()
    }
}

/// The business key of a row.
fn name(hub: &KeyedRows<'_>, key: Uuid) -> Option<String> {
    let (_, said, _) = hub.iter().find(|(known, ..)| *known == key)?;
    texts(said.first().copied()).pop()
}

fn fingerprint(says: &[String]) -> Uuid {
    hashdiff(&says.iter().map(String::as_str).collect::<Vec<_>>())
}
