//! A headless Chromium, driven over WebDriver.

use std::io::{Read as _, Write as _};
use std::mem::ManuallyDrop;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use strata_testkit::eventually;
use strata_testkit::eventually::holds;
use thirtyfour::LoggingPrefsLogLevel;
use thirtyfour::prelude::*;
use uuid::Uuid;

/// Deadline of whatever the page is to show.
pub const SHOWN_WITHIN: Duration = Duration::from_secs(60);

/// Nothing that reaches outside, and nothing of a user's own browser.
const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

/// A browser with one page; gone with the value.
pub struct Browser {
    page: ManuallyDrop<WebDriver>,
    _driver: Driver,
}

/// The running chromedriver.
struct Driver {
    process: Child,
    port: u16,
    profile: PathBuf,
}

impl Browser {
    /// Starts a browser and opens a page.
    pub async fn open(url: &str) -> Self {
        let driver = Driver::start().await;
        let mut wanted = DesiredCapabilities::chrome();
        for argument in ARGUMENTS {
            wanted.add_arg(argument).expect("an argument");
        }
        wanted.add_arg(&format!("--user-data-dir={}", driver.profile.display())).expect("an argument");
        wanted.set_logging_prefs("browser", LoggingPrefsLogLevel::All).expect("a preference");
        let page = WebDriver::new(format!("http://127.0.0.1:{}", driver.port), wanted).await;
        // Never dropped: it would end its session over connections that belong to the runtime it blocks, and wait two
        // minutes for an answer. The driver's end is the session's.
        let page = ManuallyDrop::new(page.expect("a session of the browser"));
        let browser = Self { page, _driver: driver };
        browser.go(url).await;
        browser
    }

    /// Opens another page.
    pub async fn go(&self, url: &str) {
        self.page.goto(url).await.unwrap_or_else(|e| panic!("{url}: {e}"));
    }

    /// Shows the page at this size, in this colour scheme.
    pub async fn look(&self, width: u32, scheme: &str) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        for (command, parameters) in
            [("Emulation.setDeviceMetricsOverride", size), ("Emulation.setEmulatedMedia", scheme)]
        {
            self.page.cdp().send_raw(command, parameters).await.expect(command);
        }
    }

    /// What a script returns.
    pub async fn script(&self, script: &str) -> Value {
        let returned = self.page.execute(script, Vec::new()).await;
        returned.unwrap_or_else(|e| panic!("{script}: {e}")).json().clone()
    }

    /// The text of the first element that a selector finds, as it is on the page now.
    pub async fn text(&self, selector: &str) -> Option<String> {
        let found = format!("return document.querySelector({})?.innerText", json!(selector));
        self.script(&found).await.as_str().map(str::to_owned)
    }

    /// The number in an element.
    pub async fn number(&self, selector: &str) -> Option<i64> {
        let text = self.text(selector).await?;
        text.chars().filter(|c| !c.is_whitespace()).collect::<String>().parse().ok()
    }

    /// Waits until the text of an element holds these words.
    pub async fn shows(&self, selector: &str, words: &str) {
        eventually(SHOWN_WITHIN, &format!("{words:?} in {selector}"), async || {
            let text = self.text(selector).await.unwrap_or_default();
            holds(text.contains(words), || text)
        })
        .await;
    }

    /// Waits until an element that this selector describes is there.
    pub async fn has(&self, selector: &str) {
        eventually(SHOWN_WITHIN, selector, async || {
            let found =
                self.script(&format!("return document.querySelector({}) !== null", json!(selector))).await;
            holds(found == true, || "none".to_owned())
        })
        .await;
    }

    /// Types a text into an empty field as a person would.
    pub async fn fill(&self, selector: &str, text: &str) {
        let field = self.page.find(By::Css(selector)).await.expect(selector);
        field.clear().await.expect("it can be emptied");
        field.send_keys(text).await.expect("it takes keys");
    }

    /// Clicks an element as a person would.
    pub async fn click(&self, selector: &str) {
        self.page.find(By::Css(selector)).await.expect(selector).click().await.expect("it can be clicked");
    }

    /// Errors that the browser's console has shown since it was asked last.
    pub async fn console_errors(&self) -> Vec<String> {
        let entries = self.page.handle().get_log("browser").await.expect("the console");
        let errors = entries.into_iter().filter(|entry| entry.level == "SEVERE");
        errors.map(|entry| entry.message).collect()
    }
}

impl Driver {
    async fn start() -> Self {
        let port = strata_testkit::fleet::free_port();
        let profile = std::env::temp_dir().join(format!("strata-browser-{}", Uuid::new_v4().simple()));
        let mut command = Command::new("chromedriver");
        command
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = command.spawn();
        let process =
            process.unwrap_or_else(|e| panic!("chromedriver does not start ({e}); make browser installs it"));
        let driver = Self { process, port, profile };
        eventually(SHOWN_WITHIN, "an answer of chromedriver", async || {
            driver.ask("/status").map(drop).ok_or_else(|| "none".to_owned())
        })
        .await;
        driver
    }

    /// A request without a client: what ends the driver must work while a test is failing.
    fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n", self.port)
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.ask("/shutdown"));
        drop(self.process.kill());
        drop(self.process.wait());
        // A browser that the driver did not bring to its end would go on drawing; only its own processes name
        // this profile.
        drop(Command::new("pkill").arg("-KILL").arg("-f").arg(&self.profile).status());
        drop(std::fs::remove_dir_all(&self.profile));
    }
}
