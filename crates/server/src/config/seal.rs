//! `[seal]`: what this node wraps its share with from now on, and the token for it.
//!
//! What is wrapped already names its own seal. So a node that moves back to operators' shares keeps
//! `[seal.pkcs11]` until it has, and both may stand together.

use std::path::{Path, PathBuf};

use conclave_hsm::{IvSource, PinSource, Settings, TokenSelector};
use conclave_seal::SealKind;
use serde::Deserialize;

use super::ConfigError;

/// Longest token label, serial number and variable name, bytes. PKCS#11 has room for 32 and 16;
/// the rest is for modules that are not so strict.
const NAME_LEN_MAX: usize = 64;

/// `[seal]` as it is written.
#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSeal {
    r#type: Option<RawKind>,
    pkcs11: Option<RawPkcs11>,
}

/// `[seal.pkcs11]` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPkcs11 {
    module: PathBuf,
    token_label: Option<String>,
    token_serial: Option<String>,
    slot: Option<u64>,
    pin_file: Option<PathBuf>,
    pin_env: Option<String>,
    pin_credential: Option<String>,
    iv: Option<RawIv>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawIv {
    Node,
    Token,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawKind {
    Operator,
    Pkcs11,
}

/// `[seal]`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// What wraps from now on.
    pub kind: SealKind,
    /// The token. Always there if `kind` is [`SealKind::Pkcs11`].
    pub pkcs11: Option<Settings>,
}

impl Seal {
    pub(super) fn check(raw: RawSeal, folder: &Path) -> Result<Self, ConfigError> {
        let kind = match raw.r#type {
            None | Some(RawKind::Operator) => SealKind::Operator,
            Some(RawKind::Pkcs11) => SealKind::Pkcs11,
        };
        let pkcs11 = raw.pkcs11.map(|raw| settings(raw, folder)).transpose()?;
        if kind == SealKind::Pkcs11 && pkcs11.is_none() {
            return Err(ConfigError::Value {
                key: "seal.type",
                value: "pkcs11".to_owned(),
                expected: "needs a [seal.pkcs11] section: module, the token, and where its PIN is",
            });
        }
        Ok(Self { kind, pkcs11 })
    }
}

fn settings(raw: RawPkcs11, folder: &Path) -> Result<Settings, ConfigError> {
    if !raw.module.is_absolute() {
        // The loader would look for a relative one in places of its own.
        return Err(ConfigError::Value {
            key: "seal.pkcs11.module",
            value: raw.module.display().to_string(),
            expected: "takes the absolute path of the vendor's PKCS#11 library, such as /usr/lib/softhsm/libsofthsm2.so",
        });
    }
    let label = raw.token_label.map(|text| name("seal.pkcs11.token_label", text)).transpose()?;
    let serial = raw.token_serial.map(|text| name("seal.pkcs11.token_serial", text)).transpose()?;
    let token = one_of(
        "seal.pkcs11",
        "needs exactly one of token_label, token_serial and slot",
        [
            label.map(TokenSelector::Label),
            serial.map(TokenSelector::Serial),
            raw.slot.map(TokenSelector::Slot),
        ],
    )?;
    let env = raw.pin_env.map(variable).transpose()?;
    let credential = raw.pin_credential.map(credential).transpose()?;
    let pin = one_of(
        "seal.pkcs11",
        "needs exactly one of pin_file, pin_env and pin_credential",
        [
            raw.pin_file.map(|path| PinSource::File(folder.join(path))),
            env.map(PinSource::Env),
            credential.map(PinSource::Credential),
        ],
    )?;
    let iv = match raw.iv {
        None | Some(RawIv::Node) => IvSource::Node,
        Some(RawIv::Token) => IvSource::Token,
    };
    Ok(Settings { module: raw.module, token, pin, iv })
}

/// The one that is there.
fn one_of<T>(
    key: &'static str,
    expected: &'static str,
    choices: [Option<T>; 3],
) -> Result<T, ConfigError> {
    let mut given: Vec<T> = choices.into_iter().flatten().collect();
    match (given.pop(), given.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(ConfigError::Value { key, value: "none of them".to_owned(), expected }),
        (Some(_), others) => {
            Err(ConfigError::Value { key, value: format!("{} of them", others + 1), expected })
        }
    }
}

fn name(key: &'static str, text: String) -> Result<String, ConfigError> {
    let fits = (1..=NAME_LEN_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    // Tokens pad both with blanks, so blanks at the end mean nothing.
    if fits && text.trim_end() == text {
        return Ok(text);
    }
    let expected = "takes 1 to 64 bytes of text without blanks at its end, as `pkcs11-tool --list-token-slots` shows it";
    Err(ConfigError::Value { key, value: text, expected })
}

fn variable(text: String) -> Result<String, ConfigError> {
    let fits = (1..=NAME_LEN_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if fits {
        return Ok(text);
    }
    // Not shown: somebody may have written the PIN itself here.
    Err(ConfigError::Value {
        key: "seal.pkcs11.pin_env",
        value: "(not shown)".to_owned(),
        expected: "takes the name of an environment variable (letters, digits and '_'), not the PIN",
    })
}

fn credential(text: String) -> Result<String, ConfigError> {
    let fits = (1..=NAME_LEN_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !text.starts_with('.');
    if fits {
        return Ok(text);
    }
    Err(ConfigError::Value {
        key: "seal.pkcs11.pin_credential",
        value: "(not shown)".to_owned(),
        expected: "takes the name of a systemd credential (letters, digits, '.', '_' and '-'), not the PIN",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Seal, String> {
        let raw = toml::from_str(text).map_err(|error| error.to_string())?;
        Seal::check(raw, Path::new("/etc/conclave")).map_err(|error| error.to_string())
    }

    const GOOD: &str = r#"
        type = "pkcs11"
        [pkcs11]
        module = "/usr/lib/softhsm/libsofthsm2.so"
        token_label = "n1"
        pin_file = "n1.pin"
    "#;

    #[test]
    fn operator_is_the_default_and_a_token_may_stand_beside_it() {
        assert_eq!(parse("").unwrap(), Seal { kind: SealKind::Operator, pkcs11: None });
        let back = parse(&GOOD.replace("type = \"pkcs11\"", "type = \"operator\"")).unwrap();
        assert_eq!(back.kind, SealKind::Operator);
        assert!(back.pkcs11.is_some());
    }

    #[test]
    fn a_token_is_named_once_and_its_pin_found_in_one_place() {
        let seal = parse(GOOD).unwrap();
        assert_eq!(seal.kind, SealKind::Pkcs11);
        let settings = seal.pkcs11.unwrap();
        assert_eq!(settings.token, TokenSelector::Label("n1".to_owned()));
        assert_eq!(settings.pin, PinSource::File("/etc/conclave/n1.pin".into()));
        assert_eq!(settings.iv, IvSource::Node);
        let other = parse(
            &GOOD
                .replace("token_label = \"n1\"", "slot = 3")
                .replace("pin_file = \"n1.pin\"", "pin_credential = \"hsm.pin\"\niv = \"token\""),
        );
        let settings = other.unwrap().pkcs11.unwrap();
        assert_eq!(settings.token, TokenSelector::Slot(3));
        assert_eq!(settings.pin, PinSource::Credential("hsm.pin".to_owned()));
        assert_eq!(settings.iv, IvSource::Token);
    }

    #[test]
    fn what_does_not_hold_is_refused_with_the_key_named() {
        for (from, to, names) in [
            ("/usr/lib/softhsm/", "", "seal.pkcs11.module"),
            ("token_label = \"n1\"", "", "token_label, token_serial and slot"),
            ("token_label = \"n1\"", "token_label = \"n1\"\nslot = 1", "2 of them"),
            ("token_label = \"n1\"", "token_label = \"n1  \"", "seal.pkcs11.token_label"),
            ("token_label = \"n1\"", "token_serial = \"\"", "seal.pkcs11.token_serial"),
            ("pin_file = \"n1.pin\"", "", "pin_file, pin_env and pin_credential"),
            ("pin_file = \"n1.pin\"", "pin_file = \"p\"\npin_env = \"P\"", "2 of them"),
            ("pin_file = \"n1.pin\"", "pin_credential = \"../pin\"", "pin_credential"),
            ("pin_file = \"n1.pin\"", "pin = \"1234\"", "unknown field `pin`"),
            ("iv", "iv", "needs a [seal.pkcs11] section"),
        ] {
            let text =
                if from == "iv" { "type = \"pkcs11\"".to_owned() } else { GOOD.replace(from, to) };
            let error = parse(&text).unwrap_err();
            assert!(error.contains(names), "{error}");
        }
        let pin_itself = parse(&GOOD.replace("pin_file = \"n1.pin\"", "pin_env = \"12-34\""));
        let error = pin_itself.unwrap_err();
        assert!(error.contains("pin_env") && !error.contains("12-34"), "{error}");
    }
}
