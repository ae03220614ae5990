//! The distinct resources of a part, or its scopes, and the traces of each.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::segment::index::postings;

#[derive(Debug, Default)]
pub(super) struct Owners {
    places: HashMap<Box<str>, u32, RandomState>,
    /// By owner.
    traces: Vec<Vec<u32>>,
    bytes: usize,
}

impl Owners {
    pub(super) fn len(&self) -> usize {
        self.traces.len()
    }

    /// The ordinal of a text, and whether it is new.
    pub(super) fn place(&mut self, text: &str) -> (u32, bool) {
        if let Some(place) = self.places.get(text) {
            return (*place, false);
        }
        let place = self.traces.len() as u32;
        self.bytes += text.len() + size_of::<(Box<str>, u32, Vec<u32>)>();
        self.places.insert(text.into(), place);
        self.traces.push(Vec::new());
        (place, true)
    }

    /// Adds a trace, which is the last of its part so far.
    #[inline]
    pub(super) fn add(&mut self, place: u32, trace: u32) {
        if let Some(traces) = self.traces.get_mut(place as usize)
            && traces.last() != Some(&trace)
        {
            traces.push(trace);
            self.bytes += size_of::<u32>();
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The block that says which traces each has, of so many traces, and what `write_more` writes behind them.
    pub(super) fn write(&self, traces: u32, write_more: impl Fn(usize, &mut Vec<u8>)) -> Vec<u8> {
        let (mut offsets, mut sets) = (Vec::new(), Vec::new());
        for (place, of_owner) in self.traces.iter().enumerate() {
            offsets.extend_from_slice(&(sets.len() as u32).to_le_bytes());
            postings::write(&mut sets, of_owner, traces);
            write_more(place, &mut sets);
        }
        offsets.extend_from_slice(&sets);
        offsets
    }
}
