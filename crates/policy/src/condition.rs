//! Conditions: an operator, a key of the request, and values to compare with, read as the operator
//! takes them. Which keys there are is not said here: a request that has no such key is told so.

use std::net::IpAddr;

use time::format_description::well_known::Iso8601;
use time::{Date, OffsetDateTime, Time};

use crate::document::VALUES_MAX;
use crate::error::{Fault, PolicyError};
use crate::json::Json;
use crate::operator::{Operator, Takes};
use crate::parts::one_or_many;

/// One key under one operator.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// How it compares.
    pub operator: Operator,
    /// What of the request, e.g. `kms:ViaService`.
    pub key: String,
    /// With what: with any of these, or with none of them if the operator is a negated one.
    pub values: Values,
}

/// Values of one condition, at least one.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// For String* and Arn*.
    Text(Vec<String>),
    /// For Numeric*; each is finite.
    Number(Vec<f64>),
    /// For Date*.
    Date(Vec<OffsetDateTime>),
    /// For Bool and Null.
    Bool(Vec<bool>),
    /// For IpAddress and NotIpAddress.
    Network(Vec<Network>),
}

/// A range of addresses: one address, or CIDR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Its first bits say which.
    pub address: IpAddr,
    /// How many bits: at most 32 or 128.
    pub prefix: u8,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) => (address, Some(prefix)),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
        };
        (prefix <= bits).then_some(Self { address, prefix })
    }
}

/// Operators, under each keys, under each values.
pub(crate) fn conditions(at: String, json: Json) -> Result<Vec<Condition>, PolicyError> {
    let Json::Object(operators) = json else {
        return Err(Fault::Type { wanted: "an object", found: json.kind() }.at(&at));
    };
    let mut conditions = Vec::new();
    for (name, keys) in operators {
        let unknown = || Fault::value(&name, "an operator of IAM").at(&at);
        let operator = Operator::parse(&name).ok_or_else(unknown)?;
        let at = format!("{at}.{name}");
        let Json::Object(keys) = keys else {
            return Err(Fault::Type { wanted: "an object", found: keys.kind() }.at(&at));
        };
        if keys.is_empty() {
            return Err(Fault::Empty.at(&at));
        }
        for (key, json) in keys {
            if !is_key(&key) {
                let wanted = "the name of a condition key, like kms:ViaService";
                return Err(Fault::value(&key, wanted).at(&at));
            }
            let values = values(&format!("{at}.{key}"), json, operator.comparison.takes())?;
            conditions.push(Condition { operator, key, values });
        }
    }
    Ok(conditions)
}

/// A prefix, a colon, a name; what follows in the name may be a tag's or a context's key, so anything.
fn is_key(text: &str) -> bool {
    text.split_once(':').is_some_and(|(prefix, name)| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !prefix.is_empty() && prefix.bytes().all(plain) && !name.is_empty()
    })
}

fn values(at: &str, json: Json, takes: Takes) -> Result<Values, PolicyError> {
    let scalar = |json| match json {
        Json::Text(text) | Json::Number(text) => Ok(text),
        Json::Bool(value) => Ok(value.to_string()),
        other => Err(Fault::Type { wanted: "a string", found: other.kind() }.at(at)),
    };
    let given = one_or_many(at, json, VALUES_MAX)?.into_iter().map(scalar);
    let given: Vec<String> = given.collect::<Result<_, _>>()?;
    Ok(match takes {
        Takes::Text => Values::Text(given),
        Takes::Number => Values::Number(each(at, &given, number, "a number")?),
        Takes::Date => Values::Date(each(at, &given, date, "a date as ISO 8601 or in seconds")?),
        Takes::Bool => Values::Bool(each(at, &given, truth, "true or false")?),
        Takes::Network => Values::Network(each(at, &given, Network::parse, "an address or CIDR")?),
    })
}

fn each<T>(
    at: &str,
    given: &[String],
    read: fn(&str) -> Option<T>,
    wanted: &'static str,
) -> Result<Vec<T>, PolicyError> {
    let one = |text: &String| read(text).ok_or_else(|| Fault::value(text, wanted).at(at));
    given.iter().map(one).collect()
}

fn number(text: &str) -> Option<f64> {
    // What Rust reads besides, "inf" and "NaN", is no number of IAM's.
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn truth(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// A day, from its beginning in UTC; a time with its offset; or seconds since 1970.
fn date(text: &str) -> Option<OffsetDateTime> {
    if let Ok(seconds) = text.parse() {
        return OffsetDateTime::from_unix_timestamp(seconds).ok();
    }
    if let Ok(day) = Date::parse(text, &Iso8601::DATE) {
        return Some(day.with_time(Time::MIDNIGHT).assume_utc());
    }
    OffsetDateTime::parse(text, &Iso8601::DEFAULT).ok()
}
