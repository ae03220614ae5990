//! Bounds the resources and scopes of a row group. Its dictionaries have each of them once, and every
//! lookup decodes those dictionaries.

use super::rows::Shared;

/// The bytes of resources and scopes after which a row group ends. A fleet of a thousand hosts with 2 KB
/// each still fills its row groups; more would be more for each lookup to read.
const ROW_GROUP_BYTES_MAX: usize = 4 << 20;

/// Rows that a row group has before it ends so. A few very large resources, of which neighbouring traces
/// have all, would else be written anew every few rows.
const ROW_GROUP_ROWS_MIN: usize = 1_024;

/// Which resources and scopes the rows of the row group have so far.
#[derive(Debug)]
pub(super) struct SharedTexts {
    row_group: u32,
    /// By resource, by scope: the row group that had it last.
    resources: Vec<u32>,
    scopes: Vec<u32>,
    bytes: usize,
}

impl SharedTexts {
    pub(super) fn new() -> Self {
        Self { row_group: 1, resources: Vec::new(), scopes: Vec::new(), bytes: 0 }
    }

    pub(super) fn begin_row_group(&mut self) {
        self.row_group += 1;
        self.bytes = 0;
    }

    /// Adds what a row refers to, unless the row group should end before it, which has `rows` so far.
    #[inline]
    pub(super) fn add(&mut self, shared: &Shared, resource: u32, scope: u32, rows: usize) -> bool {
        let new_bytes = new_bytes(&self.resources, self.row_group, &shared.resources.texts, resource)
            + new_bytes(&self.scopes, self.row_group, &shared.scopes.texts, scope);
        if new_bytes == 0 {
            return true;
        }
        if rows >= ROW_GROUP_ROWS_MIN && self.bytes + new_bytes > ROW_GROUP_BYTES_MAX {
            return false;
        }
        self.bytes += new_bytes;
        for (seen, place) in [(&mut self.resources, resource as usize), (&mut self.scopes, scope as usize)] {
            if seen.len() <= place {
                seen.resize(place + 1, 0);
            }
            if let Some(row_group) = seen.get_mut(place) {
                *row_group = self.row_group;
            }
        }
        true
    }
}

#[inline]
fn new_bytes(seen: &[u32], row_group: u32, texts: &[String], place: u32) -> usize {
    let place = place as usize;
    let is_new = seen.get(place) != Some(&row_group);
    if is_new { texts.get(place).map_or(0, String::len) } else { 0 }
}
