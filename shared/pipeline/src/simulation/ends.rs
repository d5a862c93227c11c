//! The loop's seams over the world in memory: source, sink, stage.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use strata_events::Reject;
use strata_service::config::BatchSettings;

use super::world::{Fault, Member, Shared, Store, TOPICS, World};
use crate::error::StageError;
use crate::guard::DeadLetterGuard;
use crate::metrics::lag::Lag;
use crate::record::{Output, Record};
use crate::seams::ProduceError;
use crate::seams::{Assignment, Collected, Pace};
use crate::seams::{Sink, Source};
use crate::stage::{Position, Span, Stage};
use crate::watermark::Watermarks;

/// A record with this body is one that the store refuses.
pub const BAD: &str = "bad";

/// One instance's membership in the group of a stage.
pub struct MemorySource {
    pub world: Shared,
    pub stage: usize,
    pub instance: usize,
    pub lag: Lag,
}

impl MemorySource {
    fn with<T>(&self, act: impl FnOnce(&mut Member) -> T) -> T {
        act(&mut self.world.lock().groups[self.stage][self.instance])
    }

    /// Hears what the group has to say, a word per poll.
    fn poll(&self) {
        self.with(|member| {
            if let Some(partitions) = member.coming.pop_front() {
                member.assignment.epoch += 1;
                member.assignment.partitions = partitions;
                member.reads.clear();
            }
        });
    }
}

impl Source for MemorySource {
    fn assignment(&self) -> Assignment {
        self.with(|member| member.assignment.clone())
    }

    fn denied(&self) -> Option<&'static str> {
        None
    }

    fn idle(&self, _duration: Duration) {
        self.poll();
    }

    fn start_at(&self, offsets: &BTreeMap<i32, i64>) -> anyhow::Result<()> {
        self.with(|member| member.reads.clone_from(offsets));
        Ok(())
    }

    fn pause(&self) {
        self.with(|member| member.reads.clear());
    }

    fn watermarks(&self, partition: i32, _within: Duration) -> anyhow::Result<(i64, i64)> {
        let world = self.world.lock();
        let log = &world.topics[self.stage][usize::try_from(partition)?];
        Ok((0, i64::try_from(log.len())?))
    }

    fn collect(&self, limits: &BatchSettings, epoch: u64) -> Collected {
        self.poll();
        if self.assignment().epoch != epoch {
            return Collected::Records(Vec::new());
        }
        let World { topics, groups, .. } = &mut *self.world.lock();
        let mut records: Vec<Record> = Vec::new();
        for (&partition, at) in &mut groups[self.stage][self.instance].reads {
            let log = &topics[self.stage][usize::try_from(partition).expect("a partition")];
            let new = log.iter().skip(usize::try_from(*at).expect("an offset"));
            let new: Vec<Record> = new.take(limits.max_rows - records.len()).cloned().collect();
            *at += i64::try_from(new.len()).expect("few records");
            records.extend(new);
        }
        Collected::Records(records)
    }

    fn commit(&mut self, _positions: &BTreeMap<i32, i64>, _pace: Pace) {}

    fn lag(&self) -> &Lag {
        &self.lag
    }

    fn mute(&self, _partitions: impl Iterator<Item = i32>) {}

    fn leave(&self) {}
}

/// Sends into the world.
#[derive(Clone)]
pub struct MemorySink(pub Shared);

impl Sink for MemorySink {
    async fn send_all(&self, outputs: &[Output]) -> Result<(), ProduceError> {
        let mut world = self.0.lock();
        let fault = world.faults.pop_front();
        let arriving = match fault {
            None | Some(Fault::LostReply) => outputs.len(),
            Some(Fault::Half) => outputs.len() / 2,
            Some(Fault::Refused | Fault::Late) => 0,
        };
        outputs[..arriving].iter().for_each(|output| world.arrive(output));
        if fault == Some(Fault::Late) {
            world.under_way.push(outputs.to_vec());
        }
        match fault {
            None => Ok(()),
            Some(_) => {
                Err(ProduceError::Refused(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut)))
            }
        }
    }

    fn refusal(&self) -> Option<String> {
        None
    }
}

/// A stage that counts how often each record takes effect, so that twice is not hidden by a key.
pub struct MemoryStage {
    pub world: Shared,
    pub stage: usize,
}

impl MemoryStage {
    /// Applies records to a copy of the store; the caller keeps it or throws it away.
    fn transact(
        &self,
        world: &World,
        records: &[Record],
        span: &Span,
        refuse_as: Option<&Reject>,
    ) -> Result<(Store, Vec<Output>), StageError> {
        let mut store = world.stores[self.stage].clone();
        for (&partition, &(expected, next)) in span {
            let stored = store.offsets.get(&partition).copied().unwrap_or(-1);
            if stored != expected {
                return Err(StageError::Fenced { partition, stored, expected });
            }
            store.offsets.insert(partition, next);
        }
        let mut marks = Watermarks::new(store.watermarks.clone());
        let mut kept: BTreeMap<i32, Vec<Output>> = BTreeMap::new();
        for record in records {
            let source = record.source();
            if let Some(reject) = record.refused.as_ref().or(refuse_as) {
                assert!(reject.code == "refused_by_store", "only what is bad is refused: {reject:?}");
                *store.refused.entry(source).or_default() += 1;
                continue;
            }
            if record.payload == BAD.as_bytes() {
                return Err(StageError::Data(anyhow::anyhow!("a constraint")));
            }
            if !marks.advance(record.partition, &source) {
                continue;
            }
            *store.effects.entry(source).or_default() += 1;
            if let Some(next) = TOPICS.get(self.stage + 1) {
                let key = record.key.clone().unwrap_or_default();
                let mut output = Output::from_input(record, &(*next).into(), key, record.payload.clone());
                let partitions = world.topics[self.stage + 1].len();
                output.partition = Some(output.partition_among(i32::try_from(partitions).expect("few")));
                kept.entry(record.partition).or_default().push(output);
            }
        }
        store.watermarks.extend(marks.moved().clone());
        let outputs = kept.values().flatten().cloned().collect();
        store.kept.extend(kept);
        Ok((store, outputs))
    }
}

impl Stage for MemoryStage {
    async fn positions(&mut self, partitions: &[i32]) -> Result<Vec<Position>, StageError> {
        let world = self.world.lock();
        let store = &world.stores[self.stage];
        let position = |&partition: &i32| Position {
            partition,
            next_offset: store.offsets.get(&partition).copied(),
            pending: store.kept.get(&partition).cloned().unwrap_or_default(),
        };
        Ok(partitions.iter().map(position).collect())
    }

    async fn initialize(&mut self, partitions: &[i32]) -> Result<(), StageError> {
        let mut world = self.world.lock();
        for &partition in partitions {
            world.stores[self.stage].offsets.entry(partition).or_insert(0);
        }
        world.flushed = world.stores.clone();
        Ok(())
    }

    async fn apply(
        &mut self,
        records: &[Record],
        span: &Span,
        refuse_as: Option<Reject>,
        _guard: &mut DeadLetterGuard,
    ) -> Result<Vec<Output>, StageError> {
        let mut world = self.world.lock();
        let (store, outputs) = self.transact(&world, records, span, refuse_as.as_ref())?;
        let fault = world.faults.pop_front();
        let failure = StageError::Transient { dependency: "postgres", source: anyhow::anyhow!("a fault") };
        if matches!(fault, Some(Fault::Refused | Fault::Half | Fault::Late)) {
            return Err(failure);
        }
        world.stores[self.stage] = store;
        if !outputs.is_empty() {
            world.flushed = world.stores.clone();
        }
        if fault.is_some() { Err(failure) } else { Ok(outputs) }
    }

    async fn forget_acknowledged(&mut self, positions: &[(i32, i64)]) -> Result<(), StageError> {
        let mut world = self.world.lock();
        let store = &mut world.stores[self.stage];
        for (partition, at) in positions {
            if store.offsets.get(partition) == Some(at) {
                store.kept.remove(partition);
            }
        }
        Ok(())
    }
}
