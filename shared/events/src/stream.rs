//! The registry of streams: which topics an event passes on its way through the layers.
//!
//! A new stream is one more entry here and one handler a service.

/// A topic: the variable that names it and the name it has by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicSpec {
    /// Environment variable that overrides the name.
    pub env: &'static str,
    /// Name where the variable is not set.
    pub default: &'static str,
}

/// The way of one kind of event: a topic into each layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSpec {
    /// Name for requests, metrics and dead letters.
    pub name: &'static str,
    /// What data-source writes and stg reads.
    pub into_stg: TopicSpec,
    /// What stg writes and dds reads.
    pub into_dds: TopicSpec,
    /// What dds writes and cdm reads.
    pub into_cdm: TopicSpec,
}

/// Orders of a shop.
pub const ORDER: StreamSpec = StreamSpec {
    name: "order",
    into_stg: TopicSpec { env: "KAFKA_STG_TOPIC", default: "stg_topic" },
    into_dds: TopicSpec { env: "KAFKA_DDS_TOPIC", default: "dds_topic" },
    into_cdm: TopicSpec { env: "KAFKA_CDM_TOPIC", default: "cdm_topic" },
};

/// Hotel searches of a travel site.
pub const HOTEL_SEARCH: StreamSpec = StreamSpec {
    name: "hotel_search",
    into_stg: TopicSpec { env: "KAFKA_RAW_DATA_TOPIC", default: "raw_data_topic" },
    into_dds: TopicSpec { env: "KAFKA_PROCESSED_DATA_TOPIC", default: "processed_data_topic" },
    into_cdm: TopicSpec { env: "KAFKA_METRICS_TOPIC", default: "metrics_topic" },
};

/// Every stream of the fleet.
pub const STREAMS: &[StreamSpec] = &[ORDER, HOTEL_SEARCH];

/// The stages that read topics, in the order of the layers.
pub const STAGES: [&str; 3] = ["stg", "dds", "cdm"];

/// Name of the topic that keeps the dead letters of `topic`.
pub fn dlq_topic(topic: &str) -> String {
    format!("{topic}.dlq")
}
