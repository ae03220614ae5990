//! Errors of remote stores, in words that may be shown: without the query of a URL, which may be a
//! signature, and without the body of an answer, which repeats what it was asked with.

use std::time::Duration;

use object_store::Error;
use object_store::path::Path;

use crate::location::{Bucket, Provider, StorePlace};

/// More than this of an error's text tells nobody anything.
const TEXT_CHARS_MAX: usize = 400;

/// The name of these stores in errors.
const STORE: &str = "object store";

/// Why a store cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Unreachable {
    message: String,
}

impl Unreachable {
    pub(super) fn misconfigured(bucket: &Bucket, place: &StorePlace, error: &Error) -> Self {
        let message = format!(
            "the store {} cannot be used: {}; check {}",
            whereabouts(bucket, place),
            text_of(error),
            credentials(bucket.provider)
        );
        Self { message }
    }

    pub(super) fn refused(bucket: &Bucket, place: &StorePlace, error: &Error) -> Self {
        let text = text_of(error);
        let of = credentials(bucket.provider);
        // A listing that was refused has no kind of its own.
        let answered = |status: &str| text.contains(&format!("status code: {status} "));
        let todo = match error {
            _ if answered("404") => {
                format!("create the bucket {}, or correct the setting store", bucket.name)
            }
            _ if answered("401") || answered("403") => {
                format!("check {of}, and that they may list, read, write and delete there")
            }
            // Where clients look for credentials when the environment has none.
            _ if ["169.254.", "metadata.google", "metadata/identity"]
                .iter()
                .any(|host| text.contains(host)) =>
            {
                format!("no credentials were found: set {of}")
            }
            _ => "check the settings store, store_endpoint and store_region, and that the store runs and \
                  can be reached from here"
                .to_owned(),
        };
        Self {
            message: format!("the store {} cannot be reached: {text}; {todo}", whereabouts(bucket, place)),
        }
    }
}

fn whereabouts(bucket: &Bucket, place: &StorePlace) -> String {
    if place.endpoint.is_empty() { bucket.to_string() } else { format!("{bucket} at {}", place.endpoint) }
}

/// What the credentials are made of.
fn credentials(provider: Provider) -> &'static str {
    match provider {
        Provider::S3 => {
            "the credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or of the machine's role"
        }
        Provider::Gcs => {
            "the credentials in GOOGLE_APPLICATION_CREDENTIALS, or of the machine's service account"
        }
        Provider::Azure => {
            "AZURE_STORAGE_ACCOUNT_NAME and the credentials in AZURE_STORAGE_ACCOUNT_KEY, or of the managed identity"
        }
    }
}

/// The error that is left when everything that a server said was taken away.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cleaned(String);

/// No answer came.
pub(super) fn silent(location: &Path, within: Duration) -> Error {
    let text = format!("no answer about {location} within {} s", within.as_secs());
    Error::Generic { store: STORE, source: Box::new(Cleaned(text)) }
}

/// The same error, with a text that may be shown, and the name that was asked for: the client's has the
/// prefix in front.
pub(super) fn cleaned(error: Error, location: Option<&Path>) -> Error {
    let path = |path: String| location.map_or(path, ToString::to_string);
    let source = |source: &(dyn std::error::Error + 'static)| Box::new(Cleaned(clean(&with_cause(source))));
    match error {
        Error::NotFound { path: at, source: why } => {
            Error::NotFound { path: path(at), source: source(&*why) }
        }
        Error::AlreadyExists { path: at, source: why } => {
            Error::AlreadyExists { path: path(at), source: source(&*why) }
        }
        Error::Precondition { path: at, source: why } => {
            Error::Precondition { path: path(at), source: source(&*why) }
        }
        Error::NotModified { path: at, source: why } => {
            Error::NotModified { path: path(at), source: source(&*why) }
        }
        Error::PermissionDenied { path: at, source: why } => {
            Error::PermissionDenied { path: path(at), source: source(&*why) }
        }
        Error::Unauthenticated { path: at, source: why } => {
            Error::Unauthenticated { path: path(at), source: source(&*why) }
        }
        Error::NotSupported { source: why } => Error::NotSupported { source: source(&*why) },
        Error::Generic { source: why, .. } => Error::Generic { store: STORE, source: source(&*why) },
        Error::InvalidPath { .. } | Error::NotImplemented { .. } | Error::JoinError { .. } => error,
        other => Error::Generic { store: STORE, source: Box::new(Cleaned(clean(&other.to_string()))) },
    }
}

/// What went wrong, without the sentence that the crate puts around it.
fn text_of(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// The error, and what it comes from in the end, such as a connection that was refused.
fn with_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error.to_string();
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let cause = cause.to_string();
    if text.contains(&cause) { text } else { format!("{text} ({cause})") }
}

/// The text up to the answer's body, of that only the code and the message, and no query of any URL.
fn clean(text: &str) -> String {
    let (head, body) = match text.find('<') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let mut clean: Vec<String> = head
        .split_whitespace()
        .map(|word| match word.split_once('?') {
            Some((url, _)) if url.contains("://") => url.to_owned(),
            _ => word.to_owned(),
        })
        .collect();
    for name in ["Code", "Message"] {
        clean.extend(element(body, name).map(str::to_owned));
    }
    let clean = clean.join(" ");
    let clean = clean.trim_end_matches([':', ' ', '-']);
    clean.chars().take(TEXT_CHARS_MAX).collect()
}

/// The text of an XML element; none if it has elements inside.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, rest) = rest.split_once('<')?;
    rest.starts_with(&format!("/{name}>")).then(|| text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_answer_only_the_code_and_the_message_are_kept() {
        let text = "Error performing GET http://h:1/b?sig=SECRET&x=1 in 3ms  - Server returned non-2xx status \
                    code: 403 Forbidden: <?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code>\
                    <Message>The signature does not match.</Message><AWSAccessKeyId>KEY</AWSAccessKeyId></Error>";
        assert_eq!(
            clean(text),
            "Error performing GET http://h:1/b in 3ms - Server returned non-2xx status code: 403 Forbidden: \
             SignatureDoesNotMatch The signature does not match."
        );
        assert_eq!(clean("Server returned: 500: "), "Server returned: 500");
        assert_eq!(clean("no <xml"), "no");
    }

    #[test]
    fn a_missing_object_is_named_as_it_was_asked_for() {
        let source = Box::new(Cleaned("gone".to_owned()));
        let error = Error::NotFound { path: "prefix/segments/a".to_owned(), source };
        let cleaned = cleaned(error, Some(&Path::from("segments/a")));
        assert!(matches!(&cleaned, Error::NotFound { path, .. } if path == "segments/a"), "{cleaned}");
    }
}
