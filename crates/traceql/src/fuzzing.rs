//! What must hold of any input, for cargo-fuzz and for bounded runs on stable. Not part of the API.

use crate::{QueryErrorKind, parse};

/// A query that was read prints as one that reads as the same, if its parentheses and quotes have not made it
/// too large. A refusal has its place.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(text) {
        Ok(query) => {
            let printed = query.to_string();
            match parse(&printed) {
                Ok(read) => assert_eq!(read, query, "{printed}"),
                Err(error) => assert_eq!(error.kind, QueryErrorKind::TooLarge, "{printed}: {error}"),
            }
        }
        Err(error) => {
            let is_within =
                |bytes: std::ops::Range<usize>| bytes.start <= bytes.end && bytes.end <= text.len();
            assert!(error.bytes().is_some_and(is_within), "{error}");
            assert!(!error.to_string().is_empty());
        }
    }
}
