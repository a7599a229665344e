//! Compiles the protos with protox, so that no protoc is needed, and gives the messages of the service
//! of keys the JSON form that the AWS KMS protocol has for them. Makes the page of docs/api.md on the way,
//! for `examples/reference.rs` to put there: the descriptors are at hand here.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
};
use tonic_prost_build::Builder;

use crate::names::{KMS, OWN_OPERATIONS, is_date, json_name, map_entry};

#[path = "build/names.rs"]
mod names;
#[path = "build/reference.rs"]
mod reference;

const FILES: [&str; 8] = [
    "conclave/audit/v1/audit.proto",
    "conclave/store/v1/store.proto",
    "conclave/record/v1/record.proto",
    "conclave/raft/v1/raft.proto",
    "conclave/peer/v1/peer.proto",
    KMS,
    "conclave/v1/cluster.proto",
    "conclave/seal/v1/seal.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=build.rs");
    let set = protox::compile(FILES, [root])?;
    let builder = tonic_prost_build::configure()
        .bytes(".conclave.raft.v1")
        .bytes(".conclave.store.v1.Command")
        .btree_map(".conclave.v1")
        .skip_debug(SECRET_BEARING);
    let out = env::var("OUT_DIR")?;
    let out = Path::new(&out);
    fs::write(out.join("operations.rs"), operations(&set))?;
    fs::write(out.join("api.md"), reference::page(&set))?;
    json(builder, &set).compile_fds(set)?;
    Ok(())
}

/// The operations of the service of keys, as macros that hand the list of them to another macro: each
/// face and each list of them is made of the protos alone.
fn operations(set: &FileDescriptorSet) -> String {
    let services = set.file.iter().filter(|file| file.name() == KMS).flat_map(|f| &f.service);
    let methods: Vec<_> = services.flat_map(|service| &service.method).collect();
    let list = |of: &dyn Fn(&str) -> bool| -> String {
        let methods = methods.iter().filter(|method| of(method.name()));
        let entry = |method: &&MethodDescriptorProto| {
            let message = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
            let (input, output) = (message(method.input_type()), message(method.output_type()));
            format!("{} {} {input} {output};\n", method.name(), snake_case(method.name()))
        };
        methods.map(entry).collect()
    };
    let of_aws = |name: &str| !OWN_OPERATIONS.contains(&name);
    let others = |name: &str| name != "Encrypt";
    let make = |doc: &str, name: &str, all: &str, but_encrypt: &str| {
        format!(
            "/// {doc}\n#[macro_export]\nmacro_rules! {name} {{\n\
             ($with:ident) => {{ $with! {{\n{all}}} }};\n\
             ($with:ident but Encrypt) => {{ $with! {{\n{but_encrypt}}} }};\n}}\n"
        )
    };
    let all = "`Name name Request Response;` for each operation on keys and principals.";
    let aws = "The same for those that AWS KMS has.";
    make(all, "operations", &list(&|_| true), &list(&others))
        + &make(aws, "aws_operations", &list(&of_aws), &list(&|name| of_aws(name) && others(name)))
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// serde attributes for each message and field of the service of keys.
fn json(mut builder: Builder, set: &FileDescriptorSet) -> Builder {
    let messages = set.file.iter().filter(|file| file.name() == KMS).flat_map(|f| &f.message_type);
    for message in messages {
        let path = format!(".conclave.v1.{}", message.name());
        builder = builder
            .type_attribute(&path, "#[derive(serde::Serialize, serde::Deserialize)]")
            .type_attribute(&path, "#[serde(default)]");
        for field in &message.field {
            let path = format!("{path}.{}", field.name());
            builder = builder.field_attribute(path, json_field(message, field));
        }
    }
    builder
}

/// The names and shapes of AWS KMS: upper camel case, blobs in base64, dates in seconds; null is as good
/// as absent, what is absent is left out. Lists that are there even when empty have their JSON name
/// written out in the proto.
fn json_field(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let Some(name) = json_name(field) else { return "#[serde(skip)]".to_owned() };
    let written_out = field.json_name() == name;
    let repeated = field.label() == Label::Repeated;
    let is_map = map_entry(message, field).is_some();
    let date = is_date(field);
    let with = match (field.proto3_optional(), field.r#type()) {
        (true, _) if date => Some("optional_date"),
        (true, _) => None,
        (false, Type::Message) if is_map => Some("pairs"),
        (false, Type::Message) => None,
        (false, Type::Bytes) => Some("blob"),
        (false, _) if date => Some("date"),
        (false, _) => Some("or_default"),
    };
    let absent = match field.r#type() {
        _ if field.proto3_optional() => Some("Option::is_none"),
        _ if is_map => Some("std::collections::BTreeMap::is_empty"),
        _ if repeated && !written_out => Some("Vec::is_empty"),
        Type::Message if !repeated => Some("Option::is_none"),
        _ => None,
    };
    let object = match field.r#type() {
        Type::Message if is_map => None,
        Type::Message if repeated => Some("objects"),
        Type::Message => Some("object"),
        _ => None,
    };
    let object = object
        .map(|object| format!(", deserialize_with = \"crate::json::{object}\""))
        .unwrap_or_default();
    let with = with.map(|with| format!(", with = \"crate::json::{with}\"")).unwrap_or_default();
    let absent = absent.map(|is| format!(", skip_serializing_if = \"{is}\"")).unwrap_or_default();
    format!("#[serde(rename = \"{name}\"{with}{object}{absent})]")
}

/// Messages that can hold a secret get a hand-written `Debug` that shows none of it.
const SECRET_BEARING: [&str; 41] = [
    ".conclave.record.v1.SecretKey",
    ".conclave.record.v1.Key",
    ".conclave.record.v1.BackingKey",
    ".conclave.record.v1.Tag",
    ".conclave.record.v1.Alias",
    ".conclave.record.v1.KeyPolicy",
    ".conclave.record.v1.Grant",
    ".conclave.seal.v1.OperatorShare",
    ".conclave.seal.v1.Enrolment",
    ".conclave.v1.PrepareInitResponse",
    ".conclave.v1.UnsealRequest",
    ".conclave.v1.Tag",
    ".conclave.v1.CreateKeyRequest",
    ".conclave.v1.KeyMetadata",
    ".conclave.v1.EncryptRequest",
    ".conclave.v1.DecryptRequest",
    ".conclave.v1.DecryptResponse",
    ".conclave.v1.ReEncryptRequest",
    ".conclave.v1.GenerateDataKeyRequest",
    ".conclave.v1.GenerateDataKeyResponse",
    ".conclave.v1.GenerateDataKeyWithoutPlaintextRequest",
    ".conclave.v1.GenerateDataKeyPairRequest",
    ".conclave.v1.GenerateDataKeyPairResponse",
    ".conclave.v1.GenerateDataKeyPairWithoutPlaintextRequest",
    ".conclave.v1.GenerateRandomResponse",
    ".conclave.v1.SignRequest",
    ".conclave.v1.VerifyRequest",
    ".conclave.v1.GenerateMacRequest",
    ".conclave.v1.VerifyMacRequest",
    ".conclave.v1.DeriveSharedSecretResponse",
    ".conclave.v1.EncapsulateResponse",
    ".conclave.v1.DecapsulateResponse",
    ".conclave.v1.UpdateKeyDescriptionRequest",
    ".conclave.v1.GetParametersForImportResponse",
    ".conclave.v1.ImportKeyMaterialRequest",
    ".conclave.v1.UntagResourceRequest",
    ".conclave.v1.GrantConstraints",
    ".conclave.v1.ReplicateKeyRequest",
    ".conclave.audit.v1.Entry",
    ".conclave.audit.v1.Opening",
    ".conclave.audit.v1.Pair",
];
