//! Exit codes: 0 pass, 1 fail, 2 usage or invalid file, 3 inconclusive, 4 environment failed.
use std::process::ExitCode;

use mqtt_bridge::bridge::supervisor::StartError;

/// The surroundings are at fault.
const ENVIRONMENT: u8 = 4;
/// What was given is at fault.
const INVALID: u8 = 2;

/// Says what went wrong, on stderr, and whose fault it is.
pub(crate) fn code(result: anyhow::Result<u8>) -> ExitCode {
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("mqtt-bridge: {error:#}");
            let environment = error.downcast_ref::<StartError>().is_some_and(StartError::is_environment);
            if environment { ENVIRONMENT.into() } else { INVALID.into() }
        }
    }
}
