//! Outputs that a stage committed and may not have sent: they belong to what it has read.

use strata_events::{Origin, origin};
use strata_pipeline::{Output, pending};

use super::reader::Reader;
use super::report::Check;
use super::snapshot::Snapshot;

/// What a stage keeps of one partition's last batch.
pub struct Kept {
    /// Layer.
    pub stage: String,
    /// Topic it read.
    pub topic: String,
    /// Partition it read.
    pub partition: i32,
    /// The outputs; none where they cannot be read.
    pub outputs: Vec<Output>,
    /// Why they cannot be read.
    pub broken: Option<String>,
}

/// Reads all of them.
pub fn read(reader: &mut Reader) -> anyhow::Result<Vec<Kept>> {
    let rows: Vec<(String, String, i32, Vec<u8>)> =
        reader.rows(sqlx::query_as("select stage, topic, partition, outputs from ops.pending_outputs"))?;
    let kept = rows.into_iter().map(|(stage, topic, partition, pack)| {
        let (outputs, broken) = match pending::unpack(&pack) {
            Ok(outputs) => (outputs, None),
            Err(e) => (Vec::new(), Some(e.to_string())),
        };
        Kept { stage, topic, partition, outputs, broken }
    });
    Ok(kept.collect())
}

/// The origin that an output names.
pub fn origin_of(output: &Output) -> Option<Origin> {
    output.headers.iter().find(|(name, _)| name == origin::HEADER)?.1.parse().ok()
}

/// The value of a header.
pub fn header<'a>(output: &'a Output, name: &str) -> Option<&'a str> {
    output.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Every kept output was made of a record that its stage had read.
pub fn check(snapshot: &Snapshot<'_>) -> Check {
    let mut check = Check::new("outputs that wait were made of records below their stage's offset");
    for kept in &snapshot.kept {
        let place = format!("ops.pending_outputs: {} of {}/{}", kept.stage, kept.topic, kept.partition);
        let next = snapshot.offsets_of(&kept.stage, &kept.topic).get(&kept.partition).copied();
        if let Some(why) = &kept.broken {
            check.differs(|| format!("{place} cannot be read: {why}"));
        }
        for output in &kept.outputs {
            check.compared += 1;
            let origin = origin_of(output);
            let read = origin.as_ref().is_some_and(|origin| {
                *origin.topic == *kept.topic
                    && origin.partition == kept.partition
                    && next.is_some_and(|next| origin.offset < next)
            });
            if !read {
                let origin = origin.map_or_else(|| "nothing".to_owned(), |origin| origin.to_string());
                check.differs(|| format!("{place} holds one made of {origin}, next is {next:?}"));
            }
        }
    }
    check
}
