//! This node's token: wraps and unwraps its shares, each under a key of its own epoch.
//!
//! A key is called `conclave/<domain>/<Raft id>/<epoch>`, so several nodes can share a token.

use conclave_crypto::Secret;
use conclave_crypto::sharing::Share;
use conclave_hsm::{Hsm, HsmError, KeyLabel, Settings};
use conclave_seal::{DomainId, EpochNumber, RaftId, WrappedShare};

/// The token of one node in one domain.
pub(crate) struct Token {
    hsm: Hsm,
    domain: DomainId,
    raft_id: RaftId,
    /// The node's name, which the wrap is bound to.
    name: String,
}

impl Token {
    /// Starts connecting, in the background.
    pub(crate) fn start(
        settings: Settings,
        domain: DomainId,
        raft_id: RaftId,
        name: String,
    ) -> Self {
        Self { hsm: Hsm::start(settings), domain, raft_id, name }
    }

    /// Wraps a share of this node, under a key that is made for its epoch if there is none.
    pub(crate) async fn wrap(
        &self,
        epoch: EpochNumber,
        share: &Share,
    ) -> Result<WrappedShare, HsmError> {
        let aad = WrappedShare::token_aad(self.domain, epoch, share.x, &self.name);
        let plaintext = Secret::copy_from(share.y.expose());
        let wrapped = self.hsm.wrap(self.label(epoch), aad, plaintext).await?;
        Ok(WrappedShare::by_token(self.domain, epoch, share.x, wrapped))
    }

    /// What a wrapped share of this node holds.
    pub(crate) async fn unwrap(&self, share: &WrappedShare) -> Result<Secret, HsmError> {
        let aad = WrappedShare::token_aad(self.domain, share.epoch, share.x, &self.name);
        self.hsm.unwrap(self.label(share.epoch), aad, share.wrapped().to_vec()).await
    }

    /// Destroys the keys of the epochs that `is_gone`; how many there were.
    pub(crate) async fn tidy(
        &self,
        is_gone: impl Fn(EpochNumber) -> bool,
    ) -> Result<usize, HsmError> {
        let prefix = self.prefix();
        let mut destroyed = 0;
        for label in self.hsm.list(prefix.clone()).await? {
            let number = label.as_str().strip_prefix(&prefix).and_then(|rest| rest.parse().ok());
            if number.is_some_and(|number| is_gone(EpochNumber(number))) {
                destroyed += usize::from(self.hsm.destroy(label).await?);
            }
        }
        Ok(destroyed)
    }

    /// Closes the session, before the process ends; whether no call is under way any more.
    pub(crate) async fn stop(&self) -> bool {
        self.hsm.stop().await
    }

    /// How it is, for people.
    pub(crate) fn status(&self) -> String {
        self.hsm.status().to_string()
    }

    fn prefix(&self) -> String {
        format!("conclave/{}/{}/", self.domain, self.raft_id)
    }

    fn label(&self, epoch: EpochNumber) -> KeyLabel {
        let label = format!("{}{epoch}", self.prefix());
        label.parse().expect("hexadecimal digits and two numbers of at most 20 digits fit")
    }
}
