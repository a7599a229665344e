//! Makes docs/api.md of the protos and the comments in them: what each operation takes and gives.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto,
};

use crate::names::{KMS, OWN_OPERATIONS, is_date, json_name, map_entry};

const CLUSTER: &str = "conclave/v1/cluster.proto";

const HEAD: &str = "\
# API reference

*Made from [proto/conclave/v1](../proto/conclave/v1) by `cargo run -p conclave-proto --example reference`: it is the
comments there that are to be changed.*

Members are called as gRPC has them, and under *JSON* as the AWS KMS protocol has them ([which operations are offered
there, and what differs](aws-compatibility.md)). *gRPC only*: a member of Conclave's own. In JSON, bytes are in base64
with padding, dates in seconds, and null is as good as absent. Over gRPC, a member that is not *optional* and is absent
is the empty text, zero, false or no bytes.

";

/// The whole page.
pub(crate) fn page(set: &FileDescriptorSet) -> String {
    let types = Types::of(set);
    let files = [KMS, CLUSTER]
        .map(|name| set.file.iter().find(|file| file.name() == name).expect("both are compiled"));
    let mut page = HEAD.to_owned();
    let mut used = Used::default();
    for file in files {
        let comments = Comments::of(file);
        for (number, service) in file.service.iter().enumerate() {
            let path = [6, number as i32];
            let service = Service { file, service, comments: &comments, types: &types };
            service.write(&path, &mut page, &mut used);
        }
    }
    write_messages(&types, used, &mut page);
    page
}

/// What stands in comments, by the place in the file that descriptors give it.
struct Comments(HashMap<Vec<i32>, String>);

impl Comments {
    fn of(file: &FileDescriptorProto) -> Self {
        let locations = file.source_code_info.iter().flat_map(|info| &info.location);
        let comments = locations.filter_map(|location| {
            let text = format!("{}{}", location.leading_comments(), location.trailing_comments());
            (!text.trim().is_empty()).then(|| (location.path.clone(), text))
        });
        Self(comments.collect())
    }

    /// On one line.
    fn line(&self, path: &[i32]) -> String {
        self.paragraphs(path).join(" ")
    }

    fn paragraphs(&self, path: &[i32]) -> Vec<String> {
        let text = self.0.get(path).map_or("", String::as_str);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let paragraphs = lines.split(|line| line.is_empty()).filter(|lines| !lines.is_empty());
        let escaped = |text: String| text.replace('<', "&lt;").replace('|', "\\|");
        paragraphs.map(|lines| escaped(lines.join(" "))).collect()
    }
}

/// A message or an enumeration, with the comments on it and in it.
struct Named<'a> {
    kind: Kind<'a>,
    comment: String,
    /// Of its fields or values, in their order.
    comments: Vec<String>,
}

enum Kind<'a> {
    Message(&'a DescriptorProto),
    Enum(&'a EnumDescriptorProto),
}

/// By full name, in the order of the files.
struct Types<'a> {
    order: Vec<String>,
    by_name: BTreeMap<String, Named<'a>>,
}

impl<'a> Types<'a> {
    fn of(set: &'a FileDescriptorSet) -> Self {
        let mut types = Self { order: Vec::new(), by_name: BTreeMap::new() };
        for file in &set.file {
            let comments = Comments::of(file);
            let of = |path: [i32; 2], inner: i32, count: usize| {
                let each =
                    (0..count).map(|at| comments.line(&[path[0], path[1], inner, at as i32]));
                (comments.line(&path), each.collect())
            };
            let mut add = |name: &str, kind: Kind<'a>, (comment, comments)| {
                let name = format!(".{}.{name}", file.package());
                types.order.push(name.clone());
                types.by_name.insert(name, Named { kind, comment, comments });
            };
            for (at, message) in file.message_type.iter().enumerate() {
                let told = of([4, at as i32], 2, message.field.len());
                add(message.name(), Kind::Message(message), told);
            }
            for (at, values) in file.enum_type.iter().enumerate() {
                let told = of([5, at as i32], 2, values.value.len());
                add(values.name(), Kind::Enum(values), told);
            }
        }
        types
    }

    fn get(&self, name: &str) -> &Named<'a> {
        &self.by_name[name]
    }
}

/// What members are made of: to be described once, with JSON names if any of them has one.
#[derive(Default)]
struct Used(BTreeMap<String, bool>);

struct Service<'a> {
    file: &'a FileDescriptorProto,
    service: &'a ServiceDescriptorProto,
    comments: &'a Comments,
    types: &'a Types<'a>,
}

impl Service<'_> {
    fn write(&self, path: &[i32], page: &mut String, used: &mut Used) {
        let is_kms = self.file.name() == KMS;
        let _ = writeln!(page, "## {}.{}\n", self.file.package(), self.service.name());
        if path[1] == 0 {
            for paragraph in self.comments.paragraphs(&[12]) {
                let _ = writeln!(page, "{paragraph}\n");
            }
        }
        for (at, method) in self.service.method.iter().enumerate() {
            let comment = self.comments.line(&[path, &[2, at as i32]].concat());
            if is_kms && !comment.is_empty() {
                // There it is about all that follow; what one does is said above its request.
                let _ = writeln!(page, "**{}**\n", comment.trim_end_matches('.'));
            }
            let own = if is_kms { String::new() } else { comment };
            let json = is_kms && !OWN_OPERATIONS.contains(&method.name());
            self.method(method, &own, json, page, used);
        }
    }

    fn method(
        &self,
        method: &MethodDescriptorProto,
        comment: &str,
        json: bool,
        page: &mut String,
        used: &mut Used,
    ) {
        let request = self.types.get(method.input_type());
        let response = self.types.get(method.output_type());
        let _ = writeln!(page, "### {}\n", method.name());
        let comment = if comment.is_empty() { &request.comment } else { comment };
        if !comment.is_empty() {
            let _ = writeln!(page, "{comment}\n");
        }
        let streamed = if method.server_streaming() { "stream of responses" } else { "response" };
        write_members("request", request, json, page, used);
        write_members(streamed, response, json, page, used);
    }
}

fn write_members(what: &str, named: &Named<'_>, json: bool, page: &mut String, used: &mut Used) {
    let Kind::Message(message) = named.kind else { return };
    if message.field.is_empty() {
        let _ = writeln!(page, "*The {what} has no members.*\n");
        return;
    }
    let (head, line) = if json { (" JSON |", "---|") } else { ("", "") };
    let _ = writeln!(page, "| {what} |{head} type | |\n|---|{line}---|---|");
    for (field, comment) in message.field.iter().zip(&named.comments) {
        let name = match json.then(|| json_name(field)) {
            None => String::new(),
            Some(Some(name)) => format!(" `{name}` |"),
            Some(None) => " *gRPC only* |".to_owned(),
        };
        let told = type_of(message, field, json, used);
        let comment = if comment.is_empty() { String::new() } else { format!(" {comment}") };
        let _ = writeln!(page, "| `{}` |{name} {told} |{comment} |", field.name());
    }
    page.push('\n');
}

fn type_of(
    message: &DescriptorProto,
    field: &FieldDescriptorProto,
    json: bool,
    used: &mut Used,
) -> String {
    if let Some(entry) = map_entry(message, field) {
        let ends = entry.field.iter().map(|end| type_of(entry, end, json, used));
        return format!("map of {}", ends.collect::<Vec<_>>().join(" to "));
    }
    let one = match field.r#type() {
        Type::Message | Type::Enum => {
            let has_json = json && json_name(field).is_some();
            *used.0.entry(field.type_name().to_owned()).or_default() |= has_json;
            let name = field.type_name().rsplit('.').next().unwrap_or_default();
            format!("[{name}](#{})", name.to_lowercase())
        }
        Type::Uint64 if json && is_date(field) => "uint64, a date".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    match (field.label(), field.proto3_optional(), field.oneof_index) {
        (Label::Repeated, _, _) => format!("list of {one}"),
        (_, true, _) => format!("{one}, optional"),
        (_, false, Some(_)) => format!("{one}, if it is this"),
        _ => one,
    }
}

/// What the members above are made of, and what those are made of.
fn write_messages(types: &Types<'_>, mut used: Used, page: &mut String) {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let before = used.0.clone();
        for (name, json) in &before {
            let mut text = String::new();
            write_type(types.get(name), *json, &mut text, &mut used);
            texts.insert(name.clone(), text);
        }
        if used.0 == before {
            break;
        }
    }
    page.push_str("## What members are made of\n\n");
    let mut headings = BTreeSet::new();
    for name in types.order.iter().filter(|name| texts.contains_key(*name)) {
        let short = name.rsplit('.').next().unwrap_or_default();
        assert!(headings.insert(short), "two are called {short}");
        let _ = write!(page, "### {short}\n\n{}", texts[name]);
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
}

fn write_type(named: &Named<'_>, json: bool, text: &mut String, used: &mut Used) {
    if !named.comment.is_empty() {
        let _ = writeln!(text, "{}\n", named.comment);
    }
    match named.kind {
        Kind::Message(_) => write_members("member", named, json, text, used),
        Kind::Enum(values) => {
            text.push_str("| value | |\n|---|---|\n");
            for (value, comment) in values.value.iter().zip(&named.comments) {
                let _ = writeln!(text, "| `{}` | {comment} |", value.name());
            }
            text.push('\n');
        }
    }
}
