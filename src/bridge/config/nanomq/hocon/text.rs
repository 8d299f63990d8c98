//! Keys and texts: quoted, triple-quoted and bare.
use super::{HoconError, Parser, Place, Value};

impl Parser<'_> {
    /// A key, which dots divide.
    pub(super) fn path(&mut self) -> Result<Vec<(String, Place)>, HoconError> {
        let mut path = Vec::new();
        loop {
            let at = self.at;
            let key = if self.peek() == Some('"') { self.quoted()? } else { self.bare_key() };
            if key.is_empty() {
                return self.unexpected("a key must stand here");
            }
            path.push((key, at));
            if self.peek() != Some('.') {
                return Ok(path);
            }
            self.skip(1);
        }
    }

    fn bare_key(&mut self) -> String {
        let mut key = String::new();
        while let Some(next) = self.peek() {
            let ends = next.is_whitespace() || ".=:+{}[](),\"#".contains(next);
            if ends || self.at_comment() {
                break;
            }
            key.push(next);
            self.skip(1);
        }
        key
    }

    pub(super) fn text_up_to_line_end(&mut self) {
        while self.peek().is_some_and(|next| !matches!(next, '\n' | '}' | ',')) {
            self.skip(1);
        }
    }

    /// Quoted and bare texts up to the end of the value are one text, with the blanks between them.
    pub(super) fn text(&mut self) -> Result<Value, HoconError> {
        let (mut text, mut blanks, mut quoted, mut bare_last, mut unsupported) =
            (String::new(), String::new(), false, false, false);
        while let Some(next) = self.peek() {
            match next {
                '\n' | ',' | '{' | '}' | '[' | ']' | '=' => break,
                // HOCON would cut `local_topic = a/#` short without a word.
                _ if self.at_comment() && bare_last && blanks.is_empty() => {
                    return self.unexpected("a comment without a blank before it: put the value in quotation marks");
                }
                _ if self.at_comment() => break,
                blank if blank.is_whitespace() => {
                    blanks.push(blank);
                    self.skip(1);
                    continue;
                }
                _ => {}
            }
            text.push_str(&std::mem::take(&mut blanks));
            bare_last = false;
            if next == '"' {
                text.push_str(&self.quoted()?);
                quoted = true;
            } else if self.rest.starts_with("${") {
                self.substitution()?;
                unsupported = true;
            } else {
                text.push(next);
                self.skip(1);
                bare_last = true;
            }
        }
        match (unsupported, quoted) {
            (true, _) => Ok(Value::Unsupported("`${}` is not replaced: write the value itself")),
            (false, true) => Ok(Value::Quoted(text)),
            (false, false) if text.is_empty() => self.unexpected("a value is missing"),
            (false, false) => Ok(Value::Bare(text)),
        }
    }

    fn substitution(&mut self) -> Result<(), HoconError> {
        let at = self.at;
        loop {
            match self.bump() {
                Some('}') => return Ok(()),
                None | Some('\n') => return Err(HoconError::Unclosed { at, open: '{', close: '}' }),
                Some(_) => {}
            }
        }
    }

    fn quoted(&mut self) -> Result<String, HoconError> {
        let at = self.at;
        if self.rest.starts_with("\"\"\"") {
            return self.triple_quoted(at);
        }
        self.skip(1);
        let mut text = String::new();
        loop {
            match self.bump() {
                None | Some('\n') => return Err(HoconError::UnclosedText { at }),
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escaped(at)?),
                Some(next) => text.push(next),
            }
        }
    }

    fn triple_quoted(&mut self, at: Place) -> Result<String, HoconError> {
        self.skip(3);
        let Some(mut length) = self.rest.find("\"\"\"") else { return Err(HoconError::UnclosedText { at }) };
        // Quotation marks before the last three belong to the text.
        while self.rest[length + 3..].starts_with('"') {
            length += 1;
        }
        let text = self.rest[..length].to_owned();
        self.skip(text.chars().count() + 3);
        Ok(text)
    }

    fn escaped(&mut self, opened: Place) -> Result<char, HoconError> {
        let at = self.at;
        let wrong = |what| Err(HoconError::Unexpected { at, what });
        match self.bump() {
            None => Err(HoconError::UnclosedText { at: opened }),
            Some(same @ ('"' | '\\' | '/')) => Ok(same),
            Some('b') => Ok('\u{8}'),
            Some('f') => Ok('\u{c}'),
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some('u') => match self.code_unit().and_then(|first| self.code_point(first)).and_then(char::from_u32) {
                Some(character) => Ok(character),
                None => wrong("`\\u` and four hexadecimal digits, as in \\u00e9"),
            },
            Some(_) => wrong("no such escape: \\\" \\\\ \\/ \\b \\f \\n \\r \\t or \\u"),
        }
    }

    /// Two surrogates are one character.
    fn code_point(&mut self, first: u32) -> Option<u32> {
        if !(0xd800..0xdc00).contains(&first) {
            return Some(first);
        }
        if !self.rest.starts_with("\\u") {
            return None;
        }
        self.skip(2);
        let second = self.code_unit().filter(|second| (0xdc00..0xe000).contains(second))?;
        Some(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    }

    fn code_unit(&mut self) -> Option<u32> {
        let digits = self.rest.get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let unit = u32::from_str_radix(digits, 16).ok()?;
        self.skip(4);
        Some(unit)
    }
}
