use std::collections::BTreeSet;

use super::*;

/// The names of the schemas that are referred to.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref") {
                let path = reference.as_str().expect("a text");
                found.insert(path.strip_prefix("#/components/schemas/").expect(path));
            }
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_schema_that_is_referred_to_is_there_and_no_other() {
    let document = document(&routes::all());
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    assert_eq!(found, schemas.keys().map(String::as_str).collect::<BTreeSet<_>>());
}

#[test]
fn operations_have_names_of_their_own_and_describe_their_path() {
    let document = document(&routes::all());
    let mut names = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for operation in methods.as_object().expect("methods").values() {
            let name = operation["operationId"].as_str().expect("a name");
            assert!(names.insert(name), "{name} is there twice");
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let in_path = parameters.filter(|parameter| parameter["in"] == "path");
            let in_path: Vec<String> =
                in_path.map(|one| format!("{{{}}}", one["name"].as_str().expect("a name"))).collect();
            let expected: Vec<&str> = path.split('/').filter(|part| part.starts_with('{')).collect();
            assert_eq!(in_path, expected, "{path}");
        }
    }
    assert_eq!(names.len(), routes::all().len());
}
