//! SoftHSM tokens of a cluster's nodes, and the module that fails as it is told.
//!
//! `conclave dev --seal pkcs11` keeps each node's token in `DIR/<node>/hsm`. A node is told by its
//! environment where its tokens are ([`NodeInfo::env`]), so both last over [`Cluster::restart`].

use std::path::PathBuf;

use conclave_hsm_faults::CONTROL_VARIABLE;
use conclave_hsm_faults::control::Control;
use conclave_hsm_faults::softhsm::{self, SoftHsm};

use super::{Cluster, NodeInfo};

impl Cluster {
    /// Starts a cluster whose nodes have a token each.
    pub fn start_with_tokens(nodes: usize) -> Self {
        Self::start_with(nodes, &["--seal", "pkcs11"])
    }

    /// The tokens of that node, to be taken out and put back.
    pub fn tokens(&self, id: &str) -> SoftHsm {
        SoftHsm::open(&self.hsm_folder(id))
    }

    /// Puts a module that fails as it is told before that node's tokens, from its next start on.
    /// Nothing goes wrong until [`Control::set`].
    pub fn make_hsm_faulty(&mut self, id: &str) -> Control {
        let control = Control::new(&self.hsm_folder(id).join("faults"));
        let node = self.node_mut(id);
        node.env.insert(CONTROL_VARIABLE.to_owned(), control.path().display().to_string());
        let text = std::fs::read_to_string(&node.config).unwrap();
        let real = format!("module = {:?}", softhsm::module());
        assert!(text.contains(&real), "{id} has no token: {text}");
        let faulty = format!("module = {:?}", conclave_hsm_faults::module_path());
        std::fs::write(&node.config, text.replace(&real, &faulty)).unwrap();
        control
    }

    /// Gives a node that has none a token, from its next start on, and makes it its seal.
    pub fn give_token(&mut self, id: &str) {
        let folder = self.hsm_folder(id);
        give_token(self.node_mut(id), folder);
    }

    /// As [`Cluster::add_spare_node`], with a token.
    pub fn add_spare_node_with_token(&mut self, id: &str) {
        let node = super::spare_node(&self.pki(), &self.dir.path().join(id), id);
        self.nodes.push(node);
        self.give_token(id);
        self.restart(id);
    }

    /// What `[seal] type` says, from that node's next start on.
    pub fn set_seal(&self, id: &str, from: &str, to: &str) {
        let config = &self.node(id).config;
        let text = std::fs::read_to_string(config).unwrap();
        let (from, to) = (format!("type = {from:?}"), format!("type = {to:?}"));
        assert!(text.contains(&from), "{text}");
        std::fs::write(config, text.replace(&from, &to)).unwrap();
    }

    fn hsm_folder(&self, id: &str) -> PathBuf {
        self.dir.path().join(id).join("hsm")
    }

    fn node_mut(&mut self, id: &str) -> &mut NodeInfo {
        self.nodes.iter_mut().find(|node| node.id == id).unwrap()
    }
}

/// Makes a token in a new folder and writes it into the node's configuration.
pub fn give_token(node: &mut NodeInfo, folder: PathBuf) {
    use std::os::unix::fs::PermissionsExt;

    let pin = "8765-4321";
    std::fs::create_dir_all(&folder).unwrap();
    let tokens = SoftHsm::create(&folder);
    tokens.add_token(&node.id, pin);
    let pin_file = folder.join("pin");
    std::fs::write(&pin_file, pin).unwrap();
    std::fs::set_permissions(&pin_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let configuration = tokens.configuration().display().to_string();
    node.env.insert("SOFTHSM2_CONF".to_owned(), configuration);
    let mut text = std::fs::read_to_string(&node.config).unwrap();
    assert!(!text.contains("[seal"), "{} has a seal already: {text}", node.id);
    text.push_str(&format!(
        "\n[seal]\ntype = \"pkcs11\"\n\n[seal.pkcs11]\nmodule = {:?}\ntoken_label = {:?}\npin_file = {pin_file:?}\n",
        softhsm::module(),
        node.id,
    ));
    std::fs::write(&node.config, text).unwrap();
}
