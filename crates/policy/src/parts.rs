//! Taking a document apart: members by name, each once and none left over, and lists that may be one.

use std::collections::BTreeMap;

use crate::document::VALUES_MAX;
use crate::error::{Fault, PolicyError, shown};
use crate::json::Json;

/// An object whose members are taken one after another.
pub(crate) struct Members {
    at: String,
    left: BTreeMap<String, Json>,
}

impl Members {
    pub(crate) fn of(at: String, json: Json) -> Result<Self, PolicyError> {
        match json {
            Json::Object(left) => Ok(Self { at, left }),
            other => Err(Fault::Type { wanted: "an object", found: other.kind() }.at(named(&at))),
        }
    }

    pub(crate) fn take(&mut self, member: &str) -> Option<Json> {
        self.left.remove(member)
    }

    pub(crate) fn require(&mut self, member: &'static str) -> Result<Json, PolicyError> {
        self.take(member).ok_or_else(|| Fault::Missing { member }.at(named(&self.at)))
    }

    /// Exactly one of two members, and whether it is the second.
    pub(crate) fn either(
        &mut self,
        one: &'static str,
        other: &'static str,
    ) -> Result<(Json, &'static str, bool), PolicyError> {
        match (self.take(one), self.take(other)) {
            (Some(json), None) => Ok((json, one, false)),
            (None, Some(json)) => Ok((json, other, true)),
            (Some(_), Some(_)) => Err(Fault::Both { one, other }.at(named(&self.at))),
            (None, None) => Err(Fault::Missing { member: one }.at(named(&self.at))),
        }
    }

    /// Where a member stands.
    pub(crate) fn at(&self, member: &str) -> String {
        if self.at.is_empty() { member.to_owned() } else { format!("{}.{member}", self.at) }
    }

    /// All that there may be has been taken.
    pub(crate) fn end(self, known: &'static str) -> Result<(), PolicyError> {
        match self.left.into_keys().next() {
            None => Ok(()),
            Some(member) => {
                let member = shown(&member);
                Err(Fault::Unknown { member, known }.at(named(&self.at)))
            }
        }
    }
}

/// The document itself stands nowhere.
fn named(at: &str) -> &str {
    if at.is_empty() { "The policy" } else { at }
}

pub(crate) fn text(at: &str, json: Json) -> Result<String, PolicyError> {
    match json {
        Json::Text(text) => Ok(text),
        other => Err(Fault::Type { wanted: "a string", found: other.kind() }.at(at)),
    }
}

/// One, or a list of them; never none.
pub(crate) fn one_or_many(at: &str, json: Json, max: usize) -> Result<Vec<Json>, PolicyError> {
    match json {
        Json::List(list) if list.is_empty() => Err(Fault::Empty.at(at)),
        Json::List(list) if list.len() > max => Err(Fault::TooMany { max }.at(at)),
        Json::List(list) => Ok(list),
        one => Ok(vec![one]),
    }
}

/// One text, or a list of them, none of them empty.
pub(crate) fn texts(at: &str, json: Json) -> Result<Vec<String>, PolicyError> {
    let full = |json| match text(at, json)? {
        empty if empty.is_empty() => Err(Fault::Empty.at(at)),
        text => Ok(text),
    };
    one_or_many(at, json, VALUES_MAX)?.into_iter().map(full).collect()
}
