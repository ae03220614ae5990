//! Attributes that have a column in a segment and none in the plan, or the other way round: the rule by which a
//! value is in its column is that of docs/formats/segment.md, whichever way it came there.

use std::collections::HashMap;

use arrow_array::{Array, ArrayRef, RecordBatch};

use crate::FormatError;
use crate::segment::columns::{AttributeColumn, AttributeType};
use crate::segment::gather::cells::AttributeCells;
use crate::segment::gather::lists;
use crate::segment::unpack::{Cells, List, Residual};
use crate::segment::{residual, schema};

/// A column that the plan has not.
#[derive(Debug)]
pub(super) struct Demoted<'r> {
    pub(super) column: &'r AttributeColumn,
    pub(super) cells: &'r ArrayRef,
}

/// The columns that are not as they are in `batch`, by their place in the plan's schema. None, where no row has
/// such an attribute.
pub(super) fn settle(
    batch: &RecordBatch,
    promoted: &HashMap<String, (usize, AttributeType)>,
    demoted: &[Demoted<'_>],
    residual_place: usize,
) -> Result<Vec<(usize, ArrayRef)>, FormatError> {
    let attributes = List::of(batch, schema::ATTRIBUTES)?.map(Residual::of).transpose()?;
    let is_promoted = |attributes: &Residual<'_>| {
        let keys = (0..attributes.keys.len()).map(|element| attributes.keys.value(element));
        !promoted.is_empty() && keys.into_iter().any(|key| promoted.contains_key(key))
    };
    if demoted.is_empty() && !attributes.as_ref().is_some_and(is_promoted) {
        return Ok(Vec::new());
    }

    let mut columns: HashMap<usize, AttributeCells> =
        promoted.values().map(|(place, kind)| (*place, AttributeCells::new(*kind))).collect();
    let mut left = lists::Residual::default();
    let mut scratch = String::new();
    let demoted: Vec<(&str, Cells<'_>)> = demoted
        .iter()
        .map(|Demoted { column, cells }| Ok((column.key.as_str(), Cells::of(cells, column.kind)?)))
        .collect::<Result<_, FormatError>>()?;
    for row in 0..batch.num_rows() {
        for (key, cells) in &demoted {
            let Some(value) = cells.value(row) else { continue };
            left.push(key, value, &mut scratch)?;
        }
        let Some(attributes) = &attributes else {
            left.end_row();
            continue;
        };
        for element in attributes.list.elements_of(row) {
            let (key, kind) = (attributes.keys.value(element), attributes.types.value(element));
            let text = attributes.values.value(element);
            if let Some((place, _)) = promoted.get(key)
                && let Some(cells) = columns.get_mut(place)
                && cells.set(row, residual::parse_value(kind, text)?.as_ref())?.is_some()
            {
                continue;
            }
            left.push_text(key, kind, text)?;
        }
        left.end_row();
    }
    let rows = batch.num_rows();
    let mut settled: Vec<_> =
        columns.into_iter().map(|(place, mut cells)| (place, cells.finish(rows))).collect();
    settled.push((residual_place, left.finish()?));
    Ok(settled)
}
