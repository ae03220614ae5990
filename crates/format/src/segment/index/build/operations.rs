//! The names of a part's spans by service.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::segment::index::operations::write;
use crate::segment::index::{OPERATIONS_MAX, TEXT_BYTES_MAX};

/// What an operation, a name or a service takes beside its text, roughly.
const ENTRY_BYTES: usize = 64;

/// Texts by their places, and the other way round.
#[derive(Debug, Default)]
struct Texts<T> {
    places: HashMap<T, u32, RandomState>,
}

#[derive(Debug)]
struct Operation {
    last_trace: u32,
    traces: u32,
}

#[derive(Debug, Default)]
pub(super) struct OperationTable {
    services: Texts<Option<Box<str>>>,
    names: Texts<Box<str>>,
    /// By resource; none of one that is left out.
    service_of: Vec<Option<u32>>,
    /// By service and name. None once there are too many.
    operations: HashMap<(u32, u32), Operation, RandomState>,
    are_too_many: bool,
    bytes: usize,
}

impl OperationTable {
    /// The next resource.
    pub(super) fn push_resource(&mut self, service: Option<&str>) {
        let is_listed = service.is_none_or(|service| service.len() <= TEXT_BYTES_MAX);
        let place = is_listed.then(|| {
            let next = self.services.places.len() as u32;
            *self.services.places.entry(service.map(Box::from)).or_insert(next)
        });
        self.service_of.push(place);
        self.bytes += ENTRY_BYTES + service.map_or(0, str::len);
    }

    /// Adds a span of a resource, in the last trace so far.
    #[inline]
    pub(super) fn add(&mut self, resource: u32, name: &str, trace: u32) {
        let service = self.service_of.get(resource as usize).copied().flatten();
        let Some(service) = service.filter(|_| !self.are_too_many && name.len() <= TEXT_BYTES_MAX) else {
            return;
        };
        let name = match self.names.places.get(name) {
            Some(place) => *place,
            None => {
                let next = self.names.places.len() as u32;
                self.bytes += ENTRY_BYTES + name.len();
                self.names.places.insert(name.into(), next);
                next
            }
        };
        let next = Operation { last_trace: trace, traces: 0 };
        let operation = self.operations.entry((service, name)).or_insert(next);
        if operation.traces == 0 || operation.last_trace != trace {
            (operation.last_trace, operation.traces) = (trace, operation.traces + 1);
        }
        if self.operations.len() > OPERATIONS_MAX {
            let services = std::mem::take(&mut self.services);
            let service_of = std::mem::take(&mut self.service_of);
            *self = Self { services, service_of, are_too_many: true, ..Self::default() };
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The block that lists them.
    pub(super) fn write(&self) -> Vec<u8> {
        let services: HashMap<u32, Option<&str>> =
            self.services.places.iter().map(|(service, place)| (*place, service.as_deref())).collect();
        let names: HashMap<u32, &str> =
            self.names.places.iter().map(|(name, place)| (*place, &**name)).collect();
        let listed = self.operations.iter().filter_map(|((service, name), operation)| {
            Some((*services.get(service)?, *names.get(name)?, operation.traces))
        });
        let mut listed: Vec<_> = listed.collect();
        listed.sort_unstable();
        write(!self.are_too_many, &listed)
    }
}
