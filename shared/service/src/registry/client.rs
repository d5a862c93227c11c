//! A schema registry over Confluent's REST API: the five calls that the fleet makes.
//!
//! Source: docs.confluent.io, Schema Registry API Reference. Tried with Apicurio's `/apis/ccompat/v7`.

use std::error::Error as _;
use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use strata_events::SchemaId;
use uuid::Uuid;

use crate::config::RegistrySettings;
use crate::status::UNREACHABLE;
use crate::tls;

/// The registry answers within this.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Media type of its API.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// `error_code` of a subject, a version or a schema that is not there.
const NOT_FOUND: [i64; 3] = [40401, 40402, 40403];

/// Longest words of a registry that are passed on, in characters.
const MAX_WORDS: usize = 1000;

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It does not take the schema; its own words.
    #[error("{0}")]
    Refused(String),
    /// It cannot be asked now; what is wrong, as a predicate of it.
    #[error("{0}")]
    Unavailable(String),
}

/// The registry.
pub struct RegistryClient {
    http: Client,
    settings: RegistrySettings,
}

/// What it answered.
struct Answer {
    status: StatusCode,
    body: Value,
    /// The body where that is no JSON.
    text: String,
}

impl RegistryClient {
    /// Makes a client; connects when it is first asked.
    ///
    /// **Errors**: the CA cannot be read.
    pub fn new(settings: RegistrySettings) -> anyhow::Result<Self> {
        let mut builder = Client::builder().timeout(ANSWERS_WITHIN);
        if let Some(ca) = &settings.ca {
            let trusted =
                reqwest::Certificate::from_pem_bundle(&fs::read(ca)?).context("SCHEMA_REGISTRY_CA")?;
            builder = builder.tls_certs_only(trusted);
        }
        Ok(Self { http: builder.build()?, settings })
    }

    /// Registers a schema, or finds it registered; the registry checks that it is compatible.
    pub async fn register(&self, subject: &str, schema: &str) -> Result<SchemaId, RegistryError> {
        let answer = self.post(&["subjects", subject, "versions"], schema).await?;
        id_of(&answer.accepted()?)
    }

    /// Finds a schema among the versions of a subject.
    pub async fn look_up(&self, subject: &str, schema: &str) -> Result<Option<SchemaId>, RegistryError> {
        let answer = self.post(&["subjects", subject], schema).await?;
        match answer.is_absent() {
            true => Ok(None),
            false => id_of(&answer.accepted()?).map(Some),
        }
    }

    /// Asks whether a schema is compatible with the versions of a subject, as far as there are any.
    pub async fn check(&self, subject: &str, schema: &str) -> Result<(), RegistryError> {
        let answer = self.post(&["compatibility", "subjects", subject, "versions"], schema).await?;
        if answer.is_absent() {
            return Ok(());
        }
        let body = answer.accepted()?;
        if body["is_compatible"] != json!(false) {
            return Ok(());
        }
        // Confluent's gives a list, Apicurio a sentence.
        let list = body["messages"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let words: Vec<&str> = list.chain(body["reason"].as_str()).collect();
        Err(RegistryError::Refused(match words.is_empty() {
            true => "it is not compatible with the versions before".to_owned(),
            false => clip(&words.join("; ")),
        }))
    }

    /// Whether there is a schema of this name.
    pub async fn knows(&self, id: SchemaId) -> Result<bool, RegistryError> {
        let (kind, name) = match id {
            SchemaId::Id(id) => ("ids", id.to_string()),
            SchemaId::Guid(guid) => ("guids", guid.to_string()),
            SchemaId::Unreadable => return Ok(false),
        };
        let answer = self.call(Method::GET, &["schemas", kind, &name], None).await?;
        let is_absent = match id {
            SchemaId::Id(_) => answer.is_absent(),
            // One that gives no GUIDs has no such path.
            _ => answer.status == StatusCode::NOT_FOUND,
        };
        if is_absent {
            return Ok(false);
        }
        answer.accepted().map(|_| true)
    }

    async fn post(&self, path: &[&str], schema: &str) -> Result<Answer, RegistryError> {
        self.call(Method::POST, path, Some(json!({"schemaType": "JSON", "schema": schema}))).await
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        body: Option<Value>,
    ) -> Result<Answer, RegistryError> {
        let mut url = self.settings.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if path.first() == Some(&"compatibility") {
            url.set_query(Some("verbose=true"));
        }
        let mut request = self.http.request(method, url).header("accept", MEDIA_TYPE);
        if let Some((user, password)) = &self.settings.user {
            request = request.basic_auth(user, Some(password.expose()));
        }
        if let Some(body) = &body {
            request = request.header("content-type", MEDIA_TYPE).body(body.to_string());
        }
        let answer = request.send().await.map_err(|e| unavailable(&e))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|e| unavailable(&e))?;
        let body = serde_json::from_str(&text).unwrap_or_default();
        Ok(Answer { status, body, text })
    }
}

impl Answer {
    /// Whether the registry itself says that there is none; a 404 of something between us and it says nothing.
    fn is_absent(&self) -> bool {
        self.body["error_code"].as_i64().is_some_and(|code| NOT_FOUND.contains(&code))
    }

    /// What it brought, or what the registry says instead.
    fn accepted(self) -> Result<Value, RegistryError> {
        let Self { status, body, text } = self;
        let words = || clip(body["message"].as_str().unwrap_or(&text));
        match status {
            _ if status.is_success() => Ok(body),
            StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => Err(RegistryError::Refused(words())),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RegistryError::Unavailable(format!(
                "refuses our user or password ({status}): see SCHEMA_REGISTRY_USERNAME"
            ))),
            _ => Err(RegistryError::Unavailable(format!("answers {status}: {}", words()))),
        }
    }
}

/// The name of the schema in an answer: its GUID where the registry gives one.
fn id_of(body: &Value) -> Result<SchemaId, RegistryError> {
    let guid = body["guid"].as_str().and_then(|guid| Uuid::try_parse(guid).ok());
    let id = body["id"].as_u64().and_then(|id| u32::try_from(id).ok());
    let named = guid.map(SchemaId::Guid).or_else(|| id.map(SchemaId::Id));
    named.ok_or_else(|| RegistryError::Unavailable("answers without the id of the schema".to_owned()))
}

fn unavailable(error: &reqwest::Error) -> RegistryError {
    let tls = error.source().and_then(|cause| tls::explain("SCHEMA_REGISTRY", cause));
    RegistryError::Unavailable(tls.unwrap_or_else(|| match error.is_timeout() {
        true => format!("does not answer within {} s", ANSWERS_WITHIN.as_secs()),
        false => UNREACHABLE.to_owned(),
    }))
}

fn clip(words: &str) -> String {
    words.chars().take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use axum::extract::Request;
    use reqwest::Url;

    use super::*;
    use crate::Settings;

    const GUID: &str = "00112233-4455-6677-8899-aabbccddeeff";

    /// A registry that wants a password and gives GUIDs, as Confluent's does and Apicurio's does not.
    async fn confluent() -> anyhow::Result<Url> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = Url::parse(&format!("http://{}/registry", listener.local_addr()?))?;
        let respond = |request: Request| async move {
            let given = request.headers().get("authorization").and_then(|value| value.to_str().ok());
            // `stra@ta` and `p@ss:w/ord#%`.
            let status = given.map_or(401, |given| match given == "Basic c3RyYUB0YTpwQHNzOncvb3JkIyU=" {
                true => 200,
                false => 403,
            });
            let (status, body) = match (status, request.uri().path()) {
                (200, "/registry/subjects/a%2Fb-value/versions") => (200, json!({"id": 7, "guid": GUID})),
                (200, path) if path == format!("/registry/schemas/guids/{GUID}") => {
                    (200, json!({"schema": "{}"}))
                }
                (200, "/registry/schemas/ids/7") => (200, json!({"schema": "{}"})),
                (200, _) => (404, json!({"error_code": 40403, "message": "Schema not found"})),
                (status, _) => (status, json!({"message": "who are you?"})),
            };
            (axum::http::StatusCode::from_u16(status).unwrap_or_default(), axum::Json(body))
        };
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(respond)).await });
        Ok(url)
    }

    #[tokio::test]
    async fn a_registry_that_gives_guids_and_wants_a_password_is_understood() {
        tls::install();
        let url = confluent().await.expect("a registry");
        let client = |password: &str| {
            let lookup = |name: &str| match name {
                "SCHEMA_REGISTRY_URL" => Some(url.to_string()),
                "SCHEMA_REGISTRY_USERNAME" => Some("stra@ta".to_owned()),
                "SCHEMA_REGISTRY_PASSWORD" => Some(password.to_owned()),
                _ => None,
            };
            let settings = Settings::from_lookup("STG_PORT", lookup).expect("settings fit");
            RegistryClient::new(settings.schema_registry.expect("a registry")).expect("a client")
        };
        let own = client("p@ss:w/ord#%");
        let guid = SchemaId::Guid(GUID.parse().expect("a GUID"));
        assert_eq!(own.register("a/b-value", "{}").await.expect("registered"), guid);
        for (id, is_known) in [
            (guid, true),
            (SchemaId::Id(7), true),
            (SchemaId::Id(8), false),
            (SchemaId::Guid(Uuid::from_u128(1)), false),
            (SchemaId::Unreadable, false),
        ] {
            assert_eq!(own.knows(id).await.expect("an answer"), is_known, "{id}");
        }
        let refused = client("another").knows(guid).await.expect_err("another password").to_string();
        assert!(refused.contains("SCHEMA_REGISTRY_USERNAME"), "{refused}");
    }

    fn answer(status: u16, body: Value) -> Answer {
        let status = StatusCode::from_u16(status).expect("a status");
        Answer { status, text: body.to_string(), body }
    }

    #[test]
    fn a_guid_is_preferred_to_an_id_that_other_registries_do_not_know() {
        let guid = "00112233-4455-6677-8899-aabbccddeeff";
        let named = id_of(&json!({"id": 7, "guid": guid})).expect("named");
        assert_eq!(named, SchemaId::Guid(guid.parse().expect("a GUID")));
        assert_eq!(id_of(&json!({"id": 7})).expect("named"), SchemaId::Id(7));
        assert!(id_of(&json!({"id": -1})).is_err());
    }

    #[test]
    fn only_what_the_registry_says_of_the_schema_is_a_refusal() {
        let words = "Incompatible: type changed";
        let refused = answer(409, json!({"error_code": 409, "message": words})).accepted();
        assert!(matches!(&refused, Err(RegistryError::Refused(said)) if said == words), "{refused:?}");
        for (status, said) in
            [(401, "refuses our user or password"), (500, "answers 500"), (404, "answers 404")]
        {
            let unavailable = answer(status, json!({"message": "m"})).accepted();
            let told = matches!(&unavailable, Err(RegistryError::Unavailable(words)) if words.contains(said));
            assert!(told, "{unavailable:?}");
        }
    }
}
