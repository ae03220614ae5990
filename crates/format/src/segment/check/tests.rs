use std::sync::Arc;

use tracelake_model::{Owner, Resource, Scope, SpanBatchBuilder, SpanId, SpanScalars, TenantId, TraceId};

use super::*;
use crate::checksum::ChecksumTable;
use crate::segment::column_set::ColumnSet;
use crate::segment::{AttributeColumns, AttributeCounts, SegmentInput, SegmentWriterOptions, write_segment};

/// One span with something in every column that may be empty.
fn batch() -> tracelake_model::SpanBatch {
    let mut builder = SpanBatchBuilder::new();
    let resource = builder.resource(Arc::new(Resource::default()));
    let scope = builder.scope(Arc::new(Scope::default()));
    let [key, text] = ["key", "text"].map(|text| builder.known_term(text));
    builder.push_int(Owner::Span, key, 1);
    // The second has no place in the column.
    builder.push_int(Owner::Span, key, 2);
    builder.finish_event(1, text, 0);
    builder.finish_link(&[1; 16], &[1; 8], text, 0, 0);
    let id = SpanId::from_bytes(&[1; 8]).expect("not zero");
    let trace_id = TraceId::from_bytes(&[1; 16]).expect("not zero");
    builder.finish_span(SpanScalars {
        parent_span_id: Some(id),
        name: text,
        trace_state: text,
        status_message: text,
        resource,
        scope,
        ..SpanScalars::new(trace_id, id)
    });
    builder.finish()
}

#[test]
fn a_directory_that_denies_a_column_is_found_out() {
    let batch = batch();
    let mut columns = AttributeColumns::default();
    columns.extend_from(&AttributeCounts::of([&batch]));
    let tenants = vec![(TenantId::default(), vec![(&batch, 1)])];
    let input = SegmentInput { segment_id: ulid::Ulid::nil(), tenants };
    let written = write_segment(&input, &columns, &SegmentWriterOptions::default()).expect("valid spans");
    let tail = written.bytes.slice(OpenSegment::tail_range(&written.meta).start as usize..);
    let opened = OpenSegment::open(&written.meta, tail).expect("own bytes");
    assert_eq!(opened.check(&written.bytes), Vec::<String>::new());

    let block = opened.directory.blocks().first().expect("one");
    let range = block.range();
    let bytes = written.bytes.slice(range.start as usize..range.end as usize);
    let block = opened.directory_block(&range, &bytes).expect("own bytes");
    let entry = block.entries().next().expect("one");
    let fields = opened.schema.fields();
    let mut denied = Vec::new();
    for (column, field) in fields.iter().enumerate().filter(|(_, field)| field.is_nullable()) {
        let without = u128::from_le_bytes(entry.columns.to_le_bytes()) & !(1 << column);
        let entry = TraceEntry { columns: ColumnSet::from_le_bytes(without.to_le_bytes()), ..entry.clone() };
        let mut check = Check::of(&opened, &written.bytes);
        check.rows(&[entry]);
        if let [finding] = check.findings.as_slice() {
            assert!(finding.ends_with(&format!("has nothing in {}", field.name())), "{finding}");
            denied.push(field.name().as_str());
        }
    }
    // The service is derived, and not read.
    assert_eq!(
        denied,
        ["parent_span_id", "status_message", "trace_state", "attr.key", "attributes", "events", "links"]
    );
}

#[test]
fn an_index_that_is_not_that_of_its_rows_is_found_out() {
    let batch = batch();
    let tenants = vec![(TenantId::default(), vec![(&batch, 1)])];
    let input = SegmentInput { segment_id: ulid::Ulid::nil(), tenants };
    let options = SegmentWriterOptions::default();
    let written = write_segment(&input, &AttributeColumns::default(), &options).expect("valid spans");
    let tail = written.bytes.slice(OpenSegment::tail_range(&written.meta).start as usize..);
    let opened = OpenSegment::open(&written.meta, tail.clone()).expect("own bytes");
    assert_eq!(opened.check(&written.bytes), Vec::<String>::new());

    let part = opened.index_parts()[0];
    let range = part.range();
    for at in range.start as usize..range.end as usize {
        let mut file = written.bytes.to_vec();
        file[at] ^= 1;
        let mut whole = WholeSegment::open(&written.meta, tail.clone()).expect("own bytes");
        whole.segment.checksums = ChecksumTable::of(&file[..written.meta.checksums.offset as usize]);
        let found = Check::of(&opened, &file.into()).part(&part, &Arc::new(whole), &mut 0);
        assert_eq!(found, Err("it is not that of its rows".to_owned()), "byte {at}");
    }
}
