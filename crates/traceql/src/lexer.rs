//! The words of a query, each with its place.

use std::ops::Range;

use tracelake_model::limits;

use crate::QueryError;
use crate::field::{AttributeScope, Intrinsic};

/// A word.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// `{`, `&&`, `>>` and the like.
    Symbol(&'static str),
    /// A name that stands for something: `name`, `true`, `error`, `span:id`.
    Word(Box<str>),
    /// An attribute: its scope, and its key without quotes.
    Attribute(AttributeScope, Box<str>),
    /// In quotes, without them.
    Text(Box<str>),
    /// Without its sign.
    Int(u64),
    Double(f64),
    /// Nanoseconds.
    Duration(i64),
}

/// A word with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Placed {
    pub(crate) token: Token,
    pub(crate) bytes: Range<usize>,
}

/// Longer ones first, as each is tried at every place.
const SYMBOLS: [&str; 41] = [
    "!>>", "!<<", "&>>", "&<<", "&&", "||", "=~", "!~", "!=", "==", ">=", "<=", ">>", "<<", "!>", "!<", "&>",
    "&<", "&~", "{", "}", "(", ")", "=", ">", "<", "!", "~", "+", "-", "*", "/", "%", "^", "|", ",", ":",
    ";", "&", "[", "]",
];

/// What ends a key that is not in quotes; all else belongs to it, `-` and `/` too.
fn ends_key(character: char) -> bool {
    character.is_whitespace() || "{}()=~!<>&|^,\"`".contains(character)
}

/// Of the parent's attributes; in quotes it is a key like any other.
pub(crate) const OF_PARENT: &str = "parent.";

/// Whether a key can be written without quotes. Behind a dot alone a digit would begin a number.
pub(crate) fn is_plain_key(scope: AttributeScope, key: &str) -> bool {
    let is_other = key.starts_with(|c: char| c.is_ascii_digit())
        || scope == AttributeScope::Any && key.starts_with(OF_PARENT);
    !key.is_empty() && !key.contains(ends_key) && !is_other
}

/// All words.
pub(crate) fn words(text: &str) -> Result<Vec<Placed>, QueryError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut words = Vec::new();
    while let Some(placed) = lexer.next()? {
        if words.len() as u64 >= limits::QUERY_WORDS_MAX {
            let message = format!("a query has at most {} words", limits::QUERY_WORDS_MAX);
            return Err(QueryError::too_large(placed.bytes, message));
        }
        words.push(placed);
    }
    Ok(words)
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, bytes: usize) -> &'t str {
        let start = self.at;
        self.at += bytes;
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// As long as characters are such.
    fn take_while(&mut self, is: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        self.take(rest.find(|character| !is(character)).unwrap_or(rest.len()))
    }

    fn next(&mut self) -> Result<Option<Placed>, QueryError> {
        self.take_while(char::is_whitespace);
        let start = self.at;
        let Some(first) = self.rest().chars().next() else { return Ok(None) };
        let token = match first {
            '"' | '`' => Token::Text(self.quoted()?.into()),
            '0'..='9' => self.number()?,
            '.' if self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number()?,
            '.' => {
                self.take(1);
                self.attribute(start, AttributeScope::Any)?
            }
            c if c.is_alphabetic() || c == '_' => self.word(start)?,
            _ => {
                let symbol = SYMBOLS.iter().find(|symbol| self.rest().starts_with(**symbol));
                let Some(symbol) = symbol else {
                    let place = start..start + first.len_utf8();
                    return Err(QueryError::malformed(place, format!("`{first}` means nothing here")));
                };
                self.take(symbol.len());
                Token::Symbol(symbol)
            }
        };
        Ok(Some(Placed { token, bytes: start..self.at }))
    }

    /// A name, or an attribute behind its scope.
    fn word(&mut self, start: usize) -> Result<Token, QueryError> {
        let name = self.take_while(|c| c.is_alphanumeric() || c == '_');
        let rest = self.rest();
        if rest.starts_with('.') {
            self.take(1);
            let prefix = &self.text[start..self.at];
            if prefix == OF_PARENT {
                return Err(QueryError::unsupported(start..self.at, "`parent.`"));
            }
            let Some(scope) = AttributeScope::of(prefix) else {
                let message = format!(
                    "`{prefix}` is no scope: there are span., resource., event., link. and instrumentation.; \
                     an attribute of any scope begins with a dot, as in `.{name}…`"
                );
                return Err(QueryError::malformed(start..self.at, message));
            };
            return self.attribute(start, scope);
        }
        if rest.starts_with(':') {
            self.take(1);
            self.take_while(|c| c.is_alphanumeric() || c == '_');
            let spelling = &self.text[start..self.at];
            if Intrinsic::is_unsupported(spelling) {
                return Err(QueryError::unsupported(start..self.at, &format!("`{spelling}`")));
            }
            if Intrinsic::of(spelling).is_none() {
                let message = format!("there is no `{spelling}`");
                return Err(QueryError::malformed(start..self.at, message));
            }
            return Ok(Token::Word(spelling.into()));
        }
        Ok(Token::Word(name.into()))
    }

    /// A key: plain parts and parts in quotes, one after the other.
    fn attribute(&mut self, start: usize, scope: AttributeScope) -> Result<Token, QueryError> {
        let mut key = self.take_while(|c| !ends_key(c)).to_owned();
        if scope == AttributeScope::Any && key.starts_with(OF_PARENT) {
            return Err(QueryError::unsupported(start..self.at, "`.parent.`"));
        }
        while self.rest().starts_with('"') {
            key.push_str(&self.quoted()?);
            key.push_str(self.take_while(|c| !ends_key(c)));
        }
        if key.is_empty() {
            return Err(QueryError::malformed(start..self.at, "an attribute's key is missing"));
        }
        Ok(Token::Attribute(scope, key.into()))
    }

    /// What is in quotes: as it is between backticks, with escapes between double quotes.
    fn quoted(&mut self) -> Result<String, QueryError> {
        let start = self.at;
        let unended =
            |lexer: &Self| QueryError::malformed(start..lexer.text.len(), "this text has no closing quote");
        let quote = self.take(1);
        if quote == "`" {
            let text = self.take_while(|c| c != '`');
            if self.rest().is_empty() {
                return Err(unended(self));
            }
            self.take(1);
            return Ok(text.to_owned());
        }
        let mut text = String::new();
        loop {
            text.push_str(self.take_while(|c| c != '"' && c != '\\'));
            match self.take(1.min(self.rest().len())) {
                "\"" => return Ok(text),
                "\\" => text.push(self.escape()?),
                _ => return Err(unended(self)),
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, QueryError> {
        let start = self.at - 1;
        let kind = self.rest().chars().next();
        self.take(kind.map_or(0, char::len_utf8));
        let digits = match kind {
            Some('n') => return Ok('\n'),
            Some('t') => return Ok('\t'),
            Some('r') => return Ok('\r'),
            Some('a') => return Ok('\u{7}'),
            Some('b') => return Ok('\u{8}'),
            Some('f') => return Ok('\u{c}'),
            Some('v') => return Ok('\u{b}'),
            Some(c @ ('"' | '\\' | '\'' | '`')) => return Ok(c),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => 0,
        };
        let hex = self.rest().get(..digits).filter(|_| digits > 0).map(str::to_owned);
        let code = hex.and_then(|hex| {
            self.take(digits);
            // A sign would be read as well.
            let is_hex = hex.chars().all(|c| c.is_ascii_hexdigit());
            char::from_u32(u32::from_str_radix(&hex, 16).ok().filter(|_| is_hex)?)
        });
        code.ok_or_else(|| {
            let message = "this is no escape: there are \\n \\t \\r \\\" \\\\ \\xHH \\uHHHH \\UHHHHHHHH; a text \
                           between backticks has none, which is easier for expressions";
            QueryError::malformed(start..self.at, message)
        })
    }

    /// An integer, a decimal, or a duration of several parts.
    fn number(&mut self) -> Result<Token, QueryError> {
        let start = self.at;
        let mut digits = self.digits();
        let malformed = |lexer: &Self, what: &str| Err(QueryError::malformed(start..lexer.at, what));
        let Some(mut unit) = self.unit() else {
            if self.rest().starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.') {
                self.take_while(|c| c.is_alphanumeric() || c == '_' || c == '.');
                return malformed(self, "this is no number, and no duration such as 300ms or 1h30m");
            }
            if !digits.contains(['.', 'e', 'E'])
                && let Ok(int) = digits.parse()
            {
                return Ok(Token::Int(int));
            }
            return match digits.parse::<f64>() {
                Ok(double) if double.is_finite() && digits.contains(['.', 'e', 'E']) => {
                    Ok(Token::Double(double))
                }
                _ => malformed(self, "this number does not fit into 64 bits"),
            };
        };
        let mut nanoseconds = 0i128;
        loop {
            let Some(part) = duration(digits, unit) else {
                return malformed(self, "this is no duration");
            };
            nanoseconds = nanoseconds.saturating_add(part);
            if !self.rest().starts_with(|c: char| c.is_ascii_digit() || c == '.') {
                break;
            }
            digits = self.digits();
            let Some(next) = self.unit() else {
                let message = "the last part of this duration has no unit: ns, us, ms, s, m, h, d, w or y";
                return malformed(self, message);
            };
            unit = next;
        }
        match i64::try_from(nanoseconds) {
            Ok(nanoseconds) => Ok(Token::Duration(nanoseconds)),
            Err(_) => malformed(self, "this duration is longer than 292 years"),
        }
    }

    /// Digits with a decimal point and an exponent, if they have one.
    fn digits(&mut self) -> &'t str {
        let start = self.at;
        let is_digit = |c: char| c.is_ascii_digit();
        self.take_while(is_digit);
        if self.rest().starts_with('.') {
            self.take(1);
            self.take_while(is_digit);
        }
        let rest = self.rest();
        if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
            let sign = usize::from(exponent.starts_with(['+', '-']));
            if exponent[sign..].starts_with(is_digit) {
                self.take(1 + sign);
                self.take_while(is_digit);
            }
        }
        &self.text[start..self.at]
    }

    /// Nanoseconds of the unit that comes next, if there is one.
    fn unit(&mut self) -> Option<i128> {
        const UNITS: [(&str, i128); 11] = [
            ("ns", 1),
            ("us", 1_000),
            ("µs", 1_000),
            ("μs", 1_000),
            ("ms", 1_000_000),
            ("s", 1_000_000_000),
            ("m", 60_000_000_000),
            ("h", 3_600_000_000_000),
            ("d", 24 * 3_600_000_000_000),
            ("w", 7 * 24 * 3_600_000_000_000),
            ("y", 365 * 24 * 3_600_000_000_000),
        ];
        let (spelling, unit) = UNITS.iter().find(|(spelling, _)| {
            let behind = self.rest().strip_prefix(spelling);
            behind.is_some_and(|behind| !behind.starts_with(|c: char| c.is_alphabetic() || c == '_'))
        })?;
        self.take(spelling.len());
        Some(*unit)
    }
}

/// Exact to the nanosecond, which decimals in binary are not.
fn duration(digits: &str, unit: i128) -> Option<i128> {
    if digits.contains(['e', 'E']) || !digits.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: String = fraction.chars().take(18).collect();
    let scale = 10i128.pow(fraction.len() as u32);
    let fraction: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    whole.checked_mul(unit)?.checked_add(fraction * unit / scale)
}

#[cfg(test)]
mod tests;
