//! What the loop says when Kafka does not hold what it has to read next, and the way out.

/// A partition that does not hold the stored offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    /// Partition.
    pub partition: i32,
    /// Offset that the store wants next; none where the stage never read the partition.
    pub stored: Option<i64>,
    /// First offset that Kafka holds.
    pub low: i64,
    /// The one after its last.
    pub high: i64,
}

impl Gone {
    /// The partition, when what is wanted next lies outside of what Kafka holds.
    pub fn check(partition: i32, stored: Option<i64>, (low, high): (i64, i64)) -> Option<Self> {
        let gone = Self { partition, stored, low, high };
        (gone.next() < low || gone.is_recreated()).then_some(gone)
    }

    /// Offset that is wanted next: a stage reads everything that a partition ever held.
    pub fn next(self) -> i64 {
        self.stored.unwrap_or(0)
    }

    /// The partition ends before the offset: offsets started over.
    pub fn is_recreated(self) -> bool {
        self.next() > self.high
    }
}

/// Says what is lost in all partitions at once, and the statements that accept it, or the stage's own
/// `way_out`.
///
/// Offsets of a recreated topic start over. So the next layer must forget what it saw of the old one,
/// and dead letters of the old one must not stand in the way of new ones with the same coordinates.
pub fn message(stage: &str, topic: &str, gone: &[Gone], way_out: Option<&str>) -> String {
    let (mut missing, mut statements) = (Vec::new(), Vec::new());
    for &lost in gone {
        let (Gone { partition, stored, low, .. }, next) = (lost, lost.next());
        let why = if lost.is_recreated() { "the topic was recreated" } else { "deleted before it was read" };
        missing.push(format!("offset {next} of {topic}/{partition} ({why})"));
        let place = format!("stage = '{stage}' and topic = '{topic}' and partition = {partition}");
        statements.push(match stored {
            Some(_) => format!("update ops.consumer_offsets set next_offset = {low} where {place}"),
            None => format!(
                "insert into ops.consumer_offsets (stage, topic, partition, next_offset) values ('{stage}', '{topic}', \
                 {partition}, {low})"
            ),
        });
        if lost.is_recreated() {
            let origin = format!("origin_topic = '{topic}' and origin_partition = {partition}");
            for table in ["origin_watermarks", "rebuilt_origins"] {
                statements.push(format!("delete from ops.{table} where {origin}"));
            }
            let aside = format!("update ops.dead_letters set \"offset\" = -id where {place}");
            statements.push(format!("{aside} and \"offset\" >= 0"));
        }
    }
    if let Some(way_out) = way_out {
        return format!("data loss: kafka does not hold {}. {way_out}", missing.join(", "));
    }
    let caution = match gone.iter().any(|lost| lost.is_recreated()) {
        true => " when the next stage has read all it was sent",
        false => "",
    };
    format!(
        "data loss: kafka does not hold {}. Restore the records, or{caution} accept the loss with: {}",
        missing.join(", "),
        statements.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_that_kafka_holds_or_writes_next_is_not_gone() {
        for next in [5, 7, 10] {
            assert_eq!(Gone::check(0, Some(next), (5, 10)), None);
        }
        assert!(Gone::check(0, Some(4), (5, 10)).is_some_and(|gone| !gone.is_recreated()));
        assert!(Gone::check(0, Some(11), (5, 10)).is_some_and(Gone::is_recreated));
    }

    #[test]
    fn a_partition_that_was_never_read_is_read_from_its_first_offset_on() {
        assert_eq!(Gone::check(0, None, (0, 10)), None);
        assert!(Gone::check(0, None, (1, 10)).is_some_and(|gone| !gone.is_recreated()));
    }

    #[test]
    fn every_partition_is_named_with_its_way_out() {
        let gone = [
            Gone { partition: 1, stored: Some(3), low: 5, high: 9 },
            Gone { partition: 2, stored: Some(8), low: 0, high: 4 },
            Gone { partition: 3, stored: None, low: 7, high: 7 },
        ];
        let text = message("dds", "dds_topic", &gone, None);
        let (said, statements) = text.split_once("accept the loss with: ").expect("a way out");
        assert!(
            said.contains("offset 3 of dds_topic/1 (deleted")
                && said.contains("offset 8 of dds_topic/2 (the topic")
        );
        assert!(said.contains("offset 0 of dds_topic/3 (deleted"));
        assert_eq!(statements.matches("update ops.consumer_offsets").count(), 2);
        assert!(statements.contains("values ('dds', 'dds_topic', 3, 7)"), "{statements}");
        for table in ["origin_watermarks", "rebuilt_origins"] {
            assert_eq!(statements.matches(&format!("delete from ops.{table}")).count(), 1);
        }
    }
}
