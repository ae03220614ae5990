//! Why a query is refused, and where in it.

use std::fmt;
use std::ops::Range;

use tracelake_model::limits;

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
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Of a text.
    Bytes(Range<usize>),
    /// The same, with what stands there.
    Excerpt { bytes: Range<usize>, excerpt: Excerpt },
    /// A path in JSON.
    Path(String),
}

/// A part of a line, and what of it is meant. It is short: a query may be one long line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    line: String,
    indent: usize,
    marked: usize,
}

/// Characters that an excerpt has before its place, and from there on.
const EXCERPT_CHARACTERS: usize = 60;

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

    /// Of this text; one that is too long to be read is not shown.
    pub(crate) fn of_text(self, text: &str) -> Self {
        let place = match self.place {
            Place::Bytes(bytes) if text.len() as u64 <= limits::QUERY_BYTES_MAX => {
                let excerpt = Excerpt::of(text, &bytes);
                Place::Excerpt { bytes, excerpt }
            }
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
            Place::Bytes(bytes) | Place::Excerpt { bytes, .. } => Some(bytes.clone()),
            Place::Path(_) => None,
        }
    }
}

impl Excerpt {
    fn of(text: &str, bytes: &Range<usize>) -> Self {
        let start = text.floor_char_boundary(bytes.start);
        let end = text.ceil_char_boundary(bytes.end).max(start);
        let (before, rest) = text.split_at_checked(start).unwrap_or((text, ""));
        let before = before.rsplit('\n').next().unwrap_or_default();
        let rest = rest.split('\n').next().unwrap_or_default();
        let first = before.char_indices().rev().nth(EXCERPT_CHARACTERS - 1).map_or(0, |(at, _)| at);
        let last = rest.char_indices().nth(EXCERPT_CHARACTERS).map_or(rest.len(), |(at, _)| at);
        let shown_before = before.get(first..).unwrap_or_default();
        let shown = rest.get(..last).unwrap_or_default();
        let marked = shown.get(..(end - start).min(last)).unwrap_or_default();
        let cut_before = if first > 0 { "…" } else { "" };
        let cut_behind = if last < rest.len() { "…" } else { "" };
        let characters = shown_before.chars().chain(shown.chars()).map(printable);
        Self {
            line: cut_before.chars().chain(characters).chain(cut_behind.chars()).collect(),
            indent: columns(cut_before) + columns(shown_before),
            marked: columns(marked).max(1),
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
            Place::Excerpt { excerpt: Excerpt { line, indent, marked }, .. } => {
                let (indent, marked) = (*indent, *marked);
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
