//! What the document says of one operation, put together as it is read: its parameters, what it is sent, and every
//! status that it answers.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tracelake::ErrorKind;

use super::schema::{asked_time, count, noted, pattern, shared, text};
use crate::api::trace::PARTIAL_HEADER;
use crate::receive::TENANT_HEADER;

/// A body in one media type.
pub(crate) type Content = (&'static str, Value);

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    members: Map<String, Value>,
    parameters: Vec<Value>,
    responses: Map<String, Value>,
}

pub(crate) fn in_json(schema: Value) -> Content {
    ("application/json", json!({"schema": schema}))
}

/// Lines of JSON. OpenAPI 3.1 cannot say of what schema each is, 3.2 has `itemSchema` for it.
pub(crate) fn in_lines(schema: Value) -> Content {
    let whole = noted(text(), "Lines of JSON, each as `x-itemSchema` says.");
    ("application/x-ndjson", json!({"schema": whole, "x-itemSchema": schema}))
}

pub(crate) fn in_text(note: &str) -> Content {
    ("text/plain", json!({"schema": noted(text(), note)}))
}

pub(crate) fn in_protobuf(note: &str) -> Content {
    ("application/x-protobuf", json!({"schema": {"description": note}}))
}

/// The envelope of an error of one of these kinds.
pub(crate) fn error(kinds: &[ErrorKind]) -> Value {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    let mut schema = shared("Error");
    if let Some(members) = schema.as_object_mut() {
        let kind = json!({"properties": {"kind": {"enum": names}}});
        members.insert("properties".to_owned(), json!({"error": kind}));
    }
    schema
}

impl Operation {
    /// `id` is what generators of clients name a function by.
    pub(crate) fn new(id: &str, tag: &str, summary: &str) -> Self {
        let members = [("operationId", json!(id)), ("tags", json!([tag])), ("summary", json!(summary))];
        let members = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { members, parameters: Vec::new(), responses: Map::new() }
    }

    pub(crate) fn description(mut self, text: &str) -> Self {
        self.members.insert("description".to_owned(), json!(text));
        self
    }

    /// A parameter in the path.
    pub(crate) fn path(self, name: &str, schema: Value, meaning: &str) -> Self {
        self.parameter(json!({
            "name": name, "in": "path", "required": true, "description": meaning, "schema": schema,
        }))
    }

    /// A parameter of the query. None is required.
    pub(crate) fn query(self, name: &str, schema: Value, meaning: &str) -> Self {
        self.parameter(json!({"name": name, "in": "query", "description": meaning, "schema": schema}))
    }

    /// `start` and `end`, and what they are the times of.
    pub(crate) fn times(self, meaning: &str) -> Self {
        let (from, to) = (format!("From when: {meaning}."), format!("To when, exclusive: {meaning}."));
        self.query("start", asked_time(), &from).query("end", asked_time(), &to)
    }

    /// The header that names the tenant.
    pub(crate) fn tenant(self) -> Self {
        self.parameter(json!({
            "name": TENANT_HEADER, "in": "header", "schema": pattern("^[A-Za-z0-9_-]{1,64}$"),
            "description": "Whose spans; `default` without it.",
        }))
    }

    fn parameter(mut self, parameter: Value) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// What it is sent as JSON. The content type is not looked at.
    pub(crate) fn body(mut self, schema: Value) -> Self {
        let body = json!({"required": true, "content": {"application/json": {"schema": schema}}});
        self.members.insert("requestBody".to_owned(), body);
        self
    }

    /// A status that it answers, with a body of one of these.
    pub(crate) fn answer<const N: usize>(
        mut self,
        status: u16,
        description: &str,
        contents: [Content; N],
    ) -> Self {
        let contents: BTreeMap<&str, Value> = contents.into_iter().collect();
        self.responses.insert(status.to_string(), json!({"description": description, "content": contents}));
        self
    }

    /// 206: what was asked for, and something of it is missing.
    pub(crate) fn partial<const N: usize>(self, contents: [Content; N]) -> Self {
        let answered = self.answer(206, "Something is missing; JSON says what and why.", contents);
        answered.header(206, PARTIAL_HEADER.as_str(), noted(text(), "Why, for people."))
    }

    /// A header that an answer of this status may have.
    pub(crate) fn header(mut self, status: u16, name: &str, schema: Value) -> Self {
        if let Some(answer) = self.responses.get_mut(&status.to_string()).and_then(Value::as_object_mut) {
            let headers = answer.entry("headers").or_insert_with(|| json!({}));
            if let Some(headers) = headers.as_object_mut() {
                headers.insert(name.to_owned(), json!({"schema": schema}));
            }
        }
        self
    }

    /// Errors, each with the status of its kind. A status that was named before is left as it is.
    pub(crate) fn errors(mut self, kinds: &[ErrorKind]) -> Self {
        let mut of_status: BTreeMap<u16, Vec<ErrorKind>> = BTreeMap::new();
        for kind in kinds {
            of_status.entry(kind.http_status()).or_default().push(*kind);
        }
        for (status, kinds) in of_status {
            if self.responses.contains_key(&status.to_string()) {
                continue;
            }
            let names: Vec<String> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
            self = self.answer(status, &names.join(" or "), [in_json(error(&kinds))]);
            if kinds.iter().all(|kind| kind.is_retryable()) {
                self = self.header(status, "retry-after", noted(count(), "In seconds."));
            }
        }
        self
    }

    /// An error whose status is not that of its kind.
    pub(crate) fn error_as(self, status: u16, kind: ErrorKind, why: &str) -> Self {
        self.answer(status, &format!("`{kind}`: {why}"), [in_json(error(&[kind]))])
    }

    /// As it stands in the document.
    pub(crate) fn to_json(&self) -> Value {
        let mut members = self.members.clone();
        if !self.parameters.is_empty() {
            members.insert("parameters".to_owned(), json!(self.parameters));
        }
        members.insert("responses".to_owned(), json!(self.responses));
        Value::Object(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_stand_under_the_status_of_their_kind_and_replace_none() {
        let operation = Operation::new("find", "things", "A thing")
            .answer(404, "Explained.", [in_json(text())])
            .errors(&[ErrorKind::Corrupt, ErrorKind::NotFound, ErrorKind::Internal, ErrorKind::Throttled])
            .to_json();
        let responses = &operation["responses"];
        assert_eq!(responses["404"]["description"], "Explained.");
        assert_eq!(responses["500"]["description"], "`corrupt` or `internal`");
        let schema = &responses["500"]["content"]["application/json"]["schema"];
        assert_eq!(
            schema["properties"]["error"]["properties"]["kind"]["enum"],
            json!(["corrupt", "internal"])
        );
        assert!(responses["429"]["headers"]["retry-after"].is_object(), "{responses}");
        assert!(responses["500"].get("headers").is_none(), "{responses}");
    }
}
