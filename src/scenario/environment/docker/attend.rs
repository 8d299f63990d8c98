//! What a container says, what it uses, and how it ends.
use bollard::container::LogOutput;
use bollard::errors::Error as ApiError;
use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::WaitContainerOptionsBuilder;
use futures_util::{Stream, StreamExt};

use super::super::log::Log;
use super::engine::Engine;
use crate::scenario::history::{Event, Role};

/// A line without an end must not take all memory: it becomes several.
const LINE_BYTES: usize = 4 << 10;
/// 128 and the number of SIGKILL.
pub(super) const KILLED: i64 = 137;

/// Waits for the end of a container, and says how it was.
pub(super) async fn end(engine: &Engine, name: &str) -> String {
    let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
    let code = match engine.api.wait_container(name, Some(options)).next().await {
        Some(Ok(ended)) => ended.status_code,
        Some(Err(ApiError::DockerContainerWaitError { code, .. })) => code,
        Some(Err(error)) => return format!("the engine does not say how: {error}"),
        None => return "the engine does not say how".to_owned(),
    };
    let seen = engine.api.inspect_container(name, None).await.ok().and_then(|seen| seen.state);
    describe(code, seen.and_then(|state| state.oom_killed).unwrap_or(false))
}

/// An exit code in words; above 128 it is a signal, as shells have it.
pub(super) fn describe(code: i64, out_of_memory: bool) -> String {
    if out_of_memory {
        return format!("killed for lack of memory (exit code {code})");
    }
    match code {
        KILLED => "SIGKILL".to_owned(),
        139 => "SIGSEGV".to_owned(),
        134 => "SIGABRT".to_owned(),
        143 => "SIGTERM".to_owned(),
        code => format!("exit code {code}"),
    }
}

/// A sample of what a container uses; none of one that does not run.
pub(super) fn usage(role: Role, sample: &ContainerStatsResponse) -> Option<Event> {
    let memory = sample.memory_stats.as_ref()?;
    let cached =
        memory.stats.as_ref().and_then(|stats| stats.get("inactive_file").or(stats.get("total_inactive_file")));
    let cpu = sample.cpu_stats.as_ref()?.cpu_usage.as_ref()?.total_usage?;
    // As `docker stats` has it: what the kernel can take back at any time is not counted.
    let memory_bytes = memory.usage?.saturating_sub(cached.copied().unwrap_or_default());
    (memory_bytes > 0).then_some(Event::Usage { role, memory_bytes, cpu_us: cpu / 1000 })
}

/// Takes in what a container says, line by line.
pub(super) async fn follow(mut output: impl Stream<Item = Result<LogOutput, ApiError>> + Unpin, log: Log) {
    // What stdout and stderr have begun and not ended.
    let mut begun: [Vec<u8>; 2] = Default::default();
    while let Some(Ok(part)) = output.next().await {
        let line = &mut begun[usize::from(matches!(part, LogOutput::StdErr { .. }))];
        line.extend_from_slice(&part.into_bytes());
        while let Some(end) =
            line.iter().position(|byte| *byte == b'\n').or((line.len() >= LINE_BYTES).then_some(LINE_BYTES - 1))
        {
            let rest = line.split_off(end + 1);
            log.line(String::from_utf8_lossy(line).trim_end());
            *line = rest;
        }
    }
    for line in begun.iter().filter(|line| !line.is_empty()) {
        log.line(String::from_utf8_lossy(line).trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_told_in_words() {
        assert_eq!(describe(0, false), "exit code 0");
        assert_eq!(describe(137, false), "SIGKILL");
        assert_eq!(describe(137, true), "killed for lack of memory (exit code 137)");
        assert_eq!(describe(3, false), "exit code 3");
    }

    #[test]
    fn usage_is_what_the_kernel_cannot_take_back() {
        let sample = serde_json::json!({
            "memory_stats": { "usage": 5_000_000, "stats": { "inactive_file": 1_000_000 } },
            "cpu_stats": { "cpu_usage": { "total_usage": 2_000_000 } },
        });
        let event = usage(Role::Subject, &serde_json::from_value(sample).unwrap());
        assert_eq!(event, Some(Event::Usage { role: Role::Subject, memory_bytes: 4_000_000, cpu_us: 2000 }));
        let ended = serde_json::json!({ "memory_stats": {}, "cpu_stats": { "cpu_usage": { "total_usage": 0 } } });
        assert_eq!(usage(Role::Remote, &serde_json::from_value(ended).unwrap()), None);
    }
}
