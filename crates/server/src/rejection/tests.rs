use super::*;

#[test]
fn only_what_may_be_sent_again_says_when() {
    for kind in ErrorKind::ALL {
        let rejection = Rejection::new(kind, "x");
        let http = rejection.clone().into_otlp_http(Encoding::Json);
        assert_eq!(http.status().as_u16(), kind.http_status());
        assert_eq!(http.headers().contains_key(RETRY_AFTER), kind.is_retryable(), "{kind}");
        let retryable = [429, 502, 503, 504].contains(&http.status().as_u16());
        assert_eq!(retryable, kind.is_retryable(), "{kind}: OTLP says by the status what is sent again");

        let grpc = rejection.into_grpc();
        assert_eq!(grpc.headers()["grpc-status"], kind.grpc_code().to_string());
        let retry_info = grpc.headers().contains_key("grpc-status-details-bin");
        assert_eq!(retry_info, kind.is_retryable(), "{kind}");
        // By OTLP 1.11: these are sent again, and RESOURCE_EXHAUSTED if it carries RetryInfo.
        let retryable = [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unavailable,
            Code::DataLoss,
        ];
        let code = Code::from_i32(kind.grpc_code());
        let retryable = retryable.contains(&code) || (code == Code::ResourceExhausted && retry_info);
        assert_eq!(retryable, kind.is_retryable(), "{kind}: OTLP says by the code what is sent again");
    }
}

#[test]
fn a_wait_is_rounded_up_to_a_second() {
    let mut rejection = Rejection::new(ErrorKind::Throttled, "x");
    for (millis, seconds) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (10_000_000, "3600")] {
        rejection.retry_after = Some(Duration::from_millis(millis));
        assert_eq!(rejection.retry_after_header().expect("a wait"), seconds);
    }
}

#[test]
fn a_sentence_is_cut_between_characters() {
    let message = capped("é".repeat(2_000));
    assert!(message.len() <= MESSAGE_BYTES_MAX + '…'.len_utf8() && message.ends_with('…'));
    assert_eq!(capped("short".to_owned()), "short");
}
