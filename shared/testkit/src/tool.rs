//! The operator's tool, run against a fleet.

use std::process::Output;

use crate::fleet::{Fleet, Service};
use crate::process;

impl Fleet {
    /// Runs `strata` with the environment of this fleet.
    pub async fn strata(&self, arguments: &[&str]) -> Output {
        self.strata_fed(arguments, &[], &[]).await
    }

    /// Runs `strata` with a failpoint; see docs/TESTING.md for the windows.
    pub async fn strata_failing(&self, arguments: &[&str], failpoint: &str) -> Output {
        self.strata_fed(arguments, &[("STRATA_FAILPOINT", failpoint)], &[]).await
    }

    /// Runs `strata` and gives what it printed.
    ///
    /// **Panics** when it fails.
    pub async fn strata_ok(&self, arguments: &[&str]) -> String {
        let output = self.strata(arguments).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "strata {arguments:?} ended with {}: {said}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs `strata` with further variables in its environment.
    pub async fn strata_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        self.strata_fed(arguments, variables, &[]).await
    }

    /// Runs `strata` with further variables, and with this on its standard input.
    pub async fn strata_fed(&self, arguments: &[&str], variables: &[(&str, &str)], input: &[u8]) -> Output {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut environment = self.environment.clone();
        if self.processes().contains_key(&(Service::DataSource, false)) {
            environment.push(("DATA_SOURCE_URL".to_owned(), self.url(Service::DataSource)));
        }
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let input = input.to_vec();
        let run = move || process::run("strata", &arguments, &environment, &input);
        tokio::task::spawn_blocking(run).await.expect("the tool is run")
    }

    /// Runs the health check of a service, as a container does.
    pub async fn healthcheck(&self, service: Service) -> Output {
        let (arguments, environment) = (vec!["healthcheck".to_owned()], self.environment.clone());
        let run = move || process::run(service.binary(), &arguments, &environment, &[]);
        tokio::task::spawn_blocking(run).await.expect("the check is run")
    }
}
