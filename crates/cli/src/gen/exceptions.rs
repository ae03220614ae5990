//! Exception events with stack traces, as each language prints them.

use std::fmt::Write;

use super::shop::{Language, Service};
use super::template::{Arena, Range};
use super::wire::{AnyValue, put_bytes, put_key_value};

/// One way to fail.
#[derive(Debug)]
pub(super) struct Exception {
    /// The event after its time: name and attributes.
    pub(super) event: Range,
    /// The attribute `error.type` of the span.
    pub(super) error_type: Range,
    /// The span's status: code error and a message.
    pub(super) status: Range,
}

const FRAMES: &[(&str, &str)] = &[
    ("Handler", "handle"),
    ("OrderRepository", "findByReference"),
    ("RetryPolicy", "execute"),
    ("ConnectionPool", "acquire"),
    ("Transaction", "commit"),
    ("ProductMapper", "toDomain"),
    ("RequestContext", "resolveTenant"),
    ("CircuitBreaker", "call"),
    ("MessageDecoder", "decodeNext"),
    ("PriceCalculator", "applyRules"),
    ("StockLedger", "reserveUnits"),
    ("SessionStore", "loadOrCreate"),
    ("Router", "dispatch"),
    ("Scheduler", "runNext"),
];

/// Types and messages of what each language throws, in the shop's words.
fn thrown(language: Language) -> &'static [(&'static str, &'static str)] {
    match language {
        Language::Java => &[
            ("java.net.SocketTimeoutException", "Read timed out after 2000 ms"),
            ("java.lang.IllegalStateException", "connection pool exhausted: 32 of 32 in use"),
            (
                "org.postgresql.util.PSQLException",
                "ERROR: could not serialize access due to concurrent update",
            ),
        ],
        Language::NodeJs => &[
            ("TypeError", "Cannot read properties of undefined (reading 'items')"),
            ("AbortError", "The operation was aborted due to timeout"),
        ],
        Language::Go => &[
            ("*errors.errorString", "context deadline exceeded"),
            ("*net.OpError", "dial tcp 10.32.7.41:9012: connect: connection refused"),
        ],
        Language::DotNet => &[
            (
                "StackExchange.Redis.RedisTimeoutException",
                "Timeout performing HGETALL (1500ms), inst: 0, qu: 4",
            ),
            ("System.OperationCanceledException", "The operation was canceled."),
        ],
        Language::Python => &[
            ("KeyError", "'embedding'"),
            (
                "requests.exceptions.ReadTimeout",
                "HTTPConnectionPool(host='catalog', port=9004): Read timed out.",
            ),
        ],
        Language::Rust => &[("reqwest::Error", "error sending request: operation timed out")],
        Language::Cpp => &[("std::out_of_range", "map::at: no rate for currency")],
        Language::Ruby => &[
            ("Net::SMTPServerBusy", "451 4.7.1 Try again later"),
            ("ActiveRecord::ConnectionTimeoutError", "could not obtain a connection within 5.000 seconds"),
        ],
        Language::Php => {
            &[("MongoDB\\Driver\\Exception\\ConnectionTimeoutException", "No suitable servers found")]
        }
        Language::Elixir => &[("Ecto.StaleEntryError", "attempted to update a stale struct")],
    }
}

/// How a service can fail: each of its language's exceptions with stack traces of several depths.
pub(super) fn exceptions(arena: &mut Arena, service: &Service) -> Vec<Exception> {
    let mut exceptions = Vec::new();
    for (which, (kind, message)) in thrown(service.language).iter().enumerate() {
        for variant in 0..3 {
            let first = which * 5 + variant * 3;
            let trace = stack_trace(service, kind, message, first, 7 + variant * 3);
            let mut event = Vec::new();
            put_bytes(&mut event, 2, b"exception");
            put_key_value(&mut event, 3, "exception.type", AnyValue::Text(kind));
            put_key_value(&mut event, 3, "exception.message", AnyValue::Text(message));
            put_key_value(&mut event, 3, "exception.stacktrace", AnyValue::Text(&trace));
            put_key_value(&mut event, 3, "exception.escaped", AnyValue::Bool(variant == 0));
            let mut error_type = Vec::new();
            put_key_value(&mut error_type, 9, "error.type", AnyValue::Text(kind));
            let mut status = Vec::new();
            put_bytes(&mut status, 2, message.as_bytes());
            status.extend_from_slice(&[0x18, 2]);
            let mut status_field = Vec::new();
            put_bytes(&mut status_field, 15, &status);
            exceptions.push(Exception {
                event: arena.add(&event),
                error_type: arena.add(&error_type),
                status: arena.add(&status_field),
            });
        }
    }
    exceptions
}

fn stack_trace(service: &Service, kind: &str, message: &str, first: usize, depth: usize) -> String {
    let mut text = match service.language {
        Language::Python => "Traceback (most recent call last):\n".to_owned(),
        Language::Go => format!("goroutine 418 [running]: {message}\n"),
        _ => format!("{kind}: {message}\n"),
    };
    let module = service.name.replace('-', "_");
    for frame in 0..depth {
        let (class, method) = FRAMES[(first + frame) % FRAMES.len()];
        let line = 20 + (first * 37 + frame * 53) % 400;
        let written = match service.language {
            Language::Java => {
                writeln!(text, "\tat com.shop.{module}.{class}.{method}({class}.java:{line})")
            }
            Language::NodeJs => {
                writeln!(text, "    at {class}.{method} (/srv/{}/dist/{class}.js:{line}:17)", service.name)
            }
            Language::Go => {
                writeln!(
                    text,
                    "shop/{module}.(*{class}).{method}(0xc0004{line:03})\n\t/src/{module}/{class}.go:{line}"
                )
            }
            Language::DotNet => {
                writeln!(text, "   at Shop.{module}.{class}.{method}() in /src/{class}.cs:line {line}")
            }
            Language::Python => {
                writeln!(
                    text,
                    "  File \"/app/{module}/{class}.py\", line {line}, in {method}\n    self.{method}()"
                )
            }
            Language::Rust => {
                writeln!(text, "  {frame}: {module}::{class}::{method}\n     at ./src/{class}.rs:{line}")
            }
            Language::Cpp => writeln!(text, "#{frame} {module}::{class}::{method}() at {class}.cc:{line}"),
            Language::Ruby => writeln!(text, "/app/lib/{module}/{class}.rb:{line}:in `{method}'"),
            Language::Php => {
                writeln!(text, "#{frame} /var/www/{module}/{class}.php({line}): {class}->{method}()")
            }
            Language::Elixir => {
                writeln!(text, "    (shop {}) lib/{class}.ex:{line}: {class}.{method}/2", service.version)
            }
        };
        written.expect("writing to a String succeeds");
    }
    if service.language == Language::Python {
        writeln!(text, "{kind}: {message}").expect("writing to a String succeeds");
    }
    text
}
