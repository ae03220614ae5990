//! Why a query is refused, and where in it.

use std::fmt;
use std::ops::Range;

/// What kind of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryErrorKind {
    /// It is not in the language, or its types contradict each other.
    Malformed,
    /// It is TraceQL, and not there yet.
    Unsupported,
    /// It is larger than a limit.
    TooLarge,
}

/// A query that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    /// What kind of refusal it is.
    pub kind: QueryErrorKind,
    /// What is wrong and what to do, without the place.
    pub message: String,
    /// The query's text, and the bytes of it that are meant.
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Of a text.
    Bytes(Range<usize>),
    /// The same, with the text.
    Text { text: Box<str>, bytes: Range<usize> },
    /// A path in JSON.
    Path(String),
}

impl QueryError {
    pub(crate) fn malformed(bytes: Range<usize>, message: impl Into<String>) -> Self {
        Self { kind: QueryErrorKind::Malformed, message: message.into(), place: Place::Bytes(bytes) }
    }

    pub(crate) fn unsupported(bytes: Range<usize>, what: &str) -> Self {
        let message = format!("{what} is TraceQL that Tracelake does not have yet");
        Self { kind: QueryErrorKind::Unsupported, message, place: Place::Bytes(bytes) }
    }

    pub(crate) fn too_large(bytes: Range<usize>, message: impl Into<String>) -> Self {
        Self { kind: QueryErrorKind::TooLarge, message: message.into(), place: Place::Bytes(bytes) }
    }

    /// Of this text.
    pub(crate) fn of_text(self, text: &str) -> Self {
        let place = match self.place {
            Place::Bytes(bytes) => Place::Text { text: text.into(), bytes },
            place => place,
        };
        Self { place, ..self }
    }

    /// At this path of a JSON document, whatever place it had.
    pub(crate) fn at_path(self, path: &str) -> Self {
        Self { place: Place::Path(path.to_owned()), ..self }
    }

    /// The bytes of the text that are meant, if there is a text.
    pub fn bytes(&self) -> Option<Range<usize>> {
        match &self.place {
            Place::Bytes(bytes) | Place::Text { bytes, .. } => Some(bytes.clone()),
            Place::Path(_) => None,
        }
    }
}

impl std::error::Error for QueryError {}

/// The message, and below it the line with the place underlined, or the path.
impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.place {
            Place::Bytes(_) => Ok(()),
            Place::Path(path) => write!(f, " (at {path})"),
            Place::Text { text, bytes } => {
                let start = text.floor_char_boundary(bytes.start);
                let end = text.ceil_char_boundary(bytes.end).max(start);
                let (before, rest) = text.split_at_checked(start).unwrap_or((text, ""));
                let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
                let line_end = rest.find('\n').map_or(text.len(), |newline| start + newline);
                let line = text.get(line_start..line_end).unwrap_or_default();
                let indent = columns(text.get(line_start..start).unwrap_or_default());
                let marked = columns(text.get(start..end.min(line_end)).unwrap_or_default()).max(1);
                let line: String = line.chars().map(printable).collect();
                write!(f, "\n  {line}\n  {:indent$}{:^<marked$}", "", "")
            }
        }
    }
}

/// One column a character: terminals differ about the others, and queries seldom have them.
fn columns(text: &str) -> usize {
    text.chars().count()
}

/// A tab would take more than one column, and a control character could be anything.
fn printable(character: char) -> char {
    if character.is_control() { ' ' } else { character }
}
