//! The names of a part's spans by the service that their resource names.

use bytes::Bytes;

use super::bytes::{Reader, put_varint};
use super::{OPERATIONS_MAX, TEXT_BYTES_MAX, damaged};
use crate::FormatError;

/// A service, which is none where a resource names none, and its names with how many traces have such a span.
type OfService = (Option<Box<str>>, Vec<(Box<str>, u32)>);

/// The operations of a part.
#[derive(Debug, PartialEq, Eq)]
pub struct Operations {
    is_complete: bool,
    /// In order, as their names are.
    services: Vec<OfService>,
}

/// From operations that are sorted.
pub(super) fn write(is_complete: bool, operations: &[(Option<&str>, &str, u32)]) -> Vec<u8> {
    let mut out = vec![u8::from(is_complete)];
    if !is_complete {
        return out;
    }
    let services: Vec<_> = operations.chunk_by(|a, b| a.0 == b.0).collect();
    put_varint(&mut out, services.len() as u64);
    for of_service in services {
        if let Some((service, ..)) = of_service.first() {
            put_varint(&mut out, service.map_or(0, |service| service.len() as u64 + 1));
            out.extend_from_slice(service.unwrap_or_default().as_bytes());
        }
        put_varint(&mut out, of_service.len() as u64);
        let mut before = "";
        for (_, name, traces) in of_service {
            let shared = before.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
            let (_, rest) = name.as_bytes().split_at_checked(shared).unwrap_or_default();
            put_varint(&mut out, shared as u64);
            put_varint(&mut out, rest.len() as u64);
            out.extend_from_slice(rest);
            put_varint(&mut out, u64::from(*traces));
            before = name;
        }
    }
    out
}

impl Operations {
    /// From the bytes of [`operations_range`](super::IndexHeader::operations_range).
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if they are none.
    pub fn read(bytes: &Bytes) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let is_complete = reader.byte()? == 1;
        // A service has a length and a name at least, and a name three numbers.
        let services = if is_complete { reader.count(2)? } else { 0 };
        let services = (0..services).map(|_| of_service(&mut reader)).collect::<Result<Vec<_>, _>>()?;
        let are_sorted = services.is_sorted_by(|a, b| a.0 < b.0);
        let count: usize = services.iter().map(|(_, names)| names.len()).sum();
        if !are_sorted || count > OPERATIONS_MAX || !reader.rest.is_empty() {
            return Err(damaged("the operations of a part contradict themselves"));
        }
        Ok(Self { is_complete, services })
    }

    /// Whether these are all of the part. If not there are none.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The names of spans whose resource names this service, or none; and how many traces have such a span.
    pub fn of_service(&self, service: Option<&str>) -> impl Iterator<Item = (&str, u32)> {
        let found = self.services.binary_search_by(|(other, _)| other.as_deref().cmp(&service));
        let names = found.ok().and_then(|at| self.services.get(at)).map(|(_, names)| names.as_slice());
        names.unwrap_or_default().iter().map(|(name, traces)| (&**name, *traces))
    }
}

fn of_service(reader: &mut Reader<'_>) -> Result<OfService, FormatError> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| damaged("an operation is not UTF-8"));
    let service = match reader.varint()? {
        0 => None,
        len => {
            let len = usize::try_from(len - 1).ok().filter(|len| *len <= TEXT_BYTES_MAX);
            let len = len.ok_or_else(|| reader.damaged())?;
            Some(text(reader.take(len)?.to_vec())?.into_boxed_str())
        }
    };
    let mut names: Vec<(Box<str>, u32)> = Vec::new();
    let count = reader.count(3)?.min(OPERATIONS_MAX + 1);
    for _ in 0..count {
        let before = names.last().map(|(name, _)| name.as_bytes()).unwrap_or_default();
        let shared = reader.at_most(before.len())?;
        let mut name = before.get(..shared).unwrap_or_default().to_vec();
        name.extend_from_slice(reader.sized()?);
        if name.len() > TEXT_BYTES_MAX {
            return Err(reader.damaged());
        }
        let name = text(name)?.into_boxed_str();
        let traces = u32::try_from(reader.varint()?).map_err(|_| reader.damaged())?;
        if names.last().is_some_and(|(before, _)| *before >= name) {
            return Err(damaged("the operations of a service are not in order"));
        }
        names.push((name, traces));
    }
    Ok((service, names))
}

#[cfg(test)]
mod tests;
