//! Spans of other batches in a batch of their own, with the resources and scopes that they share.

use std::collections::HashMap;
use std::sync::Arc;

use tracelake_model::{SpanBatch, SpanBatchBuilder, SpanView};

/// A batch that is being put together.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    builder: SpanBatchBuilder,
    /// The numbers of resources and scopes in it, by address: kept alive by the builder.
    resources: HashMap<usize, u32>,
    scopes: HashMap<usize, u32>,
}

impl Copies {
    pub(crate) fn push(&mut self, span: SpanView<'_>) {
        let resource = *self
            .resources
            .entry(Arc::as_ptr(span.resource()).addr())
            .or_insert_with(|| self.builder.resource(Arc::clone(span.resource())));
        let scope = *self
            .scopes
            .entry(Arc::as_ptr(span.scope()).addr())
            .or_insert_with(|| self.builder.scope(Arc::clone(span.scope())));
        self.builder.copy_span(span, resource, scope);
    }

    pub(crate) fn len(&self) -> usize {
        self.builder.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    /// What its spans take.
    pub(crate) fn content_bytes(&self) -> usize {
        self.builder.content_bytes()
    }

    pub(crate) fn finish(mut self) -> SpanBatch {
        self.builder.finish()
    }
}
