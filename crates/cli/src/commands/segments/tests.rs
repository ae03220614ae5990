use super::*;

#[test]
fn a_table_is_as_wide_as_what_is_in_it() {
    let rows = [["2024-10-04", "1,234"], ["2024-10-05", "7"]];
    let rows = rows.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect());
    assert_eq!(table(&["day", "spans"], rows), "day         spans\n2024-10-04  1,234\n2024-10-05      7\n");
    assert_eq!(table(&["day", "spans"], std::iter::empty()), "day  spans\n");
}
