//! What is written on a key, for people: its tags and its description.

use conclave_client::Client;
use conclave_proto::v1::{
    ListResourceTagsRequest, Tag, TagResourceRequest, UntagResourceRequest,
    UpdateKeyDescriptionRequest,
};
use serde_json::{Value, json};

use crate::{
    app::App,
    error::CliError,
    output::{printable, table, with_meta},
    values::{Pair, tags},
};

pub(crate) async fn tag(
    app: &App,
    client: &Client,
    key_id: String,
    pairs: Vec<Pair>,
) -> Result<(), CliError> {
    let tags = tags(pairs);
    let json = json!({ "key_id": key_id, "tags": to_json(&tags) });
    let said = format!("{key_id} is tagged");
    let call = client.tag_resource(TagResourceRequest { key_id, tags });
    let reply = app.wait("tagging", call).await?;
    show(app, with_meta(json, &reply), &said)
}

pub(crate) async fn untag(
    app: &App,
    client: &Client,
    key_id: String,
    tag_keys: Vec<String>,
) -> Result<(), CliError> {
    let json = json!({ "key_id": key_id, "removed": tag_keys });
    let said = format!("{key_id} does not have these tags");
    let call = client.untag_resource(UntagResourceRequest { key_id, tag_keys });
    let reply = app.wait("taking tags off", call).await?;
    show(app, with_meta(json, &reply), &said)
}

pub(crate) async fn list(app: &App, client: &Client, key_id: String) -> Result<(), CliError> {
    // A page holds all that a key can have.
    let request = ListResourceTagsRequest { key_id, ..ListResourceTagsRequest::default() };
    let reply = app.wait("asking", client.list_resource_tags(request)).await?;
    let tags = &reply.value.tags;
    app.show(&with_meta(json!({ "tags": to_json(tags) }), &reply), |out| {
        let rows = tags.iter().map(|tag| [tag.tag_key.clone(), tag.tag_value.clone()]);
        writeln!(out, "{}", table(["TAG", "VALUE"], rows))
    })
}

pub(crate) async fn describe_as(
    app: &App,
    client: &Client,
    key_id: String,
    description: String,
) -> Result<(), CliError> {
    let json = json!({ "key_id": key_id, "description": description });
    let said = format!("{key_id} has this description now");
    let request = UpdateKeyDescriptionRequest { key_id, description };
    let reply = app.wait("describing", client.update_key_description(request)).await?;
    show(app, with_meta(json, &reply), &said)
}

fn to_json(tags: &[Tag]) -> Vec<Value> {
    tags.iter().map(|tag| json!({ "key": tag.tag_key, "value": tag.tag_value })).collect()
}

fn show(app: &App, json: Value, said: &str) -> Result<(), CliError> {
    app.show(&json, |out| writeln!(out, "{}", printable(said)))
}
