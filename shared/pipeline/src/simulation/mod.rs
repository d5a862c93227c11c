//! Two stages with two instances each, in one thread and without servers: the real loop over a Kafka, a group and a
//! database in memory, under every order of turns, crashes, rebalances, faults and added partitions that proptest
//! comes upon. However that goes, each record takes effect once in each stage.

mod ends;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use proptest::prelude::*;
use strata_events::{Origin, Schema, StageId};
use strata_service::config::{Route, Upstream};
use strata_service::{SchemaRegistry, Settings};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;

use crate::entrance::{Entrance, Known};
use crate::metrics::lag::Lag;
use crate::turn::{Loop, LoopSettings, Parts};
use crate::writers::Writers;
use ends::{BAD, MemorySink, MemorySource, MemoryStage};
use world::{Fault, Member, Shared, TOPICS};

/// Most partitions that a topic grows to.
const MAX_PARTITIONS: usize = 4;

type MemoryLoop<'a> = Loop<'a, MemoryStage, MemorySource, MemorySink>;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Event {
    /// A sender's records of this key; the store refuses bad ones.
    Produce { key: u8, count: usize, is_bad: bool },
    /// An instance of a stage turns its loop once.
    Turn { stage: usize, instance: usize },
    /// An instance dies and is started again; the group hears of both.
    Crash { stage: usize, instance: usize },
    /// The group of a stage moves partitions.
    Rebalance { stage: usize, seed: u8 },
    /// A topic gets one more partition.
    Grow { topic: usize },
    /// Something will go wrong with the next transaction or sending.
    Fail(Fault),
    /// What was sent late arrives.
    Deliver,
    /// The database crashes and loses what was not flushed.
    LoseUnflushed,
}

/// What the loops of the world stand on.
struct Ground {
    world: Shared,
    runtime: Runtime,
    token: CancellationToken,
    writers: usize,
}

impl Ground {
    fn new(partitions: usize, writers: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        Self { world: Shared::new(partitions), runtime, token: CancellationToken::new(), writers }
    }

    /// The loop of an instance that has just been started.
    fn start<'a>(&'a self, handle: &'a Handle, stage: usize, instance: usize) -> MemoryLoop<'a> {
        let settings = Settings::from_lookup("STG_PORT", |_| None).expect("defaults fit");
        let stages = [StageId::Stg, StageId::Dds];
        let route = Route {
            stage: stages[stage],
            stream: "simulated",
            input: TOPICS[stage].to_owned(),
            schema: Schema::new("{}"),
            upstream: (stage > 0).then(|| Upstream { stage: stages[0], topic: TOPICS[0].to_owned() }),
            output: TOPICS.get(stage + 1).map(|topic| (*topic).to_owned()),
        };
        let world = self.world.clone();
        let entrance = Entrance::told_by(&route, move || {
            let read = world.lock().stores[0].offsets.clone();
            async { Ok(Known { read, replays: 0 }) }.boxed()
        });
        let mut settings = LoopSettings {
            route,
            kafka: settings.kafka,
            batch: settings.batch,
            keep_settled: Duration::ZERO,
            registry: SchemaRegistry::default(),
        };
        settings.batch.max_rows = 5;
        let stages = (0..self.writers).map(|_| MemoryStage { world: self.world.clone(), stage });
        let writers = Writers::new(stages.collect(), &settings.batch);
        let lag = Lag::of("simulated");
        let source = MemorySource { world: self.world.clone(), stage, instance, lag };
        let sink = MemorySink(self.world.clone());
        let (status, token) = (Arc::default(), &self.token);
        Loop::new(Parts { settings, writers, entrance, source, sink, status, handle, token })
    }
}

/// Runs events, then lets everything come to rest without faults, and compares.
fn run(ground: &Ground, events: &[Event]) {
    let handle = ground.runtime.handle();
    // Timeouts are made on this thread, before the runtime polls them.
    let _entered = handle.enter();
    let world = &ground.world;
    let start = |stage| [0, 1].map(|instance| ground.start(handle, stage, instance));
    let mut loops = [start(0), start(1)];
    for stage in [0, 1] {
        world.lock().rebalance(stage, 0b0101);
    }
    for event in events {
        match *event {
            Event::Produce { key, count, is_bad } => {
                let body = if is_bad { BAD } else { "good" };
                (0..count).for_each(|_| world.lock().produce(key, body));
            }
            Event::Turn { stage, instance } => {
                loops[stage][instance].turn_once().expect("no need of a process");
            }
            Event::Crash { stage, instance } => {
                world.lock().groups[stage][instance] = Member::default();
                loops[stage][instance] = ground.start(handle, stage, instance);
                world.lock().rebalance(stage, 0b0011);
            }
            Event::Rebalance { stage, seed } => world.lock().rebalance(stage, seed),
            Event::Grow { topic } => {
                let partitions = &mut world.lock().topics[topic];
                if partitions.len() < MAX_PARTITIONS {
                    partitions.push(Vec::new());
                }
            }
            Event::Fail(fault) => world.lock().faults.push_back(fault),
            Event::Deliver => world.lock().deliver_late(),
            Event::LoseUnflushed => world.lock().lose_unflushed(),
        }
    }
    come_to_rest(world, &mut loops);
    compare(world);
}

/// Turns every loop without faults until all is read, sent and acknowledged.
fn come_to_rest(world: &Shared, loops: &mut [[MemoryLoop<'_>; 2]; 2]) {
    {
        let mut world = world.lock();
        world.faults.clear();
        world.deliver_late();
        (0..2).for_each(|stage| world.rebalance(stage, 0b0110));
    }
    for each in loops.iter_mut().flatten() {
        // The store is asked once a second whether it has lost something: now.
        each.verified = Instant::now().checked_sub(Duration::from_secs(2)).expect("uptime");
    }
    for _ in 0..400 {
        for each in loops.iter_mut().flatten() {
            each.turn_once().expect("no need of a process");
        }
        if world.lock().is_at_rest() {
            return;
        }
    }
    panic!("it does not come to rest: {:?}", world.lock().stores);
}

/// Every good record took effect once in both stages, every bad one was refused once by the first.
fn compare(world: &Shared) {
    let world = world.lock();
    let origin = |record: &crate::Record| (record.coordinates(), 1);
    let (bad, good): (Vec<_>, Vec<_>) =
        world.topics[0].iter().flatten().partition(|record| record.payload == BAD.as_bytes());
    let once = |records: &[&crate::Record]| {
        records.iter().map(|record| origin(record)).collect::<BTreeMap<Origin, u32>>()
    };
    let [first, second] = &world.stores;
    assert_eq!(first.effects, once(&good), "the first stage");
    assert_eq!(second.effects, once(&good), "the second stage");
    assert_eq!(first.refused, once(&bad), "refused");
    assert_eq!(second.refused, BTreeMap::new(), "the second stage refuses nothing");
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![Just(Fault::Refused), Just(Fault::Half), Just(Fault::LostReply), Just(Fault::Late)]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..4_u8, 1..8_usize, prop::bool::weighted(0.1))
            .prop_map(|(key, count, is_bad)| Event::Produce { key, count, is_bad }),
        12 => (0..2_usize, 0..2_usize).prop_map(|(stage, instance)| Event::Turn { stage, instance }),
        1 => (0..2_usize, 0..2_usize).prop_map(|(stage, instance)| Event::Crash { stage, instance }),
        1 => (0..2_usize, any::<u8>()).prop_map(|(stage, seed)| Event::Rebalance { stage, seed }),
        1 => (0..2_usize).prop_map(|topic| Event::Grow { topic }),
        2 => fault().prop_map(Event::Fail),
        1 => Just(Event::Deliver),
        1 => Just(Event::LoseUnflushed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn whatever_happens_each_record_takes_effect_once(
        writers in 1..3_usize,
        events in prop::collection::vec(event(), 0..160),
    ) {
        run(&Ground::new(2, writers), &events);
    }
}

/// Turns of both instances of both stages, so many rounds.
fn turns(rounds: usize) -> Vec<Event> {
    let round = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(stage, instance)| Event::Turn { stage, instance });
    round.iter().cycle().take(4 * rounds).cloned().collect()
}

fn produce(key: u8, count: usize) -> Event {
    Event::Produce { key, count, is_bad: false }
}

#[test]
fn without_faults_everything_arrives() {
    run(&Ground::new(2, 1), &[vec![produce(0, 9), produce(1, 9)], turns(10)].concat());
}

#[test]
fn an_instance_that_does_not_know_yet_that_it_lost_its_partition_is_fenced() {
    // GIVEN instances that read, and records behind what they have read
    let mut events =
        [vec![produce(0, 4), produce(1, 4)], turns(6), vec![produce(0, 3), produce(1, 3)]].concat();
    // WHEN all partitions move to the second instance, which applies them, before the first one polls again
    events.push(Event::Rebalance { stage: 0, seed: 0xff });
    events.extend((0..6).map(|_| Event::Turn { stage: 0, instance: 1 }));
    events.extend((0..6).map(|_| Event::Turn { stage: 0, instance: 0 }));
    run(&Ground::new(2, 1), &events);
}

#[test]
fn one_bad_record_among_good_ones_is_refused_alone() {
    let bad = Event::Produce { key: 0, count: 1, is_bad: true };
    run(&Ground::new(1, 1), &[vec![produce(0, 2), bad, produce(0, 2)], turns(8)].concat());
}

#[test]
fn outputs_that_are_sent_again_go_where_they_went_before_partitions_were_added() {
    for fault in [Fault::Half, Fault::LostReply, Fault::Late, Fault::Refused] {
        for key in 0..8 {
            // GIVEN a batch whose transaction is well and whose sending fails
            let before = [vec![produce(key, 3)], turns(3), vec![produce(key, 3)]].concat();
            let ground = Ground::new(1, 1);
            // WHEN the next topic grows before it is sent again
            let after = vec![
                Event::Turn { stage: 0, instance: 0 },
                Event::Fail(fault),
                Event::Grow { topic: 1 },
                Event::Deliver,
            ];
            run(&ground, &[before, after, turns(8)].concat());
        }
    }
}

#[test]
fn a_crash_between_commit_and_acknowledgement_repeats_the_sending_only() {
    for fault in [Fault::Half, Fault::LostReply, Fault::Late, Fault::Refused] {
        let mut events = [vec![produce(0, 5)], turns(3), vec![produce(0, 5), Event::Fail(fault)]].concat();
        events.extend([Event::Turn { stage: 0, instance: 0 }, Event::Crash { stage: 0, instance: 0 }]);
        run(&Ground::new(1, 2), &[events, turns(8)].concat());
    }
}
