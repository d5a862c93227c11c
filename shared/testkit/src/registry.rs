//! A real schema registry of one test, to be stopped and started: Apicurio, which keeps its schemas in memory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use strata_events::Schema;
use strata_service::tls;

use crate::fleet::free_port;
use crate::local::{ROOT, local_home};

/// The registry and its directory, both removed with the value.
pub struct Registry {
    dir: PathBuf,
    port: u16,
    /// Port of https, where it speaks that, too.
    secure: Option<u16>,
    http: reqwest::Client,
}

impl Registry {
    /// Starts it and waits until it answers.
    pub async fn start() -> Self {
        let registry = Self::prepare();
        registry.run("start").await;
        registry
    }

    /// The same with certificates of its own; the fleet is told to use https.
    pub async fn start_secure() -> Self {
        let mut registry = Self::prepare();
        let made = Command::new(Path::new(ROOT).join("scripts/certificates.sh")).arg(registry.pki()).status();
        assert!(made.is_ok_and(|made| made.success()), "the certificates cannot be made");
        let port = free_port();
        let (certificate, key) = (registry.file("server.pem"), registry.file("server.key"));
        let options = format!(
            "-Dquarkus.http.ssl-port={port}\n-Dquarkus.http.ssl.certificate.files={certificate}\n\
             -Dquarkus.http.ssl.certificate.key-files={key}\n"
        );
        let home = registry.dir.join("registry");
        std::fs::create_dir_all(&home).unwrap_or_else(|e| panic!("{}: {e}", home.display()));
        std::fs::write(home.join("java.options"), options).expect("the options of java");
        registry.secure = Some(port);
        registry.run("start").await;
        registry
    }

    fn prepare() -> Self {
        tls::install();
        let port = free_port();
        let dir = std::env::temp_dir().join(format!("strata-registry-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        Self { dir, port, secure: None, http: reqwest::Client::new() }
    }

    /// Path of a file that `scripts/certificates.sh` made.
    pub fn file(&self, name: &str) -> String {
        self.pki().join(name).display().to_string()
    }

    fn pki(&self) -> PathBuf {
        self.dir.join("certificates")
    }

    /// What a service is told to use it and to register its schemas.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![("SCHEMA_REGISTRY_REGISTER", "true".to_owned())];
        match self.secure {
            None => variables.push(("SCHEMA_REGISTRY_URL", self.url())),
            Some(port) => {
                let url = format!("https://localhost:{port}/apis/ccompat/v7");
                variables.extend([("SCHEMA_REGISTRY_URL", url), ("SCHEMA_REGISTRY_CA", self.file("ca.pem"))]);
            }
        }
        variables
    }

    /// Stops it; what it knew is gone.
    pub async fn stop(&self) {
        self.run("stop").await;
    }

    /// Starts it again, knowing nothing.
    pub async fn restart(&self) {
        self.run("start").await;
    }

    /// Registers a version of a subject and returns its id.
    pub async fn register(&self, subject: &str, schema: &Value) -> u32 {
        let body = json!({"schemaType": "JSON", "schema": schema.to_string()});
        let answer = self.call(Method::POST, &format!("subjects/{subject}/versions"), Some(body)).await;
        let id = answer["id"].as_u64().and_then(|id| u32::try_from(id).ok());
        id.unwrap_or_else(|| panic!("{subject}: {answer}"))
    }

    /// Numbers of the versions of a subject.
    pub async fn versions(&self, subject: &str) -> Value {
        self.call(Method::GET, &format!("subjects/{subject}/versions"), None).await
    }

    /// The newest version of a subject.
    pub async fn latest(&self, subject: &str) -> Value {
        self.call(Method::GET, &format!("subjects/{subject}/versions/latest"), None).await
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/apis/ccompat/v7", self.port)
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self.http.request(method, format!("{}/{path}", self.url()));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap_or_else(|e| panic!("{path}: {e}"));
        answer.json().await.unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    async fn run(&self, command: &'static str) {
        let mut script = self.command();
        script.args([command, "registry"]);
        let done = tokio::task::spawn_blocking(move || script.output()).await.expect("no panic");
        let done = done.unwrap_or_else(|e| panic!("scripts/servers.sh does not run: {e}"));
        assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn command(&self) -> Command {
        let mut script = Command::new(Path::new(ROOT).join("scripts/servers.sh"));
        script.stdin(Stdio::null()).env("STRATA_LOCAL_DIR", &self.dir);
        script.env("REGISTRY_PORT", self.port.to_string());
        // What make test has installed, so that it needs no download.
        let app = local_home().join("registry/app");
        if app.exists() {
            script.env("REGISTRY_HOME", app);
        }
        script
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let stopped = self.command().args(["stop", "registry"]).stdout(Stdio::null()).status();
        if !stopped.is_ok_and(|status| status.success()) || std::thread::panicking() {
            eprintln!("the schema registry logged to {}/log", self.dir.display());
        } else {
            drop(std::fs::remove_dir_all(&self.dir));
        }
    }
}

/// A schema as our services register it, with a change.
pub fn version(schema: Schema, change: impl FnOnce(&mut Value)) -> Value {
    let mut version = serde_json::from_str(&schema.registered()).expect("a schema is JSON");
    change(&mut version);
    version
}
