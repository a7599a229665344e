//! The operators of conditions, by the names of IAM.

/// How a condition compares, with what its name may have before and after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator {
    /// `ForAnyValue:` or `ForAllValues:`, of keys that have many values.
    pub quantifier: Option<Quantifier>,
    /// The operator itself.
    pub comparison: Comparison,
    /// `IfExists`: the condition holds where the request has no such key.
    pub if_exists: bool,
}

/// What is asked of a key's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantifier {
    /// At least one.
    Any,
    /// All, and so none at all.
    All,
}

macro_rules! comparisons {
    ($($name:ident: $takes:ident,)*) => {
        /// An operator of IAM.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the names say it")]
        pub enum Comparison {
            $($name,)*
        }

        impl Comparison {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// As IAM spells it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            pub(crate) fn takes(self) -> Takes {
                match self {
                    $(Self::$name => Takes::$takes,)*
                }
            }
        }
    };
}

/// What values an operator compares with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    Text,
    Number,
    Date,
    Bool,
    Network,
}

comparisons! {
    StringEquals: Text,
    StringNotEquals: Text,
    StringEqualsIgnoreCase: Text,
    StringNotEqualsIgnoreCase: Text,
    StringLike: Text,
    StringNotLike: Text,
    NumericEquals: Number,
    NumericNotEquals: Number,
    NumericLessThan: Number,
    NumericLessThanEquals: Number,
    NumericGreaterThan: Number,
    NumericGreaterThanEquals: Number,
    DateEquals: Date,
    DateNotEquals: Date,
    DateLessThan: Date,
    DateLessThanEquals: Date,
    DateGreaterThan: Date,
    DateGreaterThanEquals: Date,
    Bool: Bool,
    IpAddress: Network,
    NotIpAddress: Network,
    ArnEquals: Text,
    ArnNotEquals: Text,
    ArnLike: Text,
    ArnNotLike: Text,
    Null: Bool,
}

impl Operator {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (quantifier, rest) = match text.split_once(':') {
            None => (None, text),
            Some(("ForAnyValue", rest)) => (Some(Quantifier::Any), rest),
            Some(("ForAllValues", rest)) => (Some(Quantifier::All), rest),
            Some(_) => return None,
        };
        let (name, if_exists) = match rest.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (rest, false),
        };
        let comparison = Comparison::ALL.iter().copied().find(|known| known.name() == name)?;
        // It asks itself whether there is such a key.
        let asked_twice = comparison == Comparison::Null && if_exists;
        (!asked_twice).then_some(Self { quantifier, comparison, if_exists })
    }
}
