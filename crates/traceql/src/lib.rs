//! What is searched for: conditions on spans and traces as one typed tree, read from TraceQL or from JSON,
//! written as TraceQL, and decided for a span in memory.
//!
//! It knows no store and no index. What of TraceQL it does not have is refused by its name, never ignored;
//! what is malformed is refused with its place. docs/search.md says what conditions mean.

mod bounds;
mod error;
mod evaluate;
mod field;
pub mod fuzzing;
mod json;
mod lexer;
mod names;
mod number;
mod parse;
mod predicate;
mod print;
mod screen;
mod syntax;
mod typed;

pub use error::{QueryError, QueryErrorKind};
pub use evaluate::TraceFacts;
pub use field::{AttributeScope, Field, Intrinsic};
pub use json::from_json;
pub use parse::parse;
pub use predicate::{
    Arithmetic, Comparison, Kind, Literal, Operand, Pattern, Predicate, Status, TracePredicate,
};
pub use screen::Screen;
