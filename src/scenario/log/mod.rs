//! What bridges say in their logs: the lines that matter, what each means, and how many there were and when.
mod book;
pub mod file;
mod moment;
mod tally;

pub use book::{Entry, Known, Loss, Program, recognise};
pub use tally::{Seen, Tally};
