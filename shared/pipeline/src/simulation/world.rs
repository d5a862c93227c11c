//! Kafka, a consumer group per stage and the database of two stages, in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use strata_events::Origin;

use crate::record::{Output, Record};
use crate::seams::Assignment;
use crate::watermark::OriginKey;

/// The topics of the two stages, in the order of the stream.
pub const TOPICS: [&str; 2] = ["first_topic", "second_topic"];

/// What goes wrong with the next transaction or the next sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing happens, and the caller hears of a failure.
    Refused,
    /// Half of it happens where halves are possible, and the caller hears of a failure.
    Half,
    /// All of it happens, and the caller hears of a failure.
    LostReply,
    /// It happens at any later time, and the caller hears of a failure.
    Late,
}

/// What one stage keeps, all in one transaction.
#[derive(Debug, Clone, Default)]
pub struct Store {
    pub offsets: BTreeMap<i32, i64>,
    pub kept: BTreeMap<i32, Vec<Output>>,
    /// How often each record took effect, by where it began.
    pub effects: BTreeMap<Origin, u32>,
    /// How often each record was refused.
    pub refused: BTreeMap<Origin, u32>,
    pub watermarks: BTreeMap<OriginKey, i64>,
}

/// One member of a stage's group.
#[derive(Debug, Clone, Default)]
pub struct Member {
    pub assignment: Assignment,
    /// What the group tells it at its next polls.
    pub coming: VecDeque<Option<Vec<i32>>>,
    /// Where it reads, by partition.
    pub reads: BTreeMap<i32, i64>,
}

/// All there is outside of the loops.
#[derive(Default)]
pub struct World {
    /// Records by topic and partition.
    pub topics: [Vec<Vec<Record>>; 2],
    /// What the database holds, by stage, and what of that a crash of it leaves.
    pub stores: [Store; 2],
    pub flushed: [Store; 2],
    pub groups: [[Member; 2]; 2],
    pub faults: VecDeque<Fault>,
    /// Sent, and not arrived yet.
    pub under_way: Vec<Vec<Output>>,
}

/// What all share.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<World>>);

impl Shared {
    /// A world of topics with so many partitions.
    pub fn new(partitions: usize) -> Self {
        let topics = [vec![Vec::new(); partitions], vec![Vec::new(); partitions]];
        Self(Arc::new(Mutex::new(World { topics, ..World::default() })))
    }

    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("no test thread has panicked")
    }
}

impl World {
    /// A sender's record, at the partition of its key.
    pub fn produce(&mut self, key: u8, body: &str) {
        let output = Output {
            topic: TOPICS[0].into(),
            key: Some(vec![key]),
            payload: body.as_bytes().to_vec(),
            timestamp_ms: 1_700_000_000_000,
            headers: Vec::new(),
            partition: None,
        };
        self.arrive(&output);
    }

    /// Kafka takes a record.
    pub fn arrive(&mut self, output: &Output) {
        let topic = TOPICS.iter().position(|topic| **topic == *output.topic).expect("a topic of the world");
        let count = i32::try_from(self.topics[topic].len()).expect("few partitions");
        let partition = output.partition.unwrap_or_else(|| output.partition_among(count));
        let log = &mut self.topics[topic][usize::try_from(partition).expect("a partition")];
        let origin = output.headers.iter().find(|(name, _)| name == strata_events::origin::HEADER);
        log.push(Record {
            topic: Arc::clone(&output.topic),
            partition,
            offset: i64::try_from(log.len()).expect("few records"),
            timestamp_ms: output.timestamp_ms,
            key: output.key.clone(),
            payload: output.payload.clone(),
            origin: origin.map(|(_, text)| text.parse().expect("an origin")),
            ..Record::default()
        });
    }

    /// What was sent long ago arrives only now.
    pub fn deliver_late(&mut self) {
        for outputs in std::mem::take(&mut self.under_way) {
            outputs.iter().for_each(|output| self.arrive(output));
        }
    }

    /// The group of a stage gives its partitions to its members as the bits of `seed` say.
    pub fn rebalance(&mut self, stage: usize, seed: u8) {
        let partitions = i32::try_from(self.topics[stage].len()).expect("few partitions");
        for (index, member) in self.groups[stage].iter_mut().enumerate() {
            let own = (0..partitions).filter(|partition| usize::from(seed >> partition & 1) == index);
            member.coming.extend([None, Some(own.collect())]);
        }
    }

    /// The database restarts and has lost what was not flushed.
    pub fn lose_unflushed(&mut self) {
        self.stores = self.flushed.clone();
    }

    /// Everything read, sent and acknowledged.
    pub fn is_at_rest(&self) -> bool {
        let is_read = |stage: usize| {
            let ends = (0..).zip(&self.topics[stage]);
            ends.into_iter().all(|(partition, log)| {
                let at = self.stores[stage].offsets.get(&partition).copied().unwrap_or_default();
                at == i64::try_from(log.len()).expect("few records")
            })
        };
        is_read(0) && is_read(1) && self.stores.iter().all(|store| store.kept.is_empty())
    }
}
