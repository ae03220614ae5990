use super::*;

#[test]
fn text_is_lower_case_and_parses_in_either_case() {
    let id: TraceId = "8B51E36EAEE3265bec099d0c5c63fd37".parse().expect("a valid ID");
    assert_eq!(id.to_string(), "8b51e36eaee3265bec099d0c5c63fd37");
    assert_eq!(TraceId::from_bytes(id.as_bytes()), Some(id));
}

#[test]
fn short_text_is_padded_on_the_left() {
    let id: TraceId = "abc".parse().expect("a valid ID");
    assert_eq!(id.to_string(), "00000000000000000000000000000abc");
    let id: SpanId = "1f".parse().expect("a valid ID");
    assert_eq!(id.to_string(), "000000000000001f");
}

#[test]
fn what_is_no_identifier_is_refused() {
    let too_long = "8b51e36eaee3265bec099d0c5c63fd370";
    assert_eq!(too_long.parse::<TraceId>(), Err(ParseIdError::Length { digits: 33, max_digits: 32 }));
    assert_eq!("".parse::<TraceId>(), Err(ParseIdError::Length { digits: 0, max_digits: 32 }));
    assert_eq!("xyz".parse::<TraceId>(), Err(ParseIdError::Digit));
    assert_eq!("é1".parse::<SpanId>(), Err(ParseIdError::Digit));
    assert_eq!("0000".parse::<TraceId>(), Err(ParseIdError::Zero));
    assert_eq!(TraceId::from_bytes(&[0; 16]), None);
    assert_eq!(TraceId::from_bytes(&[1; 15]), None);
    assert_eq!(SpanId::from_bytes(&[1; 9]), None);
}
