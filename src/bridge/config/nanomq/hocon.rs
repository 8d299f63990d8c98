//! HOCON, as far as `nanomq.conf` uses it: objects, lists, dotted keys, comments, concatenation; every value and every
//! error with its place. What it leaves out (`${}`, `include`, `+=`) is an error where it is read, never a wrong value.
//!
//! Own code, because the crates that there are take a truncated file for an empty one, or are not maintained.
#[cfg(test)]
mod tests;
mod text;

/// Where something stands, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// What is wrong, and where. Text of the file is not repeated: it may be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HoconError {
    #[error("this `{open}` is never closed: the file is truncated, or a `{close}` is missing")]
    Unclosed { at: Place, open: char, close: char },
    #[error("this quoted text is never closed: its second quotation mark is missing")]
    UnclosedText { at: Place },
    #[error("{what}")]
    Unexpected { at: Place, what: &'static str },
}

impl HoconError {
    pub(super) fn at(&self) -> Place {
        match self {
            Self::Unclosed { at, .. } | Self::UnclosedText { at } | Self::Unexpected { at, .. } => *at,
        }
    }
}

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Object(Object),
    List(Vec<Node>),
    /// With quotation marks.
    Quoted(String),
    /// Without: a number, `true`, `10s`, `256MB`, or a text.
    Bare(String),
    /// HOCON that is not understood here, in words.
    Unsupported(&'static str),
}

/// Keys in the order in which they first appear. A key that stands there twice: objects are merged, of anything else
/// the last counts.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Object {
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Of the key.
    pub(super) at: Place,
    pub(super) node: Node,
}

impl Object {
    fn insert(&mut self, mut path: std::vec::IntoIter<(String, Place)>, node: Node) {
        let Some((key, at)) = path.next() else { return };
        let node = if path.len() == 0 {
            node
        } else {
            let mut inner = Self::default();
            inner.insert(path, node);
            Node { at, value: Value::Object(inner) }
        };
        match self.entries.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => entry.merge(at, node),
            None => self.entries.push(Entry { key, at, node }),
        }
    }
}

impl Entry {
    fn merge(&mut self, at: Place, node: Node) {
        match (&mut self.node.value, node.value) {
            (Value::Object(there), Value::Object(new)) => {
                for entry in new.entries {
                    match there.entries.iter_mut().find(|known| known.key == entry.key) {
                        Some(known) => known.merge(entry.at, entry.node),
                        None => there.entries.push(entry),
                    }
                }
            }
            (_, value) => (self.at, self.node) = (at, Node { at: node.at, value }),
        }
    }
}

/// Deeper than any configuration, and shallow enough for any stack.
const MAX_DEPTH: usize = 64;

/// Parses a whole file.
pub(super) fn parse(text: &str) -> Result<Object, HoconError> {
    let mut parser = Parser { rest: text.trim_start_matches('\u{feff}'), at: Place { line: 1, column: 1 }, depth: 0 };
    parser.blank(true);
    let root = if parser.rest.starts_with('{') { parser.braces()? } else { parser.fields(None)? };
    parser.blank(true);
    match parser.peek() {
        None => Ok(root),
        Some('}') => parser.unexpected("a `}` that closes nothing"),
        Some(_) => parser.unexpected("something stands behind the `}` that closes the file"),
    }
}

struct Parser<'a> {
    rest: &'a str,
    at: Place,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next()?;
        self.rest = chars.as_str();
        self.at = match next {
            '\n' => Place { line: self.at.line + 1, column: 1 },
            _ => Place { column: self.at.column + 1, ..self.at },
        };
        Some(next)
    }

    fn skip(&mut self, characters: usize) {
        for _ in 0..characters {
            self.bump();
        }
    }

    fn unexpected<T>(&self, what: &'static str) -> Result<T, HoconError> {
        Err(HoconError::Unexpected { at: self.at, what })
    }

    fn at_comment(&self) -> bool {
        self.rest.starts_with('#') || self.rest.starts_with("//")
    }

    /// Skips blanks and comments, over line ends or up to one; whether there was a line end.
    fn blank(&mut self, over_lines: bool) -> bool {
        let line = self.at.line;
        loop {
            match self.peek() {
                Some('\n') if !over_lines => break,
                Some(blank) if blank.is_whitespace() => self.skip(1),
                Some(_) if self.at_comment() => {
                    while self.peek().is_some_and(|next| next != '\n') {
                        self.bump();
                    }
                }
                _ => break,
            }
        }
        self.at.line > line
    }

    fn deeper(&mut self, levels: usize) -> Result<(), HoconError> {
        self.depth += levels;
        if self.depth > MAX_DEPTH { self.unexpected("nested too deeply") } else { Ok(()) }
    }

    fn braces(&mut self) -> Result<Object, HoconError> {
        let open = self.at;
        self.skip(1);
        self.fields(Some(open))
    }

    /// The fields of an object, with its closing brace where it was `open`ed by one.
    fn fields(&mut self, open: Option<Place>) -> Result<Object, HoconError> {
        let mut object = Object::default();
        loop {
            self.blank(true);
            match (self.peek(), open) {
                (Some('}'), Some(_)) => {
                    self.skip(1);
                    return Ok(object);
                }
                (None, Some(at)) => return Err(HoconError::Unclosed { at, open: '{', close: '}' }),
                (None | Some('}'), None) => return Ok(object),
                _ => {}
            }
            let depth = self.depth;
            let path = self.path()?;
            self.deeper(path.len())?;
            let node = self.field_value(&path)?;
            self.depth = depth;
            object.insert(path.into_iter(), node);
            self.separator()?;
        }
    }

    /// What stands behind a key.
    fn field_value(&mut self, path: &[(String, Place)]) -> Result<Node, HoconError> {
        self.blank(false);
        let at = self.at;
        match self.peek() {
            Some('{') => Ok(Node { at, value: Value::Object(self.braces()?) }),
            Some('=' | ':') => {
                self.skip(1);
                self.blank(true);
                self.value()
            }
            Some('+') if self.rest.starts_with("+=") => {
                self.skip(2);
                self.blank(true);
                let value = self.value()?;
                Ok(Node {
                    at: value.at,
                    value: Value::Unsupported("`+=` is not understood here: write the whole list"),
                })
            }
            Some(_) if matches!(path, [(key, _)] if key == "include") => {
                self.text_up_to_line_end();
                let what = "`include` is not followed: put what the other file says in its place";
                Ok(Node { at, value: Value::Unsupported(what) })
            }
            _ => self.unexpected("a key without a value: `=`, `:` or `{` must follow"),
        }
    }

    /// Between two fields or two items: a comma, a line end, or the end of what they stand in.
    fn separator(&mut self) -> Result<(), HoconError> {
        let new_line = self.blank(true);
        match self.peek() {
            Some(',') => {
                self.skip(1);
                Ok(())
            }
            None | Some('}' | ']') => Ok(()),
            Some(_) if new_line => Ok(()),
            Some(_) => self.unexpected("a comma or a line end is missing before this"),
        }
    }

    fn value(&mut self) -> Result<Node, HoconError> {
        let at = self.at;
        self.deeper(1)?;
        let value = match self.peek() {
            Some('{') => Value::Object(self.braces()?),
            Some('[') => Value::List(self.list()?),
            _ => self.text()?,
        };
        self.depth -= 1;
        Ok(Node { at, value })
    }

    fn list(&mut self) -> Result<Vec<Node>, HoconError> {
        let open = self.at;
        self.skip(1);
        let mut items = Vec::new();
        loop {
            self.blank(true);
            match self.peek() {
                None => return Err(HoconError::Unclosed { at: open, open: '[', close: ']' }),
                Some(']') => {
                    self.skip(1);
                    return Ok(items);
                }
                Some('}') => return Err(HoconError::Unclosed { at: open, open: '[', close: ']' }),
                Some(_) => items.push(self.value()?),
            }
            // What was read was a key, which means that the list has not been closed.
            self.blank(false);
            let is_text = items.last().is_some_and(|item| !matches!(item.value, Value::Object(_) | Value::List(_)));
            if is_text && matches!(self.peek(), Some('=' | '{')) {
                return Err(HoconError::Unclosed { at: open, open: '[', close: ']' });
            }
            self.separator()?;
        }
    }
}
