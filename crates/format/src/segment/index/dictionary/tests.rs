use std::ops::RangeBounds;

use super::*;

fn build(terms: &[(Vec<u8>, Vec<u32>)], universe: u32) -> Vec<u8> {
    let mut builder = DictionaryBuilder::new(terms.len(), universe);
    for (term, ordinals) in terms {
        builder.push(term, ordinals).expect("in order");
    }
    builder.finish().expect("in order")
}

fn terms(count: u32, universe: u32) -> Vec<(Vec<u8>, Vec<u32>)> {
    let ordinals = |at: u32| (0..universe).filter(|ordinal| ordinal % (at % 9 + 1) == at % 3).collect();
    let mut terms: Vec<(Vec<u8>, Vec<u32>)> =
        (0..count).map(|at| (format!("term {:05}", at * 7).into_bytes(), ordinals(at))).collect();
    terms.insert(0, (Vec::new(), vec![universe - 1]));
    terms.retain(|(_, ordinals)| !ordinals.is_empty());
    terms
}

#[test]
fn terms_of_lists_and_maps_come_back() {
    for count in [1, 60, 63, 64, 65, 2_000] {
        let universe = 500;
        let terms = terms(count, universe);
        let block = build(&terms, universe);
        let read = Dictionary::read(&block, terms.len(), universe).expect("own bytes");
        for (term, ordinals) in &terms {
            let value = read.find(term).expect("it is there");
            let mut set = TraceSet::empty(universe);
            read.or_into(value, &mut set).expect("own bytes");
            assert_eq!(set.iter().collect::<Vec<_>>(), *ordinals);
            assert_eq!(read.count(value).expect("own bytes"), ordinals.len() as u32);
        }
        assert_eq!(read.find(b"term"), None);
        let bounds = [
            (Bound::Unbounded, Bound::Unbounded),
            (Bound::Included("term 00007"), Bound::Excluded("term 00070")),
            (Bound::Excluded("term 00007"), Bound::Included("term 00070")),
            (Bound::Included("x"), Bound::Unbounded),
        ];
        for (lower, upper) in bounds.map(|(a, b)| (a.map(str::as_bytes), b.map(str::as_bytes))) {
            let mut found = Vec::new();
            let take = |term: &[u8], _| {
                found.push(term.to_vec());
                Ok(true)
            };
            read.each(lower, upper, take).expect("own bytes");
            let is_within = |term: &[u8]| RangeBounds::<[u8]>::contains(&(lower, upper), term);
            let within = terms.iter().filter(|(term, _)| is_within(term));
            assert_eq!(found, within.map(|(term, _)| term.clone()).collect::<Vec<_>>());
        }
    }
}

#[test]
fn damaged_blocks_are_refused() {
    for count in [20, 200] {
        let terms = terms(count, 100);
        let block = build(&terms, 100);
        for at in 0..block.len() {
            let mut damaged = block.clone();
            damaged[at] ^= 0x41;
            let Ok(read) = Dictionary::read(&damaged, terms.len(), 100) else { continue };
            let take = |_: &[u8], value| {
                let mut set = TraceSet::empty(100);
                drop(read.or_into(value, &mut set));
                Ok(true)
            };
            drop(read.each(Bound::Unbounded, Bound::Unbounded, take));
        }
        assert!(Dictionary::read(&block, terms.len() + 1, 100).is_err());
        assert!(Dictionary::read(&block[..block.len() / 4], terms.len(), 100).is_err());
    }
}
