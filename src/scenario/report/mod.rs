//! The report: what a verdict looks like, as data, in a terminal, and in a run's folder.
pub mod compare;
pub mod html;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod model;
pub mod run_folder;
pub mod table;
mod timeline;
