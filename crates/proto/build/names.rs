//! What a field is called in the JSON of the AWS KMS protocol.

use prost_types::{DescriptorProto, FieldDescriptorProto};

/// Whose messages have a JSON form.
pub(crate) const KMS: &str = "conclave/v1/kms.proto";
/// Fields from this number on are not part of it.
const OWN_FIELDS: i32 = 100;
/// Nor are these operations.
pub(crate) const OWN_OPERATIONS: [&str; 4] =
    ["GetKeyTombstone", "CreatePrincipal", "ListPrincipals", "DeletePrincipal"];

/// Its upper camel case name; none for a field that is Conclave's own.
pub(crate) fn json_name(field: &FieldDescriptorProto) -> Option<String> {
    let mut name = field.json_name().to_owned();
    name[..1].make_ascii_uppercase();
    (field.number() < OWN_FIELDS).then_some(name)
}

/// Whether it is a date, in JSON in seconds.
pub(crate) fn is_date(field: &FieldDescriptorProto) -> bool {
    field.name().ends_with("_ms")
}

/// The message that a map's pairs are, if `field` of `message` is a map.
pub(crate) fn map_entry<'a>(
    message: &'a DescriptorProto,
    field: &FieldDescriptorProto,
) -> Option<&'a DescriptorProto> {
    let name = field.type_name().rsplit('.').next();
    message.nested_type.iter().find(|entry| {
        entry.options.as_ref().is_some_and(|options| options.map_entry())
            && Some(entry.name()) == name
    })
}
