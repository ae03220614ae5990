//! Reading just enough protobuf for answers of a few fields and for counting spans, without
//! generated code. Unknown fields are passed over; groups, which nobody sends, are malformed.

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1, little-endian.
    Fixed64(u64),
    /// Wire type 2: text, bytes, a message, packed numbers.
    Bytes(&'a [u8]),
    /// Wire type 5, little-endian.
    Fixed32(u32),
}

/// Bytes that are no protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no protobuf message")]
pub(crate) struct MalformedMessage;

/// The fields of one message, in order.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Over the bytes of `message`, without its length.
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let (value, len) = read_varint(self.rest)?;
        self.take(len)?;
        Some(value)
    }

    fn field(&mut self) -> Option<(u32, Field<'a>)> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number != 0)?;
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(len)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((number, field))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), MalformedMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field().ok_or(MalformedMessage);
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// The base-128 number at the start of `bytes`, and how many bytes it takes; `None` if it is cut off
/// or has more than 64 bits.
pub(crate) fn read_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (place, byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if place == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, place + 1));
        }
    }
    None
}

/// Calls `each` with the bytes of every span of an `ExportTraceServiceRequest` or `TracesData`.
pub(crate) fn for_each_span<'a>(
    message: &'a [u8],
    mut each: impl FnMut(&'a [u8]) -> Result<(), MalformedMessage>,
) -> Result<(), MalformedMessage> {
    for resource_spans in messages(message, 1) {
        for scope_spans in messages(resource_spans?, 2) {
            for span in messages(scope_spans?, 2) {
                each(span?)?;
            }
        }
    }
    Ok(())
}

/// How many spans an `ExportTraceServiceRequest` or `TracesData` holds.
pub(crate) fn count_spans(message: &[u8]) -> Result<u64, MalformedMessage> {
    let mut spans = 0;
    for_each_span(message, |_| {
        spans += 1;
        Ok(())
    })?;
    Ok(spans)
}

/// The trace and the span ID of one encoded span, as they are; empty where absent.
pub(crate) fn span_ids(span: &[u8]) -> Result<(&[u8], &[u8]), MalformedMessage> {
    let mut ids: (&[u8], &[u8]) = (&[], &[]);
    for field in Fields::new(span) {
        match field? {
            (1, Field::Bytes(id)) => ids.0 = id,
            (2, Field::Bytes(id)) => ids.1 = id,
            _ => {}
        }
    }
    Ok(ids)
}

fn messages(message: &[u8], number: u32) -> impl Iterator<Item = Result<&[u8], MalformedMessage>> {
    Fields::new(message).filter_map(move |field| match field {
        Ok((found, Field::Bytes(bytes))) if found == number => Some(Ok(bytes)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// What an `ExportTraceServiceResponse` says beside success.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PartialSuccess {
    /// Spans that the server did not take.
    pub(crate) rejected_spans: u64,
    /// Why, or a warning.
    pub(crate) message: Option<String>,
}

/// Reads an `ExportTraceServiceResponse`.
pub(crate) fn partial_success(response: &[u8]) -> Result<PartialSuccess, MalformedMessage> {
    let mut said = PartialSuccess::default();
    for partial in messages(response, 1) {
        for field in Fields::new(partial?) {
            match field? {
                (1, Field::Varint(spans)) => said.rejected_spans = spans,
                (2, Field::Bytes(text)) => said.message = some_text(text),
                _ => {}
            }
        }
    }
    Ok(said)
}

/// The message of a `google.rpc.Status`.
pub(crate) fn status_message(status: &[u8]) -> Option<String> {
    Fields::new(status).find_map(|field| match field {
        Ok((2, Field::Bytes(text))) => some_text(text),
        _ => None,
    })
}

/// The delay of the `google.rpc.RetryInfo` among the details of a `google.rpc.Status`.
pub(crate) fn retry_delay(status: &[u8]) -> Option<std::time::Duration> {
    messages(status, 3).flatten().find_map(|any| {
        let type_url = messages(any, 1).flatten().next()?;
        if !type_url.ends_with(b"/google.rpc.RetryInfo") {
            return None;
        }
        let info = messages(any, 2).flatten().next().unwrap_or_default();
        let mut delay = std::time::Duration::ZERO;
        for field in messages(info, 1).flatten().flat_map(Fields::new) {
            match field.ok()? {
                (1, Field::Varint(seconds)) => delay += std::time::Duration::from_secs(seconds.min(3600)),
                (2, Field::Varint(nanos)) => {
                    delay += std::time::Duration::from_nanos(nanos.min(999_999_999));
                }
                _ => {}
            }
        }
        Some(delay)
    })
}

fn some_text(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests;
