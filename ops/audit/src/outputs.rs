//! Outputs that a stage committed and may not have sent: they belong to what it has read.

use strata_events::{Origin, origin};
use strata_pipeline::{Output, pending};

use super::reader::Reader;

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
    header(output, origin::HEADER)?.parse().ok()
}

/// The value of a header.
pub fn header<'a>(output: &'a Output, name: &str) -> Option<&'a str> {
    output.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}
