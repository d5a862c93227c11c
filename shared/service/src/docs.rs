//! `/openapi.json` and the page at `/docs` on which it is read and tried out, without a byte from elsewhere.

use std::future::ready;

use anyhow::Context as _;
use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::schemas::Schemas;

/// Description of the routes that all services share.
const SHARED: &str = include_str!("../openapi/shared.json");

/// A file of the page: path, media type, body, and whether that is compressed.
type File = (&'static str, &'static str, &'static [u8], bool);

/// The page and what it loads.
const FILES: [File; 4] = [
    ("/docs", "text/html; charset=utf-8", include_bytes!("../assets/docs.html"), false),
    ("/docs/start.js", "text/javascript; charset=utf-8", include_bytes!("../assets/docs.js"), false),
    (
        "/docs/swagger-ui-bundle.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../assets/swagger-ui/swagger-ui-bundle.js.gz"),
        true,
    ),
    (
        "/docs/swagger-ui.css",
        "text/css; charset=utf-8",
        include_bytes!("../assets/swagger-ui/swagger-ui.css.gz"),
        true,
    ),
];

/// The page may load and ask what this service has, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// The routes of the description and its page; `own` describes the service's own routes, `schemas` has the topics that
/// `/schemas` knows.
///
/// **Errors**: `own` is no description.
pub fn routes(own: &str, service: &str, schemas: &Schemas) -> anyhow::Result<Router> {
    let description = describe(own, service, schemas)?;
    let answer = move || async move { ([(header::CONTENT_TYPE, "application/json")], description) };
    let router = Router::new().route("/openapi.json", get(answer));
    Ok(FILES.into_iter().fold(router, |router, file| router.route(file.0, get(move || ready(serve(file))))))
}

fn serve((_, media_type, body, compressed): File) -> Response {
    let mut answer = body.into_response();
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    if compressed {
        headers.insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
    }
    answer
}

/// A service's description with the shared routes in it.
fn describe(own: &str, service: &str, schemas: &Schemas) -> anyhow::Result<String> {
    let mut description: Value = serde_json::from_str(own).context("the API description is no JSON")?;
    let mut shared: Value = serde_json::from_str(SHARED).context("the shared API description is no JSON")?;
    shared["components"]["schemas"]["Health"]["properties"]["service"] = json!({"const": service});
    shared["paths"]["/schemas/{topic}"]["get"]["parameters"][0]["schema"]["enum"] =
        schemas.keys().map(String::as_str).collect();
    description["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    for section in ["paths", "tags"] {
        merge(&mut description[section], &mut shared[section]);
    }
    for section in ["schemas", "responses", "securitySchemes"] {
        merge(&mut description["components"][section], &mut shared["components"][section]);
    }
    Ok(description.to_string())
}

/// Adds what is not there yet; the service's own comes first.
fn merge(into: &mut Value, from: &mut Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in std::mem::take(from) {
                into.entry(key).or_insert(value);
            }
        }
        (Value::Array(into), Value::Array(from)) => into.append(from),
        (into @ Value::Null, from) => *into = from.take(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shared_routes_join_those_of_the_service() {
        let schemas = Schemas::from([("a_topic".to_owned(), strata_events::Schema::new("{}"))]);
        let own = r##"{"openapi":"3.1.0","info":{"title":"x"},"tags":[{"name":"a"}],
            "paths":{"/own":{},"/health":{"get":{"summary":"own"}}},
            "components":{"schemas":{"Own":{}},"securitySchemes":{"k":{}}}}"##;
        let merged: Value =
            serde_json::from_str(&describe(own, "stg_service", &schemas).expect("joins")).expect("JSON");
        let topics = &merged["paths"]["/schemas/{topic}"]["get"]["parameters"][0]["schema"]["enum"];
        assert_eq!(*topics, json!(["a_topic"]));
        assert!(merged["paths"]["/own"].is_object() && merged["paths"]["/metrics"]["get"].is_object());
        assert_eq!(merged["paths"]["/health"]["get"]["summary"], json!("own"));
        assert!(merged["components"]["schemas"]["Own"].is_object());
        assert!(merged["components"]["securitySchemes"]["k"].is_object());
        let health = &merged["components"]["schemas"]["Health"];
        assert_eq!(health["properties"]["service"], json!({"const": "stg_service"}));
        assert!(merged["tags"].as_array().is_some_and(|tags| tags.len() > 1));
    }
}
