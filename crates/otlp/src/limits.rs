//! What one request, span and value may have. The numbers and their reasons stand in
//! `tracelake_model::limits`.

use tracelake_model::limits;

/// Limits of decoding. The first three refuse a request, the others a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Spans of one request.
    pub spans_max: usize,
    /// Resources, scopes, spans, events, links and attributes of one request, elements of arrays and
    /// maps included.
    pub items_max: usize,
    /// Levels of arrays and maps in one value.
    pub value_depth_max: usize,
    /// Bytes of one attribute's value: of the text, of the bytes, or of a nested value's protobuf
    /// encoding.
    pub attribute_value_bytes_max: usize,
    /// Elements of arrays and maps in one attribute's value, at all its levels together.
    pub value_elements_max: usize,
    /// Attributes of one span, event, link, resource or scope.
    pub attributes_max: usize,
    /// Events of one span.
    pub span_events_max: usize,
    /// Links of one span.
    pub span_links_max: usize,
    /// Bytes of one resource, and of one scope: of its protobuf encoding, whichever encoding it came in,
    /// and of its schema URL.
    pub resource_bytes_max: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        // No default exceeds 32 bits.
        Self {
            spans_max: limits::REQUEST_SPANS_MAX as usize,
            items_max: limits::REQUEST_ITEMS_MAX as usize,
            value_depth_max: limits::VALUE_DEPTH_MAX as usize,
            attribute_value_bytes_max: limits::ATTRIBUTE_VALUE_BYTES_MAX as usize,
            value_elements_max: limits::VALUE_ELEMENTS_MAX as usize,
            attributes_max: limits::ATTRIBUTES_MAX as usize,
            span_events_max: limits::SPAN_EVENTS_MAX as usize,
            span_links_max: limits::SPAN_LINKS_MAX as usize,
            resource_bytes_max: limits::RESOURCE_BYTES_MAX as usize,
        }
    }
}

impl DecodeLimits {
    /// For what was accepted before, perhaps under other limits: nothing of it may be refused now.
    /// Depth stays bounded, by more than protobuf's own recursion limit lets through.
    pub fn recovery() -> Self {
        Self {
            spans_max: usize::MAX,
            items_max: usize::MAX,
            value_depth_max: 100,
            attribute_value_bytes_max: usize::MAX,
            value_elements_max: usize::MAX,
            attributes_max: usize::MAX,
            span_events_max: usize::MAX,
            span_links_max: usize::MAX,
            resource_bytes_max: usize::MAX,
        }
    }
}
