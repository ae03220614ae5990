//! Has rows in the processor's caches before they are worked with.
//!
//! Rows that lie anywhere in memory cost a wait for each of their cache lines, one after the other, when each is
//! worked with as it comes. Loops that do nothing but read wait for many lines at once.

use std::hint::black_box;

use super::attribute::{Attribute, Tag};
use super::view::SpanView;

/// Attributes in a cache line.
const ATTRIBUTES_OF_LINE: usize = 64 / size_of::<Attribute>();

/// Attributes of a span that are brought near: those of one that has thousands would push out all others.
const ATTRIBUTES_MAX: usize = 64;

/// Reads a little of all that these spans have once, and of their attributes. Few at a time: what is read shall
/// still be there when it is asked for.
pub fn bring_near(spans: &[SpanView<'_>]) {
    let mut sum = 0;
    for span in spans {
        let row = span.fields();
        sum ^= row.links_end ^ row.scalars.flags ^ u32::from(row.scalars.trace_id.as_bytes()[0]);
        sum ^= span.before().map_or(0, |before| before.attributes_end);
    }
    // Where those lie stands in the rows, and is known by now.
    for span in spans {
        let attributes = first_attributes(span);
        let of_lines = attributes.iter().step_by(ATTRIBUTES_OF_LINE).chain(attributes.last());
        sum ^= of_lines.fold(0, |sum, attribute| sum ^ attribute.key().0);
        sum ^= span.batch().terms().get(span.fields().scalars.name).len() as u32;
    }
    for span in spans {
        sum ^= span.name().bytes().next().map_or(0, u32::from);
        let heap = span.batch().text_heap.as_bytes();
        for attribute in first_attributes(span) {
            if attribute.tag() == Tag::Text {
                let (start, len) = attribute.range();
                let at = |place: u32| heap.get(place as usize).map_or(0, |byte| u32::from(*byte));
                sum ^= at(start) ^ at(start + len.saturating_sub(1));
            }
        }
    }
    black_box(sum);
}

fn first_attributes<'a>(span: &SpanView<'a>) -> &'a [Attribute] {
    let attributes = span.attributes().as_slice();
    attributes.get(..ATTRIBUTES_MAX).unwrap_or(attributes)
}
