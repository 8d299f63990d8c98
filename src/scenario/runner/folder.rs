//! The run folder: plan.json, and for each subject its history and logs.
use std::path::{Path, PathBuf};

use super::super::environment::TEMPORARY_RUN;
use super::super::plan::Plan;
use super::RunError;

/// A run folder that removes itself when it is dropped, unless the user asked for it.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    temporary: bool,
}

impl RunFolder {
    /// Makes `out`, which must be empty or not there yet; without it, a folder among the temporary files.
    ///
    /// # Errors
    /// [`RunError::NotEmpty`], or [`RunError::File`] where it cannot be made.
    pub(super) fn create(out: Option<&Path>, plan: &Plan) -> Result<Self, RunError> {
        let name = || format!("{TEMPORARY_RUN}{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = out.map_or_else(|| std::env::temp_dir().join(name()), Path::to_owned);
        let failed = |source| RunError::File { path: path.clone(), source };
        if out.is_some() && path.exists() && path.read_dir().map_err(failed)?.next().is_some() {
            return Err(RunError::NotEmpty { path });
        }
        std::fs::create_dir_all(&path).map_err(failed)?;
        // Children may have another working directory one day.
        let path = path.canonicalize().map_err(failed)?;
        let folder = Self { path, temporary: out.is_none() };
        let plan = serde_json::to_vec_pretty(plan).map_err(|error| folder.failed("plan.json", error.into()))?;
        let written = std::fs::write(folder.path.join("plan.json"), plan);
        written.map_err(|source| folder.failed("plan.json", source))?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the folder of a subject.
    pub(super) fn subject(&self, name: &str) -> Result<PathBuf, RunError> {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path).map_err(|source| RunError::File { path: path.clone(), source })?;
        Ok(path)
    }

    /// Keeps a temporary folder: its logs are evidence of what went wrong.
    pub(super) fn keep(&mut self) {
        self.temporary = false;
    }

    fn failed(&self, name: &str, source: std::io::Error) -> RunError {
        RunError::File { path: self.path.join(name), source }
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "a temporary folder is left behind");
        }
    }
}
