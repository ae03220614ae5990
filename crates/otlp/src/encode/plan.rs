//! In which order spans are written: by resource, by scope, each in order of first occurrence.

use std::collections::HashMap;

use tracelake_model::{SpanBatch, SpanView};

use super::protobuf;

/// A span's place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    /// Number of the resource's content.
    pub(super) resource: u32,
    /// Number of the scope's content within the resource's.
    pub(super) scope: u32,
    /// Where the span stood.
    pub(super) index: u32,
}

impl Placed {
    pub(super) fn same_group(self, other: Self) -> bool {
        self.resource == other.resource && self.scope == other.scope
    }
}

/// Numbers contents by their encoding, in order of first occurrence. A batch's resource is encoded
/// once, however many spans refer to it.
#[derive(Default)]
struct Numbers {
    by_content: HashMap<Vec<u8>, u32>,
    by_place: HashMap<(*const SpanBatch, usize), u32>,
}

impl Numbers {
    fn number(&mut self, batch: &SpanBatch, index: usize, encode: impl FnOnce(&mut Vec<u8>)) -> u32 {
        *self.by_place.entry((batch, index)).or_insert_with(|| {
            let mut content = Vec::new();
            encode(&mut content);
            let next = self.by_content.len() as u32;
            *self.by_content.entry(content).or_insert(next)
        })
    }
}

/// The spans' places, sorted.
pub(super) fn plan<'b>(spans: impl Iterator<Item = SpanView<'b>>) -> Vec<Placed> {
    let mut resources = Numbers::default();
    let mut scopes = Numbers::default();
    let mut groups: HashMap<(u32, u32), u32> = HashMap::new();
    let mut plan: Vec<Placed> = Vec::with_capacity(spans.size_hint().0);
    let mut last: Option<(SpanView<'b>, Placed)> = None;
    for (index, span) in spans.enumerate() {
        let index = index as u32;
        let placed = match last {
            Some((neighbour, placed)) if same_owners(&neighbour, &span) => Placed { index, ..placed },
            _ => {
                let resource = resources.number(span.batch(), span.resource_index(), |out| {
                    protobuf::resource_content(out, span.resource());
                });
                let scope = scopes.number(span.batch(), span.scope_index(), |out| {
                    protobuf::scope_content(out, span.scope());
                });
                let next = groups.len() as u32;
                let scope = *groups.entry((resource, scope)).or_insert(next);
                Placed { resource, scope, index }
            }
        };
        last = Some((span, placed));
        plan.push(placed);
    }
    plan.sort_by_key(|placed| (placed.resource, placed.scope));
    plan
}

fn same_owners(a: &SpanView<'_>, b: &SpanView<'_>) -> bool {
    std::ptr::eq(a.batch(), b.batch())
        && a.resource_index() == b.resource_index()
        && a.scope_index() == b.scope_index()
}
