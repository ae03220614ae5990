use std::path::Path;

use super::ALL;

/// docs/limits.md is what users read: it must say what the code does.
#[test]
fn the_documented_limits_are_the_ones_in_force() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/limits.md");
    let page = std::fs::read_to_string(&path).expect("docs/limits.md is readable");
    let documented: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let in_force: Vec<String> = ALL
        .iter()
        .map(|limit| {
            let name = limit.name.to_lowercase();
            format!("| `{name}` | {} {} | {} | {} |", limit.default, limit.unit, limit.why, limit.when_hit)
        })
        .collect();
    assert_eq!(documented, in_force, "\nthe table should read:\n{}\n", in_force.join("\n"));
}
