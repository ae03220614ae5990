//! What of spans is read: all that they have, or what a question needs. Columns without nulls are read anyway.

use std::collections::BTreeSet;

use super::column_set::ColumnSet;
use super::open::OpenSegment;
use super::schema;

/// What of spans is read. What is not reads as if the span did not have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    /// None: all.
    columns: Option<BTreeSet<String>>,
    has_generations: bool,
}

impl Projection {
    /// All that spans have.
    pub const ALL: Self = Self { columns: None, has_generations: false };

    /// What every span has, and its parent.
    pub fn least() -> Self {
        Self { columns: Some(BTreeSet::from([schema::PARENT_SPAN_ID.to_owned()])), has_generations: false }
    }

    /// The generation of each row besides.
    #[must_use]
    pub fn with_generations(mut self) -> Self {
        self.has_generations = true;
        self
    }

    /// Whether it has all of a span.
    pub fn is_all(&self) -> bool {
        self.columns.is_none()
    }

    pub(super) fn has_generations(&self) -> bool {
        self.has_generations
    }

    /// An attribute of spans: it has a column of its own, or lies with others, or some of its values do.
    pub fn add_attribute(&mut self, key: &str) {
        self.add(&schema::attribute_field_name(key));
        self.add(schema::ATTRIBUTES);
    }

    /// The message of the status.
    pub fn add_status_message(&mut self) {
        self.add(schema::STATUS_MESSAGE);
    }

    /// Events with all that they have.
    pub fn add_events(&mut self) {
        self.add(schema::EVENTS);
    }

    /// Links with all that they have.
    pub fn add_links(&mut self) {
        self.add(schema::LINKS);
    }

    fn add(&mut self, column: &str) {
        if let Some(columns) = &mut self.columns {
            columns.insert(column.to_owned());
        }
    }
}

impl OpenSegment {
    /// The file's columns that have what is to be read.
    pub(super) fn columns_of(&self, projection: &Projection) -> ColumnSet {
        let Some(columns) = &projection.columns else { return ColumnSet::ALL };
        let mut set = ColumnSet::NONE;
        for (column, field) in self.schema.fields().iter().enumerate() {
            if columns.contains(field.name()) {
                set.insert(column);
            }
        }
        set
    }
}
