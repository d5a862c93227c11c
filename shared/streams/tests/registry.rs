//! Every stream of the registry is complete, and agrees with what lists its parts outside of Rust.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;

use strata_events::{StageId, StoreKind};
use strata_streams::order::catalog;
use strata_streams::source::{Accepted, Event, Generator, Make, SEEDED_EPOCH, Snapshot, Start};
use strata_streams::{STREAMS, StreamDef, find, topics};
use strata_vault::model::Parent;

/// Events of a generator that are looked at.
const EVENTS: usize = 200;

/// What is wrong, of all streams.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    /// Notes what does not hold.
    fn expect(&mut self, holds: bool, fault: impl Display) {
        if !holds {
            self.0.push(fault.to_string());
        }
    }

    /// Notes what stands twice.
    fn expect_unique<'a>(&mut self, what: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for name in names {
            self.expect(seen.insert(name), format!("the {what} {name} stands twice"));
        }
    }

    /// Fails with all of them.
    fn assert_none(self) {
        assert!(self.0.is_empty(), "{}", self.0.join("\n"));
    }
}

/// A file of the repository.
fn file(name: &str) -> String {
    let path = format!("{}/../../{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).expect(&path)
}

#[test]
fn names_and_topics_stand_once_and_fit_where_they_are_used() {
    let mut faults = Faults::default();
    faults.expect_unique("name", STREAMS.iter().map(|stream| stream.spec.name));
    faults.expect_unique("topic", topics().map(|topic| topic.default));
    faults.expect_unique("variable", topics().map(|topic| topic.env));
    faults.expect_unique("raw table", STREAMS.iter().map(|stream| stream.raw.table));
    let counters = STREAMS.iter().flat_map(|stream| stream.counters());
    faults.expect_unique("table of counters", counters.map(|counters| counters.table));
    for stream in STREAMS {
        let name = stream.spec.name;
        faults.expect(
            name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
            format!("{name} does not fit into a path"),
        );
        faults.expect(
            find(name).is_ok_and(|found| std::ptr::eq(found, *stream)),
            format!("{name} is not found"),
        );
        faults.expect(
            stream.vault.stream == name,
            format!("the vault of {name} is that of {}", stream.vault.stream),
        );
    }
    faults.assert_none();
}

#[test]
fn every_stream_has_a_path_and_a_place_for_what_comes_of_it() {
    let mut faults = Faults::default();
    for stream in STREAMS {
        let (name, hops) = (stream.spec.name, stream.spec.hops);
        let stages: Vec<StageId> = hops.iter().map(|hop| hop.stage).collect();
        faults.expect(
            stages.is_sorted_by(|a, b| a < b) && stages.first() == Some(&StageId::Stg),
            format!("{name} passes {stages:?}, which is not the order of the layers from stg on"),
        );
        faults
            .expect(stream.messages.len() == hops.len(), format!("{name} has not one message for each hop"));
        faults.expect(stream.raw.table.starts_with("stg."), format!("{} is not in stg", stream.raw.table));
        let tables: Vec<&str> = stream.vault.tables().iter().map(|table| table.name).collect();
        for parent in stream.vault.hubs.iter().copied().map(Parent::Hub).chain([stream.vault.subject]) {
            let width = parent.said().len();
            faults.expect(parent.width() == width, format!("{} has {width} columns", parent.table()));
        }
        for link in stream.vault.links.iter().filter(|link| link.event.is_none()) {
            faults.expect(link.hubs.len() == 2, format!("{} does not join two hubs", link.table));
        }
        for table in stream.summary {
            faults.expect(tables.contains(table), format!("{table} is not in the vault of {name}"));
        }
        faults.expect(!stream.summary.is_empty(), format!("no table of {name} is in a summary"));
        let reaches_cdm = stages.contains(&StageId::Cdm);
        faults.expect(
            reaches_cdm != stream.marts.is_empty(),
            format!("{name} has data marts if and only if it passes cdm"),
        );
        let in_redis = hops.iter().any(|hop| hop.store == StoreKind::Redis);
        faults.expect(
            in_redis == stream.metrics().is_some(),
            format!("{name} has metrics if and only if a hop keeps its data in Redis"),
        );
        let counters = stream.counters().all(|counters| counters.table.starts_with("cdm."));
        faults.expect(counters, format!("a table of counters of {name} is not in cdm"));
    }
    faults.assert_none();
}

#[test]
fn every_stream_and_every_topic_has_words_for_people() {
    let mut faults = Faults::default();
    for stream in STREAMS {
        let (name, words) = (stream.spec.name, stream.words);
        let records = stream.messages.iter().map(|message| message.records);
        for word in [words.one, words.many].into_iter().chain(records) {
            let plain = !word.is_empty() && word.trim() == word && !word.ends_with('.');
            faults.expect(plain, format!("{name} is told of as {word:?}"));
        }
        faults.expect(words.one != words.many, format!("{name} has one word for one and several"));
        faults.expect(stream.named(1) == format!("1 {}", words.one), format!("one of {name}"));
        faults.expect(stream.named("1 000") == format!("1 000 {}", words.many), format!("several of {name}"));
        faults.expect_unique("form", stream.forms.iter().map(|form| form.name).chain(["json"]));
        faults.expect_unique("media type", stream.forms.iter().map(|form| form.media_type));
    }
    faults.assert_none();
}

#[test]
fn golden_messages_are_read_by_their_decoders_and_taken_from_callers() {
    let mut faults = Faults::default();
    for stream in STREAMS {
        for (hop, message) in stream.spec.hops.iter().zip(stream.messages) {
            let topic = hop.topic.default;
            faults.expect(!message.golden.is_empty(), format!("{topic} has no golden message"));
            for golden in message.golden {
                let written = (message.rewrite)(golden.as_bytes());
                let again = written.clone().and_then(|written| (message.rewrite)(&written));
                faults.expect(
                    written.is_ok() && written == again,
                    format!("{topic}: {written:?}, then {again:?}"),
                );
            }
            faults.expect((message.rewrite)(b"null").is_err(), format!("{topic} takes null for a message"));
        }
        let raw = stream.messages.first().map_or(&[][..], |message| message.golden);
        for golden in raw {
            let accepted = (stream.accept)(golden.as_bytes());
            let keyed = matches!(&accepted, Ok(Accepted::AsReceived { key, .. }) if !key.is_empty());
            faults.expect(keyed, format!("{}: {accepted:?}", stream.spec.name));
        }
    }
    faults.assert_none();
}

/// The first events of a stream from a start.
fn generated(stream: &StreamDef, start: Start) -> Vec<Event> {
    let users = catalog::users().into_iter().map(|user| user.id).collect();
    let reference = Arc::new(Snapshot { users, restaurants: catalog::restaurants() });
    let mut generator: Box<dyn Generator> = match stream.make {
        Make::FromReference(make) => make(reference, start),
        Make::Alone(make) => make(start),
    };
    (0..EVENTS).map(|_| generator.next_event().expect("an event")).collect()
}

#[test]
fn generated_events_are_valid_and_the_same_for_the_same_seed() {
    let mut faults = Faults::default();
    for stream in STREAMS {
        let name = stream.spec.name;
        let events = generated(stream, Start::Seed(7));
        faults.expect(
            events == generated(stream, Start::Seed(7)),
            format!("{name}: another result for a seed"),
        );
        faults.expect(
            events != generated(stream, Start::Seed(8)),
            format!("{name}: the same for another seed"),
        );
        for event in &events {
            // What came from a generator is what a caller could have sent.
            let accepted = (stream.accept)(&event.payload);
            let same = matches!(&accepted, Ok(Accepted::AsReceived { key, .. }) if *key == event.key);
            faults.expect(same, format!("{name}: {accepted:?} of {event:?}"));
        }
        let distinct: BTreeSet<_> = events.iter().map(|event| (&event.payload, &event.headers)).collect();
        faults.expect(distinct.len() == EVENTS, format!("{name}: an event came twice"));
    }
    faults.assert_none();
    assert!(Start::Seed(7).clock().is_some_and(|clock| clock.timestamp() == SEEDED_EPOCH));
}

#[test]
fn settings_and_containers_list_every_topic() {
    let (template, compose) = (file(".env_template"), file("docker-compose.yml"));
    let mut faults = Faults::default();
    for topic in topics() {
        let (env, default) = (topic.env, topic.default);
        let set = format!("{env}={default}");
        faults.expect(template.lines().any(|line| line == set), format!(".env_template lacks {set}"));
        let passed = format!("{env}: ${{{env}:-{default}}}");
        let listed = compose.lines().any(|line| line.trim() == passed);
        faults.expect(listed, format!("docker-compose.yml lacks {passed}"));
    }
    faults.assert_none();
}

#[test]
fn a_form_is_found_by_its_media_type_whatever_the_parameters() {
    let searches = find("hotel_search").expect("a stream");
    for (content_type, found) in [
        ("text/tab-separated-values", true),
        ("text/tab-separated-values; charset=utf-8", true),
        ("Text/Tab-Separated-Values ;charset=\"UTF-8\";header=absent", true),
        ("text/tab-separated-values-2", false),
        ("application/json", false),
        ("text/plain;text/tab-separated-values", false),
        ("", false),
    ] {
        assert_eq!(searches.form(content_type).is_some(), found, "{content_type}");
        assert!(find("order").expect("a stream").form(content_type).is_none(), "{content_type}");
    }
}
