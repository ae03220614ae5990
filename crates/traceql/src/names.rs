//! Tables of what has a name: each is read and printed by the same one. The first name of a thing is printed.

/// What a name stands for.
pub(crate) fn of_name<T: Copy>(table: &[(&'static str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, thing)| *thing)
}

/// The name of a thing, which is in the table.
pub(crate) fn name_of<T: PartialEq>(table: &[(&'static str, T)], thing: &T) -> &'static str {
    table.iter().find(|(_, known)| known == thing).map_or("", |(name, _)| name)
}
