use super::*;

/// Clients hang on these numbers: OTLP 1.11 names the retryable ones, everything else must not be
/// sent again.
#[test]
fn every_kind_keeps_its_meaning() {
    let table = [
        (ErrorKind::Invalid, "invalid", 400, 3, false),
        (ErrorKind::Forbidden, "forbidden", 403, 7, false),
        (ErrorKind::NotFound, "not_found", 404, 5, false),
        (ErrorKind::UnknownPath, "unknown_path", 404, 12, false),
        (ErrorKind::Gone, "gone", 410, 9, false),
        (ErrorKind::TooLarge, "too_large", 413, 8, false),
        (ErrorKind::UnsupportedMedia, "unsupported_media", 415, 12, false),
        (ErrorKind::Unsupported, "unsupported", 501, 12, false),
        (ErrorKind::Throttled, "throttled", 429, 8, true),
        (ErrorKind::Unavailable, "unavailable", 503, 14, true),
        (ErrorKind::Corrupt, "corrupt", 500, 13, false),
        (ErrorKind::Internal, "internal", 500, 13, false),
    ];
    assert_eq!(table.len(), ErrorKind::ALL.len());
    for ((kind, name, http, grpc, retryable), listed) in table.into_iter().zip(ErrorKind::ALL) {
        assert_eq!(kind, listed);
        assert_eq!((kind.name(), kind.http_status(), kind.grpc_code()), (name, http, grpc));
        assert_eq!(kind.is_retryable(), retryable, "{kind}");
    }
}
