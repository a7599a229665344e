//! The document: its version, its statements, and what each of those consists of.

use crate::condition::{Condition, conditions};
use crate::error::{Fault, PolicyError};
use crate::json::Json;
use crate::parts::{Members, one_or_many, text, texts};
use crate::pattern::Pattern;
use crate::principal::{AccountId, Principal, principals};

/// Longest document, in bytes, as AWS KMS has it.
pub const POLICY_BYTES_MAX: usize = 32 << 10;
/// Statements of one policy: each is looked at for each request.
pub const STATEMENTS_MAX: usize = 100;
/// Principals, actions, resources of one statement, or values of one condition.
pub const VALUES_MAX: usize = 1000;

/// A policy document.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The version of its language.
    pub version: Version,
    /// Its name, for people.
    pub id: Option<String>,
    /// At least one.
    pub statements: Vec<Statement>,
}

/// A version of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 2008-10-17, which is meant where none is given: it has no policy variables.
    V2008,
    /// 2012-10-17.
    V2012,
}

/// One statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Its name, for people.
    pub sid: Option<String>,
    /// What it does.
    pub effect: Effect,
    /// To whom.
    pub principals: Listed<Principal>,
    /// For what: `*`, or `kms:` and a name with wildcards.
    pub actions: Listed<Pattern>,
    /// On what: `*`, or ARNs with wildcards.
    pub resources: Listed<Pattern>,
    /// Only where all of them hold.
    pub conditions: Vec<Condition>,
}

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It lets, unless another denies.
    Allow,
    /// It denies, whatever others allow.
    Deny,
}

/// Those that are listed, or all but those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// All but those.
    pub except: bool,
    /// At least one.
    pub of: Vec<T>,
}

impl<T> Listed<T> {
    pub(crate) fn covers(&self, is: impl Fn(&T) -> bool) -> bool {
        self.of.iter().any(is) != self.except
    }
}

impl Policy {
    /// Reads a document.
    ///
    /// # Errors
    /// [`PolicyError`] for anything that is not wholly understood.
    pub fn parse(document: &str) -> Result<Self, PolicyError> {
        if document.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLong { bytes: document.len() });
        }
        let allowed = |c: &char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{ff}');
        if let Some(other) = document.chars().find(|c| !allowed(c)) {
            return Err(PolicyError::Character { code: other.into() });
        }
        let mut members = Members::of(String::new(), Json::parse(document)?)?;
        let version = match members.take("Version") {
            None => Version::V2008,
            Some(json) => match text("Version", json)?.as_str() {
                "2008-10-17" => Version::V2008,
                "2012-10-17" => Version::V2012,
                other => return Err(Fault::value(other, "2012-10-17 or 2008-10-17").at("Version")),
            },
        };
        let id = members.take("Id").map(|json| text("Id", json)).transpose()?;
        let given = one_or_many("Statement", members.require("Statement")?, STATEMENTS_MAX)?;
        let statements = given.into_iter().enumerate();
        let statements = statements.map(|(number, json)| Statement::parse(number, json));
        let statements = statements.collect::<Result<_, _>>()?;
        members.end("Version, Id and Statement")?;
        Ok(Self { version, id, statements })
    }

    /// Whether every principal that is named is of `account`.
    ///
    /// # Errors
    /// [`PolicyError::Principal`] for the first that is not.
    pub fn check_account(&self, account: &str) -> Result<(), PolicyError> {
        let is_other = |of: &AccountId| of.as_str() != account;
        for (number, statement) in self.statements.iter().enumerate() {
            let named = statement.principals.of.iter();
            let mut foreign = named.filter(|principal| principal.account().is_some_and(is_other));
            if let Some(principal) = foreign.next() {
                let member = if statement.principals.except { "NotPrincipal" } else { "Principal" };
                return Err(PolicyError::Principal {
                    at: format!("Statement[{number}].{member}.AWS"),
                    value: principal.to_string(),
                });
            }
        }
        Ok(())
    }
}

impl Statement {
    fn parse(number: usize, json: Json) -> Result<Self, PolicyError> {
        let mut members = Members::of(format!("Statement[{number}]"), json)?;
        let at = members.at("Sid");
        let sid = members.take("Sid").map(|json| text(&at, json)).transpose()?;
        let at = members.at("Effect");
        let effect = match text(&at, members.require("Effect")?)?.as_str() {
            "Allow" => Effect::Allow,
            "Deny" => Effect::Deny,
            other => return Err(Fault::value(other, "Allow or Deny").at(&at)),
        };
        let principals = principals(&mut members)?;
        let (is_action, action) = (is_action, "'*', or kms: and letters with * and ?");
        let actions = patterns(&mut members, "Action", "NotAction", is_action, action)?;
        let (is_resource, resource) = (is_resource, "'*' or an ARN");
        let resources = patterns(&mut members, "Resource", "NotResource", is_resource, resource)?;
        let at = members.at("Condition");
        let conditions = match members.take("Condition") {
            None => Vec::new(),
            Some(json) => conditions(at, json)?,
        };
        members.end(
            "Sid, Effect, Principal, NotPrincipal, Action, NotAction, Resource, NotResource and \
             Condition",
        )?;
        Ok(Self { sid, effect, principals, actions, resources, conditions })
    }
}

fn patterns(
    statement: &mut Members,
    one: &'static str,
    other: &'static str,
    is_one: fn(&str) -> bool,
    wanted: &'static str,
) -> Result<Listed<Pattern>, PolicyError> {
    let (json, member, except) = statement.either(one, other)?;
    let at = statement.at(member);
    let checked = |text: String| match is_one(&text) {
        true => Ok(Pattern::new(text)),
        false => Err(Fault::value(&text, wanted).at(&at)),
    };
    let of = texts(&at, json)?.into_iter().map(checked).collect::<Result<_, _>>()?;
    Ok(Listed { except, of })
}

fn is_action(text: &str) -> bool {
    let named = text.split_once(':').is_some_and(|(service, name)| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"*?".contains(&byte);
        service.eq_ignore_ascii_case("kms") && !name.is_empty() && name.bytes().all(plain)
    });
    text == "*" || named
}

fn is_resource(text: &str) -> bool {
    text == "*" || text.starts_with("arn:") && !text.chars().any(char::is_control)
}
