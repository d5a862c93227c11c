//! The description of the API: the service's own, with a route for each stream.

use std::sync::LazyLock;

use anyhow::Context as _;
use serde_json::{Map, Value, json};
use strata_streams::{DEFAULT, STREAMS};

/// What does not depend on the streams; `/ingest/{stream}` has what all of their routes share.
const OWN: &str = include_str!("../openapi.json");

/// The description as JSON; what cannot be made, and no test lets that pass, says why and is no JSON.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| describe().unwrap_or_else(|e| format!("{e:#}")));
    &TEXT
}

fn describe() -> anyhow::Result<String> {
    let mut description: Value = serde_json::from_str(OWN).context("openapi.json")?;
    let stream = &mut description["components"]["schemas"]["Push"]["properties"]["stream"];
    stream["enum"] = STREAMS.iter().map(|stream| stream.spec.name).collect();
    stream["default"] = json!(DEFAULT.spec.name);
    let shared = object(&mut description["paths"])?.remove("/ingest/{stream}").context("/ingest/{stream}")?;
    for stream in STREAMS {
        let name = stream.spec.name;
        let mut own: Value = serde_json::from_str(stream.api).context(name)?;
        let mut route = shared.clone();
        object(&mut route["post"])?.append(object(&mut own["operation"])?);
        object(&mut description["paths"])?.insert(format!("/ingest/{name}"), route);
        let mut schema = stream.spec.hops[0].schema.json().context(name)?;
        object(&mut schema)?.remove("$schema");
        let title = schema["title"].as_str().context("the schema has no title")?.to_owned();
        object(&mut description["components"]["schemas"])?.insert(title, schema);
    }
    Ok(description.to_string())
}

fn object(value: &mut Value) -> anyhow::Result<&mut Map<String, Value>> {
    value.as_object_mut().context("an object is missing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_has_a_route_with_what_is_its_own_and_what_all_share() {
        let description: Value = serde_json::from_str(text()).unwrap_or_else(|e| panic!("{e}: {}", text()));
        let ingest =
            description["paths"].as_object().unwrap().keys().filter(|path| path.starts_with("/ingest/"));
        assert_eq!(ingest.count(), STREAMS.len());
        for stream in STREAMS {
            let name = stream.spec.name;
            let route = &description["paths"][format!("/ingest/{name}")]["post"];
            for field in
                ["operationId", "summary", "description", "requestBody", "responses", "tags", "security"]
            {
                assert!(!route[field].is_null(), "{name} has no {field}");
            }
            let forms = stream.forms.iter().map(|form| form.media_type);
            for media_type in ["application/x-ndjson", "application/json"].into_iter().chain(forms) {
                let content = &route["requestBody"]["content"][media_type];
                assert!(content["schema"].is_object(), "{name} takes {media_type}, which is not described");
                // The shape of an event is the schema of its topic, and stands nowhere else.
                if let Some(shape) = content["schema"]["items"]["$ref"].as_str() {
                    let mut expected = stream.spec.hops[0].schema.json().unwrap();
                    expected.as_object_mut().unwrap().remove("$schema");
                    assert_eq!(description.pointer(&shape[1..]), Some(&expected), "{name}");
                }
            }
        }
    }
}
