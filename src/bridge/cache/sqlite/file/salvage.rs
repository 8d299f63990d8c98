//! Reading a table of which some pages cannot be read.
use std::fmt;

use rusqlite::ErrorCode;

/// Beyond this no key behind a gap is looked for.
const FARTHEST: i64 = 1 << 40;

/// Keys of a table that cannot be read: the page where they would stand is damaged. Whether each of them was there
/// nobody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first.
    pub from: i64,
    /// The last; `None`: to the end of the table.
    pub to: Option<i64>,
}

impl fmt::Display for Gap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to {
            Some(to) => write!(formatter, "{} to {to}", self.from),
            None => write!(formatter, "{} to the end", self.from),
        }
    }
}

/// Whether an error says that what stands there is damaged, and not that it cannot be looked at now.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => true,
        error => matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SystemIoFailure)
        ),
    }
}

/// Takes the keys of a table in order, and goes on behind what cannot be read. `seek` finds the first key from one on.
pub(super) fn walk<E: From<rusqlite::Error>>(
    mut seek: impl FnMut(i64) -> rusqlite::Result<Option<i64>>,
    mut take: impl FnMut(i64) -> Result<(), E>,
) -> Result<Vec<Gap>, E> {
    let mut gaps = Vec::new();
    // Sequences begin at 1.
    let mut from = 1;
    loop {
        match seek(from) {
            Ok(None) => return Ok(gaps),
            Ok(Some(key)) => {
                take(key)?;
                let Some(next) = key.checked_add(1) else { return Ok(gaps) };
                from = next;
            }
            Err(error) if is_damage(&error) => {
                let to = end_of_gap(from, &mut seek)?;
                gaps.push(Gap { from, to });
                let Some(to) = to else { return Ok(gaps) };
                from = to + 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The last key from which nothing can be found: looked for in growing steps, then by halves.
fn end_of_gap(from: i64, seek: &mut impl FnMut(i64) -> rusqlite::Result<Option<i64>>) -> rusqlite::Result<Option<i64>> {
    let mut readable = |key: i64| match seek(key) {
        Ok(_) => Ok(true),
        Err(error) if is_damage(&error) => Ok(false),
        Err(error) => Err(error),
    };
    let (mut bad, mut step) = (from, 1);
    let mut good = loop {
        if step > FARTHEST {
            return Ok(None);
        }
        let key = from.saturating_add(step);
        if readable(key)? {
            break key;
        }
        (bad, step) = (key, step * 2);
    };
    while good - bad > 1 {
        let middle = bad + (good - bad) / 2;
        if readable(middle)? {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Ok(Some(bad))
}
