//! What a policy says to a question: the seed of its evaluation. Conditions are not looked into yet,
//! so the one answer there is errs to the side of no.

use crate::document::{Effect, Policy, Statement};

/// Whether somebody may do something to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// The account, whose every principal its root stands for.
    pub account: &'a str,
    /// Who asks: the name of a principal of that account.
    pub principal: &'a str,
    /// `kms:` and an operation's name.
    pub action: &'a str,
    /// A key's ARN.
    pub resource: &'a str,
}

impl Policy {
    /// Whether it allows this whatever the conditions: a statement without any allows it, and none
    /// denies it, not even under conditions.
    pub fn allows_surely(&self, asked: &Question<'_>) -> bool {
        let about = |effect| {
            let statements = self.statements.iter();
            statements.filter(move |it| it.effect == effect && it.covers(asked))
        };
        about(Effect::Allow).any(|it| it.conditions.is_empty())
            && about(Effect::Deny).next().is_none()
    }
}

impl Statement {
    /// Whether it is about this, its conditions aside.
    fn covers(&self, asked: &Question<'_>) -> bool {
        self.principals.covers(|named| named.is(asked.account, asked.principal))
            && self.actions.covers(|action| action.matches_any_case(asked.action))
            && self.resources.covers(|resource| resource.matches(asked.resource))
    }
}
