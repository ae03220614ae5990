use std::path::Path;

use super::ALL;

/// docs/limits.md is what users read: it must say what the code does. `TRACELAKE_BLESS=1` writes its
/// table anew.
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
    if std::env::var_os("TRACELAKE_BLESS").is_some() && documented != in_force {
        let is_row = |line: &&str| line.starts_with("| `");
        let before = page.lines().take_while(|line| !is_row(line));
        let after = page.lines().skip_while(|line| !is_row(line)).skip_while(is_row);
        let blessed: Vec<&str> = before.chain(in_force.iter().map(String::as_str)).chain(after).collect();
        std::fs::write(&path, blessed.join("\n") + "\n").expect("docs/limits.md is writable");
        return;
    }
    assert_eq!(documented, in_force, "\nthe table should read:\n{}\n", in_force.join("\n"));
}
