//! One request to one batch, in either encoding, with buffers and memories that outlive it.

use std::sync::Arc;

use tracelake_model::{Resource, Scope, SpanBatch, SpanBatchBuilder};

use crate::memo::Memo;
use crate::walker::{Walker, prescan};
use crate::wire::Fault;
use crate::{DecodeError, DecodeLimits, Rejections, json};

/// Decodes requests one after the other. It keeps its buffers, and what it learned of the senders'
/// resources and scopes; all of that is bounded.
#[derive(Debug, Default)]
pub struct Decoder {
    builder: SpanBatchBuilder,
    resources: Memo<Resource>,
    scopes: Memo<Scope>,
}

/// What a request held.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The spans that were taken, in the order of the request.
    pub batch: SpanBatch,
    /// Those that were not.
    pub rejections: Rejections,
}

impl Decoder {
    /// An empty decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes an `ExportTraceServiceRequest` (or `TracesData`) in protobuf.
    ///
    /// # Errors
    /// If the bytes are not that message, or one of the first three limits is exceeded.
    pub fn decode_protobuf(&mut self, body: &[u8], limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
        prescan(body, limits)?;
        self.resources.next_request();
        self.scopes.next_request();
        let mut walker = Walker::new(&mut self.builder, &mut self.resources, &mut self.scopes, limits);
        if let Err(fault) = walker.traces(body) {
            self.builder.clear();
            return Err(fault.into_error(limits));
        }
        let rejections = walker.rejections;
        let mut batch = self.builder.try_finish().map_err(|error| Fault::from(error).into_error(limits))?;
        if !rejections.is_empty() {
            batch = self.rebuild(&batch, |_| true);
        }
        Ok(Decoded { batch, rejections })
    }

    /// Decodes an `ExportTraceServiceRequest` (or `TracesData`) in OTLP's JSON.
    ///
    /// # Errors
    /// If the text is not that object, or one of the first three limits is exceeded.
    pub fn decode_json(&mut self, body: &[u8], limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
        let outcome = match json::read_request(body, &mut self.builder, limits) {
            Ok(outcome) => outcome,
            Err(error) => {
                self.builder.clear();
                return Err(error);
            }
        };
        let mut batch = self.builder.finish();
        let (rejections, dropped) = outcome.settle(batch.len());
        if !rejections.is_empty() {
            batch = self.rebuild(&batch, |row| dropped.get(row) != Some(&true));
        }
        Ok(Decoded { batch, rejections })
    }

    /// The batch without what spans that were not kept have left in its heaps, and without the rows
    /// that `keep` does not want.
    fn rebuild(&mut self, batch: &SpanBatch, keep: impl Fn(usize) -> bool) -> SpanBatch {
        let mut resources = vec![None; batch.resources().len()];
        let mut scopes = vec![None; batch.scopes().len()];
        for span in batch.spans().filter(|span| keep(span.row())) {
            let resource = *resources[span.resource_index()]
                .get_or_insert_with(|| self.builder.resource(Arc::clone(span.resource())));
            let scope = *scopes[span.scope_index()]
                .get_or_insert_with(|| self.builder.scope(Arc::clone(span.scope())));
            self.builder.copy_span(span, resource, scope);
        }
        self.builder.finish()
    }
}
