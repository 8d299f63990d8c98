//! Exit codes: 0 pass, 1 fail, 2 usage or invalid file, 3 inconclusive, 4 environment failed.
use std::process::ExitCode;

use mqtt_bridge::bridge::cache::CacheError;
use mqtt_bridge::bridge::config::PasswordFileError;
use mqtt_bridge::bridge::supervisor::StartError;
#[cfg(feature = "lab")]
use mqtt_bridge::scenario::environment::docker::DockerError;
#[cfg(feature = "lab")]
use mqtt_bridge::scenario::runner::RunError;

/// What was given is at fault.
const INVALID: u8 = 2;
/// The surroundings are at fault.
const ENVIRONMENT: u8 = 4;

/// Says what went wrong, on stderr, and whose fault it is.
pub(crate) fn code(result: anyhow::Result<u8>) -> ExitCode {
    let code = result.unwrap_or_else(|error| {
        eprintln!("mqtt-bridge: {error:#}");
        of(&error)
    });
    code.into()
}

fn of(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<StartError>().is_some_and(StartError::is_environment) {
        return ENVIRONMENT;
    }
    if let Some(error) = error.downcast_ref::<CacheError>() {
        return if error.is_environment() { ENVIRONMENT } else { INVALID };
    }
    if let Some(PasswordFileError::Io { .. }) = error.downcast_ref() {
        return ENVIRONMENT;
    }
    if error.is::<std::io::Error>() || error.is::<crate::cache::InUse>() {
        return ENVIRONMENT;
    }
    #[cfg(feature = "lab")]
    if error.is::<mqtt_bridge::scenario::environment::ProxyError>() {
        return ENVIRONMENT;
    }
    #[cfg(feature = "lab")]
    if let Some(error) = error.downcast_ref::<RunError>() {
        return error.exit_code();
    }
    #[cfg(feature = "lab")]
    if error.is::<DockerError>() {
        return ENVIRONMENT;
    }
    INVALID
}
