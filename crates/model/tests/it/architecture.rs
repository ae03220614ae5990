//! ARCHITECTURE.md says which crate may use which, and which are pure. Here it is held to it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates that bring I/O, a clock or a runtime along.
const IMPURE_DEPENDENCIES: &[&str] =
    &["tokio", "object_store", "hyper", "tonic", "axum", "reqwest", "rand", "rustix", "tempfile", "chrono"];

/// Ways of the standard library to the outside.
const IMPURE_PATHS: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::SystemTime",
    "std::time::Instant",
    "SystemTime::now",
    "Instant::now",
    "std::io::stdin",
    "println!",
    "eprintln!",
];

#[derive(Debug)]
struct Row {
    name: String,
    pure: bool,
    uses: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of the table of crates, in order.
fn table() -> Vec<Row> {
    let page = read(&root().join("ARCHITECTURE.md"));
    let rows = page.lines().skip_while(|line| *line != "| crate | pure | uses |").skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let uses = cells[2].split(',').map(str::trim).filter(|name| !name.is_empty());
            Row {
                name: cells[0].to_owned(),
                pure: cells[1] == "yes",
                uses: uses.map(str::to_owned).collect(),
            }
        })
        .collect()
}

/// Names under `[dependencies]` of a crate's manifest.
fn dependencies(name: &str) -> Vec<String> {
    let manifest = read(&root().join("crates").join(name).join("Cargo.toml"));
    let section = manifest.lines().skip_while(|line| line.trim() != "[dependencies]").skip(1);
    section
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .map(str::trim)
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn package(name: &str) -> String {
    if name == "tracelake" { name.to_owned() } else { format!("tracelake-{name}") }
}

#[test]
fn every_crate_is_in_the_table() {
    let mut listed: Vec<String> = table().into_iter().map(|row| row.name).collect();
    let folders = fs::read_dir(root().join("crates")).expect("the folder of crates is readable");
    let mut present: Vec<String> = folders
        .map(|entry| entry.expect("a readable entry").file_name().to_string_lossy().into_owned())
        .collect();
    listed.sort();
    present.sort();
    assert_eq!(listed, present);
}

#[test]
fn arrows_between_crates_are_the_ones_in_the_table_and_point_up() {
    let rows = table();
    let place: BTreeMap<&str, usize> =
        rows.iter().enumerate().map(|(place, row)| (row.name.as_str(), place)).collect();
    for (at, row) in rows.iter().enumerate() {
        let mut uses: Vec<String> = row.uses.iter().map(|name| package(name)).collect();
        let mut own: Vec<String> =
            dependencies(&row.name).into_iter().filter(|name| name.starts_with("tracelake")).collect();
        uses.sort();
        own.sort();
        assert_eq!(own, uses, "crate {}", row.name);
        for used in &row.uses {
            assert!(place[used.as_str()] < at, "{} uses {used}, which stands below it", row.name);
        }
    }
}

#[test]
fn pure_crates_have_no_way_out() {
    for row in table().into_iter().filter(|row| row.pure) {
        for dependency in dependencies(&row.name) {
            assert!(!IMPURE_DEPENDENCIES.contains(&dependency.as_str()), "{} uses {dependency}", row.name);
        }
        let mut folders = vec![root().join("crates").join(&row.name).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a readable folder") {
                let path = entry.expect("a readable entry").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                // Tests may read fixtures.
                if path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests") {
                    continue;
                }
                let source = read(&path);
                for way in IMPURE_PATHS {
                    assert!(!source.contains(way), "{} has {way}", path.display());
                }
            }
        }
    }
}
