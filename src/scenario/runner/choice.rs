//! Which environment a plan runs in: the one it names, or, left open, the best one that answers.
use std::time::Duration;

use tokio::time::timeout;

use super::super::environment::docker::Docker;
use super::super::environment::local::Local;
#[cfg(target_os = "linux")]
use super::super::environment::netns::Netns;
use super::super::environment::{Environment, approximations};
use super::super::plan::{EnvironmentKind, Plan};
use super::{Options, RunError};

/// How long it may take to find out what there is, a registry that does not answer included.
const DECISION: Duration = Duration::from_secs(5);

/// An environment that answers.
pub(super) enum Chosen {
    Local(Local),
    #[cfg(target_os = "linux")]
    Netns(Netns),
    Docker(Box<Docker>),
}

/// The environment, and why that one where the plan leaves it open. One that is named is never replaced by another.
///
/// # Errors
/// [`RunError`] where the one that is named cannot be had.
pub(super) async fn choose(plan: &Plan, options: &Options) -> Result<(Chosen, Option<String>), RunError> {
    let local = || Chosen::Local(Local::new(options.own.clone()));
    Ok(match plan.environment {
        EnvironmentKind::Local => (local(), None),
        EnvironmentKind::Docker => {
            let docker = Docker::connect(options.own.clone(), plan).await;
            (Chosen::Docker(Box::new(docker.map_err(super::EnvironmentError::from)?)), None)
        }
        #[cfg(target_os = "linux")]
        EnvironmentKind::Netns => (Chosen::Netns(Netns::new(options.own.clone())), None),
        #[cfg(not(target_os = "linux"))]
        EnvironmentKind::Netns => return Err(RunError::NotHere("netns")),
        EnvironmentKind::Auto => {
            let asked = timeout(DECISION, docker(plan, options)).await;
            let late =
                || Err(format!("Docker did not decide within {} s whether it has the images", DECISION.as_secs()));
            match asked.unwrap_or_else(|_| late()) {
                Ok(docker) => {
                    let because = "a Docker engine answers, and has the images or can pull them";
                    (Chosen::Docker(Box::new(docker)), Some(because.to_owned()))
                }
                Err(why) => (local(), Some(why)),
            }
        }
    })
}

/// Docker, if it can do all that the plan asks for; why not otherwise.
async fn docker(plan: &Plan, options: &Options) -> Result<Docker, String> {
    if plan.remote_broker.is_some() {
        return Err("the scenario names the broker for it (remote.broker)".to_owned());
    }
    let docker = Docker::connect(options.own.clone(), plan).await.map_err(|error| error.to_string())?;
    approximations(&docker, plan).map_err(|error| error.to_string())?;
    for subject in &plan.subjects {
        docker.check(plan, subject).map_err(|error| error.to_string())?;
    }
    docker.can_have_images(plan).await?;
    Ok(docker)
}
