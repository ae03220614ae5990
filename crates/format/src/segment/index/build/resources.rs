//! What the spans of a resource in a trace are like: how long at most, and whether one of them failed.

use crate::segment::index::bytes::pack;
use crate::segment::index::trace_table::duration_byte;

/// Of a span, or of several.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spans {
    /// An upper bound, as it is written.
    duration: u8,
    has_error: bool,
}

impl Spans {
    pub(super) fn of(duration_nano: i64, is_error: bool) -> Self {
        Self {
            duration: duration_byte(u64::try_from(duration_nano).unwrap_or_default()),
            has_error: is_error,
        }
    }
}

/// By resource, then by trace.
#[derive(Debug, Default)]
pub(super) struct SpansOfResources {
    spans: Vec<Vec<(u32, Spans)>>,
    bytes: usize,
}

impl SpansOfResources {
    /// Adds a span of a trace, which is the last of its part so far.
    #[inline]
    pub(super) fn add(&mut self, resource: u32, trace: u32, span: Spans) {
        let resource = resource as usize;
        if resource >= self.spans.len() {
            self.spans.resize_with(resource + 1, Vec::new);
        }
        let Some(of_resource) = self.spans.get_mut(resource) else { return };
        match of_resource.last_mut() {
            Some((last, spans)) if *last == trace => {
                spans.duration = spans.duration.max(span.duration);
                spans.has_error |= span.has_error;
            }
            _ => {
                of_resource.push((trace, span));
                self.bytes += size_of::<(u32, Spans)>();
            }
        }
    }

    /// Appends what there is of a resource, by its traces in order.
    pub(super) fn write(&self, resource: usize, out: &mut Vec<u8>) {
        let of_resource = self.spans.get(resource).map(Vec::as_slice).unwrap_or_default();
        out.extend(of_resource.iter().map(|(_, spans)| spans.duration));
        pack(out, of_resource.iter().map(|(_, spans)| u64::from(spans.has_error)), 1);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
