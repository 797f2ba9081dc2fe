//! Health checks.

use crate::parse::number::Int;
use docker_api::types::config::HealthConfig;
use docker_api::types::containers::CreateContainer;
use model::duration::Nanos;

#[derive(clap::Args, Debug)]
pub(super) struct HealthOptions {
    /// Command that says whether the container is healthy
    #[arg(long, value_name = "string")]
    health_cmd: Option<String>,
    /// Time between two checks (ms|s|m|h)
    #[arg(long, value_name = "duration")]
    health_interval: Option<Nanos>,
    /// What to do with an unhealthy container: none, restart, stop, kill
    #[arg(long, value_name = "string")]
    health_on_failure: Option<String>,
    /// Failures in a row that make the container unhealthy
    #[arg(long, value_name = "int")]
    health_retries: Option<Int>,
    /// Time between two checks while the container starts (ms|s|m|h)
    #[arg(long, value_name = "duration")]
    health_start_interval: Option<Nanos>,
    /// Time to start in, when failures do not count (ms|s|m|h)
    #[arg(long, value_name = "duration")]
    health_start_period: Option<Nanos>,
    /// Time that one check may take (ms|s|m|h)
    #[arg(long, value_name = "duration")]
    health_timeout: Option<Nanos>,
    /// Take the image's health check away
    #[arg(long)]
    no_healthcheck: bool,
}

impl HealthOptions {
    pub(super) fn apply(&self, request: &mut CreateContainer) -> Result<(), String> {
        let nanos = |flag: &str, value: Option<Nanos>| not_negative(flag, value.map(|v| v.0));
        let config = HealthConfig {
            // An empty one is none, as in Docker.
            test: self
                .health_cmd
                .as_ref()
                .filter(|cmd| !cmd.is_empty())
                .map(|cmd| vec!["CMD-SHELL".to_owned(), cmd.clone()]),
            interval: nanos("--health-interval", self.health_interval)?,
            timeout: nanos("--health-timeout", self.health_timeout)?,
            start_period: nanos("--health-start-period", self.health_start_period)?,
            start_interval: nanos("--health-start-interval", self.health_start_interval)?,
            retries: not_negative("--health-retries", self.health_retries.map(|n| n.0))?,
        };
        let given = config != HealthConfig::default();
        if self.no_healthcheck {
            if given {
                return Err("--no-healthcheck conflicts with --health-* options".to_owned());
            }
            let none = HealthConfig { test: Some(vec!["NONE".to_owned()]), ..config };
            request.config.healthcheck = Some(none);
        } else if given {
            request.config.healthcheck = Some(config);
        }
        if let Some(action) = &self.health_on_failure {
            request.dhow.get_or_insert_default().on_unhealthy.clone_from(action);
        }
        Ok(())
    }
}

fn not_negative(flag: &str, value: Option<i64>) -> Result<i64, String> {
    match value.unwrap_or(0) {
        value if value < 0 => Err(format!("{flag} cannot be negative")),
        value => Ok(value),
    }
}
