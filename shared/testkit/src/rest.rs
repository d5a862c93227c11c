//! When the fleet is at rest: every layer has read and sent all there is.

use std::collections::BTreeMap;
use std::time::Duration;

use strata_events::StoreKind;
use strata_streams::{STREAMS, StreamDef, order};

use crate::eventually::eventually;
use crate::fleet::{Fleet, Service};

impl Fleet {
    /// Waits until every order has gone through all layers; nothing may be produced meanwhile.
    pub async fn at_rest(&self, within: Duration) {
        self.stream_at_rest(&order::DEF, within).await;
    }

    /// Waits until the events of every stream have gone through all layers; nothing may be produced meanwhile.
    pub async fn all_at_rest(&self, within: Duration) {
        for stream in STREAMS {
            self.stream_at_rest(stream, within).await;
        }
    }

    /// Waits until every event of a stream has gone through all layers; nothing may be produced meanwhile.
    pub async fn stream_at_rest(&self, stream: &StreamDef, within: Duration) {
        for hop in stream.spec.hops {
            let topic = self.topic(hop.topic.env);
            match hop.store {
                StoreKind::Postgres => self.stage_at_rest(Service::of(hop.stage), &topic, within).await,
                StoreKind::Redis => self.metrics_at_rest(&topic, within).await,
            }
        }
    }

    /// Waits until one stage has read all of its topic and Kafka holds all it made of that.
    pub async fn stage_at_rest(&self, service: Service, topic: &str, within: Duration) {
        let stage = service.binary();
        eventually(within, &format!("{stage} at the end of {topic}"), async || {
            let ends = self.ends(topic).await;
            let mut offsets = self.offsets(service, topic).await;
            offsets.retain(|_, offset| *offset > 0);
            if offsets != ends {
                return Err(format!("it stands at {offsets:?} of {ends:?}"));
            }
            match self.pending_outputs(service, topic).await {
                0 => Ok(()),
                n => Err(format!("outputs of {n} partitions are not acknowledged")),
            }
        })
        .await;
    }

    /// Waits until a stage has read this many records since the topic began.
    pub async fn reached(&self, service: Service, goal: i64, within: Duration) {
        self.reached_in(service, &self.input_of(service), goal, within).await;
    }

    /// As [`Fleet::reached`], of the topic of any stream.
    pub async fn reached_in(&self, service: Service, topic: &str, goal: i64, within: Duration) {
        eventually(within, &format!("{} at {goal} records of {topic}", service.binary()), async || {
            let read: i64 = self.offsets(service, topic).await.values().sum();
            if read >= goal { Ok(()) } else { Err(format!("{read} records")) }
        })
        .await;
    }

    /// Waits until the consumer group of a stage has this many members, each with its partitions.
    pub async fn members(&self, service: Service, count: usize, within: Duration) {
        self.members_of(service, &self.input_of(service), count, within).await;
    }

    /// As [`Fleet::members`], of the group that reads the topic of any stream.
    pub async fn members_of(&self, service: Service, topic: &str, count: usize, within: Duration) {
        let group = self.group(service, topic);
        eventually(within, &format!("{count} members of {group}"), async || {
            match self.kafka().stable_members(&group).await {
                Some(members) if members == count => Ok(()),
                Some(members) => Err(format!("{members} members")),
                None => Err("a rebalance".to_owned()),
            }
        })
        .await;
    }

    /// Next offset by partition, as the group of a stage has told Kafka for lag monitors.
    pub async fn committed(&self, service: Service, topic: &str) -> BTreeMap<i32, i64> {
        self.kafka().committed(&self.group(service, topic), topic).await
    }

    /// Next offset by partition, as the stage stored it.
    pub async fn offsets(&self, service: Service, topic: &str) -> BTreeMap<i32, i64> {
        let rows: Vec<(i32, i64)> = sqlx::query_as(
            "select partition, next_offset from ops.consumer_offsets where stage = $1 and topic = $2",
        )
        .bind(service.binary())
        .bind(topic)
        .fetch_all(self.pool())
        .await
        .expect("the stored offsets");
        rows.into_iter().collect()
    }

    /// The offsets after the last records, by partition that ever had one.
    pub(crate) async fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        let marks = self.kafka().watermarks(topic).await.into_iter();
        marks.map(|(partition, (_, high))| (partition, high)).filter(|(_, high)| *high > 0).collect()
    }

    async fn pending_outputs(&self, service: Service, topic: &str) -> i64 {
        sqlx::query_scalar("select count(*) from ops.pending_outputs where stage = $1 and topic = $2")
            .bind(service.binary())
            .bind(topic)
            .fetch_one(self.pool())
            .await
            .expect("the kept outputs")
    }
}
