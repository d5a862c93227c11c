//! What is done to the processes of a fleet besides starting and ending them.

use std::process::ExitStatus;
use std::time::Duration;

use reqwest::Method;

use crate::Answer;
use crate::eventually::{eventually, holds};
use crate::fleet::{Fleet, Service};

impl Fleet {
    /// Starts a service that does not run, with a failpoint; see docs/TESTING.md for the windows.
    pub fn start_failing(&self, service: Service, failpoint: &str) {
        self.start_slot((service, false), &[("STRATA_FAILPOINT", failpoint)]);
    }

    /// Starts one more instance of a service, with a failpoint.
    pub fn second_failing(&self, service: Service, failpoint: &str) {
        self.start_slot((service, true), &[("STRATA_FAILPOINT", failpoint)]);
    }

    /// Waits until a service ends by itself, and tells how and what it logged last.
    pub async fn ended(&self, service: Service, within: Duration) -> (ExitStatus, String) {
        let slot = (service, false);
        let what = format!("end of {service:?}");
        let status = eventually(within, &what, async || {
            let mut processes = self.processes();
            let process = processes.get_mut(&slot).ok_or("it does not run")?;
            process.exit_status().ok_or_else(|| "it runs".to_owned())
        });
        let status = status.await;
        (status, self.take(slot).log_tail())
    }

    /// How often a service has ended and asked to be started again.
    pub fn restarts(&self, service: Service) -> usize {
        self.with(service, |process| process.restarts)
    }

    /// Stops a service in the middle of whatever it does, until it is thawed.
    pub fn freeze(&self, service: Service) {
        self.with(service, |process| process.signal("-STOP"));
    }

    /// Tells a service to stop, without waiting for it.
    pub fn ask_to_stop(&self, service: Service) {
        self.with(service, |process| process.signal("-TERM"));
    }

    /// Lets a frozen service go on.
    pub fn thaw(&self, service: Service) {
        self.with(service, |process| process.signal("-CONT"));
    }

    /// Waits until a service has stopped by itself (a failpoint).
    pub async fn frozen(&self, service: Service, within: Duration) {
        self.slot_frozen((service, false), within).await;
    }

    /// Waits until the second instance of a service has stopped by itself.
    pub async fn second_frozen(&self, service: Service, within: Duration) {
        self.slot_frozen((service, true), within).await;
    }

    async fn slot_frozen(&self, slot: (Service, bool), within: Duration) {
        eventually(within, &format!("{slot:?} that hangs"), async || {
            let state = self.processes().get(&slot).and_then(|process| process.state());
            holds(state == Some('T'), || format!("state {state:?}"))
        })
        .await;
    }

    /// Fails when a service, or the second instance of one, has ended by itself.
    pub fn assert_running(&self) {
        self.processes().values_mut().for_each(crate::process::Process::assert_running);
    }

    /// `POST` of lines to a service that may be down; none when there was no answer.
    pub async fn try_post(&self, service: Service, path: &str, kind: &str, body: String) -> Option<Answer> {
        let port = self.processes().get(&(service, false))?.port;
        let url = format!("http://127.0.0.1:{port}{path}");
        let request = self.http().request(Method::POST, url).timeout(Duration::from_secs(30));
        let answer = request.header("content-type", kind).body(body).send().await.ok()?;
        Answer::read(answer).await.ok()
    }
}
