//! The names of a part's spans by service.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::terms::TermTable;
use crate::segment::index::operations::write;
use crate::segment::index::{OPERATIONS_MAX, TEXT_BYTES_MAX};

/// What an operation or a service takes beside its text, roughly.
const ENTRY_BYTES: usize = 64;

#[derive(Debug)]
struct Operation {
    last_trace: u32,
    traces: u32,
}

#[derive(Debug, Default)]
pub(super) struct OperationTable {
    /// With their places.
    services: HashMap<Option<Box<str>>, u32, RandomState>,
    /// By resource; none of one that is left out.
    service_of: Vec<Option<u32>>,
    /// By service, and by the term that is the name. None once there are too many.
    operations: HashMap<(u32, u32), Operation, RandomState>,
    are_too_many: bool,
    bytes: usize,
}

impl OperationTable {
    /// The next resource.
    pub(super) fn push_resource(&mut self, service: Option<&str>) {
        let is_listed = service.is_none_or(|service| service.len() <= TEXT_BYTES_MAX);
        let place = is_listed.then(|| {
            let next = self.services.len() as u32;
            *self.services.entry(service.map(Box::from)).or_insert(next)
        });
        self.service_of.push(place);
        self.bytes += ENTRY_BYTES + service.map_or(0, str::len);
    }

    /// Adds a span of a resource, in the last trace so far.
    #[inline]
    pub(super) fn add(&mut self, resource: u32, name: u32, trace: u32) {
        let service = self.service_of.get(resource as usize).copied().flatten();
        let Some(service) = service.filter(|_| !self.are_too_many) else { return };
        let next = Operation { last_trace: trace, traces: 0 };
        let operation = self.operations.entry((service, name)).or_insert(next);
        if operation.traces == 0 || operation.last_trace != trace {
            (operation.last_trace, operation.traces) = (trace, operation.traces + 1);
        }
        if self.operations.len() > OPERATIONS_MAX {
            self.operations = HashMap::default();
            self.are_too_many = true;
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.operations.len() * ENTRY_BYTES
    }

    /// The block that lists them.
    pub(super) fn write(&self, terms: &TermTable) -> Vec<u8> {
        let services: HashMap<u32, Option<&str>> =
            self.services.iter().map(|(service, place)| (*place, service.as_deref())).collect();
        let name = |term: u32| std::str::from_utf8(terms.term(terms.terms().get(term as usize)?)).ok();
        let listed = self.operations.iter().filter_map(|((service, term), operation)| {
            Some((*services.get(service)?, name(*term)?, operation.traces))
        });
        let mut listed: Vec<_> = listed.collect();
        listed.sort_unstable();
        write(!self.are_too_many, &listed)
    }
}
