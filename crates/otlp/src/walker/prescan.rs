//! Counts the items that a request would become before any of them does: an empty attribute is two
//! bytes on the wire, so the size of a body bounds little. Allocates nothing.
//!
//! A body that is too short to hold too many is not read at all. What is found malformed here, the
//! walker would find malformed too; the reverse is not so. Spans are counted by the walker, scope by
//! scope before the scope's spans are built, as it steps over them there anyway: over a large body a
//! further pass costs a cache miss a span. Depth the walker refuses on its way down.

use crate::field::{any_value, array, event, key_value, link, map, resource, resource_spans};
use crate::field::{scope, scope_spans, span, traces};
use crate::wire::{Fault, RECURSION_MAX, Reader};
use crate::{DecodeError, DecodeLimits};

/// The least that an item takes on the wire: key and length.
const ITEM_BYTES_MIN: usize = 2;

/// Refuses a body with too many items, or with too many spans if it could have too many items.
pub(crate) fn prescan(body: &[u8], limits: &DecodeLimits) -> Result<(), DecodeError> {
    if body.len() / ITEM_BYTES_MIN <= limits.items_max {
        return Ok(());
    }
    let mut counter = Counter { spans: 0, items: 0, limits, exceeded: None };
    counter.traces(body).map_err(|fault| counter.exceeded.take().unwrap_or_else(|| fault.into_error(limits)))
}

struct Counter<'l> {
    spans: usize,
    items: usize,
    limits: &'l DecodeLimits,
    /// Set when a limit is exceeded; the fault that ends the scan then means nothing.
    exceeded: Option<DecodeError>,
}

/// One kind of message: which of its fields hold what counts.
type Each = fn(&mut Counter<'_>, u32, &[u8]) -> Result<(), Fault>;

impl Counter<'_> {
    fn traces(&mut self, body: &[u8]) -> Result<(), Fault> {
        self.fields(body, RECURSION_MAX, |counter, key, message| match key {
            traces::RESOURCE_SPANS => {
                counter.item()?;
                counter.resource_spans(message)
            }
            _ => Ok(()),
        })
    }

    fn resource_spans(&mut self, message: &[u8]) -> Result<(), Fault> {
        self.fields(message, RECURSION_MAX - 1, |counter, key, message| match key {
            resource_spans::SCOPE_SPANS => {
                counter.item()?;
                counter.scope_spans(message)
            }
            resource_spans::RESOURCE => counter.resource(message),
            _ => Ok(()),
        })
    }

    fn scope_spans(&mut self, message: &[u8]) -> Result<(), Fault> {
        self.fields(message, RECURSION_MAX - 2, |counter, key, message| match key {
            scope_spans::SPANS => {
                counter.span()?;
                counter.span_fields(message)
            }
            scope_spans::SCOPE => {
                counter.fields(message, RECURSION_MAX - 3, |counter, key, message| match key {
                    scope::ATTRIBUTES => counter.attribute(message, RECURSION_MAX - 4),
                    _ => Ok(()),
                })
            }
            _ => Ok(()),
        })
    }

    fn resource(&mut self, message: &[u8]) -> Result<(), Fault> {
        self.fields(message, RECURSION_MAX - 2, |counter, key, message| match key {
            resource::ATTRIBUTES => counter.attribute(message, RECURSION_MAX - 3),
            resource::ENTITY_REFS => {
                counter.item()?;
                // Its texts too: each key is one.
                counter.fields(message, RECURSION_MAX - 3, |counter, _, _| counter.item())
            }
            _ => Ok(()),
        })
    }

    fn span_fields(&mut self, message: &[u8]) -> Result<(), Fault> {
        self.fields(message, RECURSION_MAX - 3, |counter, key, message| match key {
            span::ATTRIBUTES => counter.attribute(message, RECURSION_MAX - 4),
            span::EVENTS => {
                counter.item()?;
                counter.fields(message, RECURSION_MAX - 4, |counter, key, message| match key {
                    event::ATTRIBUTES => counter.attribute(message, RECURSION_MAX - 5),
                    _ => Ok(()),
                })
            }
            span::LINKS => {
                counter.item()?;
                counter.fields(message, RECURSION_MAX - 4, |counter, key, message| match key {
                    link::ATTRIBUTES => counter.attribute(message, RECURSION_MAX - 5),
                    _ => Ok(()),
                })
            }
            _ => Ok(()),
        })
    }

    /// An attribute, or an entry of a map: itself, and what is nested in its value.
    fn attribute(&mut self, message: &[u8], recursion_left: u32) -> Result<(), Fault> {
        self.item()?;
        let mut reader = Reader::new(message);
        while let Some(key) = reader.key()? {
            match key {
                key_value::KEY => drop(reader.bytes()?),
                key_value::VALUE => self.value(reader.bytes()?, deeper(recursion_left)?)?,
                _ => reader.skip(key, recursion_left)?,
            }
        }
        Ok(())
    }

    fn value(&mut self, message: &[u8], recursion_left: u32) -> Result<(), Fault> {
        let mut reader = Reader::new(message);
        while let Some(key) = reader.key()? {
            match key {
                any_value::TEXT => drop(reader.bytes()?),
                any_value::ARRAY => self.array(reader.bytes()?, deeper(recursion_left)?)?,
                any_value::MAP => self.map(reader.bytes()?, deeper(recursion_left)?)?,
                _ => reader.skip(key, recursion_left)?,
            }
        }
        Ok(())
    }

    fn array(&mut self, message: &[u8], recursion_left: u32) -> Result<(), Fault> {
        let mut reader = Reader::new(message);
        while let Some(key) = reader.key()? {
            if key == array::VALUES {
                self.item()?;
                self.value(reader.bytes()?, deeper(recursion_left)?)?;
            } else {
                reader.skip(key, recursion_left)?;
            }
        }
        Ok(())
    }

    fn map(&mut self, message: &[u8], recursion_left: u32) -> Result<(), Fault> {
        let mut reader = Reader::new(message);
        while let Some(key) = reader.key()? {
            if key == map::VALUES {
                self.attribute(reader.bytes()?, deeper(recursion_left)?)?;
            } else {
                reader.skip(key, recursion_left)?;
            }
        }
        Ok(())
    }

    /// Hands each length-delimited field to `each` and steps over the others.
    #[inline]
    fn fields(&mut self, message: &[u8], recursion_left: u32, each: Each) -> Result<(), Fault> {
        let mut reader = Reader::new(message);
        while let Some(key) = reader.key()? {
            if key & 7 == 2 && key >> 3 != 0 {
                each(self, key, reader.bytes()?)?;
            } else {
                reader.skip(key, recursion_left)?;
            }
        }
        Ok(())
    }

    fn span(&mut self) -> Result<(), Fault> {
        self.spans += 1;
        if self.spans > self.limits.spans_max {
            self.exceeded = Some(DecodeError::TooManySpans { spans_max: self.limits.spans_max });
            return Err(Fault::Truncated);
        }
        self.item()
    }

    #[inline]
    fn item(&mut self) -> Result<(), Fault> {
        self.items += 1;
        if self.items > self.limits.items_max {
            self.exceeded = Some(DecodeError::TooManyItems { items_max: self.limits.items_max });
            return Err(Fault::Truncated);
        }
        Ok(())
    }
}

fn deeper(recursion_left: u32) -> Result<u32, Fault> {
    recursion_left.checked_sub(1).ok_or(Fault::Recursion)
}
