"""Aliases, tags and descriptions; and what there is elsewhere: replicas, custom key stores."""

import datetime
import uuid

from errors import DETECTED, INVALID, arn_of
from harness import ENDPOINTS, NODES, client, expect, expect_that, make_key, members, node, refused, unchecked
from keys import made

NOT_FOUND = "NotFoundException"
STATE = "KMSInvalidStateException"
UNSUPPORTED = "UnsupportedOperationException"
STORE_NOT_FOUND = "CustomKeyStoreNotFoundException"


def fresh(what="alias"):
    """A name that no earlier run made."""
    return f"alias/{what}-{uuid.uuid4()}"


def aliases_of(key=None, size=7):
    arguments = {} if key is None else {"KeyId": key}
    paginator = node().get_paginator("list_aliases")
    pages = list(paginator.paginate(**arguments, PaginationConfig={"PageSize": size}))
    for page in pages[:-1]:
        members("ListAliases, a page", page, {"Aliases", "Truncated", "NextMarker"})
        expect("ListAliases, a page", (len(page["Aliases"]), page["Truncated"]), (size, True))
    members("ListAliases, the last page", pages[-1], {"Aliases", "Truncated"})
    return {entry["AliasName"]: entry for page in pages for entry in page["Aliases"]}


def an_alias_is_made_moved_and_deleted():
    now = datetime.datetime.now(datetime.UTC)
    one, two, alias = make_key(), make_key(), fresh()
    answer = NODES[0].create_alias(AliasName=alias, TargetKeyId=one["KeyId"])
    members("CreateAlias", answer, set())
    entry = aliases_of(one["Arn"])[alias]
    expect(
        "an entry",
        sorted(entry),
        ["AliasArn", "AliasName", "CreationDate", "LastUpdatedDate", "TargetKeyId"],
    )
    expect("its names", (entry["AliasArn"], entry["TargetKeyId"]), (arn_of(alias), one["KeyId"]))
    age = abs((entry["CreationDate"] - now).total_seconds())
    expect_that("its date", age < 600, age)
    expect("not moved yet", entry["LastUpdatedDate"], entry["CreationDate"])
    blob = NODES[1].encrypt(KeyId=alias, Plaintext=b"x")
    expect("Encrypt by alias", blob["KeyId"], one["Arn"])
    members("UpdateAlias", NODES[1].update_alias(AliasName=alias, TargetKeyId=two["Arn"]), set())
    expect("Encrypt by moved alias", NODES[2].encrypt(KeyId=alias, Plaintext=b"x")["KeyId"], two["Arn"])
    arguments = {"KeyId": alias, "CiphertextBlob": blob["CiphertextBlob"]}
    message = "The key ID in the request does not identify a CMK that can perform this operation."
    refused("Decrypt by moved alias", NODES[0].decrypt, "IncorrectKeyException", message, **arguments)
    moved = aliases_of(two["KeyId"])[alias]
    expect("made when it was", moved["CreationDate"], entry["CreationDate"])
    expect_that("moved", moved["LastUpdatedDate"] > moved["CreationDate"], moved)
    expect("none is left", aliases_of(one["KeyId"]), {})
    members("DeleteAlias", NODES[2].delete_alias(AliasName=alias), set())
    message = f"Alias {arn_of(alias)} is not found."
    refused("after that", NODES[0].describe_key, NOT_FOUND, message, KeyId=alias)
    expect("its key is there", NODES[1].describe_key(KeyId=two["Arn"])["KeyMetadata"]["Enabled"], True)


def pages_of_aliases_hold_each_once():
    key = make_key()["KeyId"]
    names = {fresh("paged") for _ in range(15)}
    for name in names:
        node().create_alias(AliasName=name, TargetKeyId=key)
    expect("of the key", set(aliases_of(key)), names)
    everything = aliases_of()
    expect("of all keys", names - set(everything), set())
    expect("each of one key", {everything[name]["TargetKeyId"] for name in names}, {key})
    # boto3 tries again after a refusal for want of room; what a retry is told is shortened.
    once = client(ENDPOINTS[0], retries={"total_max_attempts": 1}).create_alias
    for _ in range(35):
        node().create_alias(AliasName=fresh("paged"), TargetKeyId=key)
    message = f"Key {arn_of(f'key/{key}')} has 50 aliases, the most that a key can have; delete one first"
    refused("one too many", once, "LimitExceededException", message, AliasName=fresh(), TargetKeyId=key)


def aliases_that_cannot_be():
    symmetric, hmac_key = make_key()["Arn"], made["HMAC_256", "GENERATE_VERIFY_MAC"]
    taken, none, unknown = fresh("taken"), fresh("none"), str(uuid.uuid4())
    node().create_alias(AliasName=taken, TargetKeyId=symmetric)
    create, update, delete = node().create_alias, node().update_alias, node().delete_alias
    message = f"An alias with the name {arn_of(taken)} already exists"
    arguments = {"AliasName": taken, "TargetKeyId": symmetric}
    refused("taken", create, "AlreadyExistsException", message, **arguments)
    message = f"Alias {arn_of(none)} is not found."
    refused("moved, not there", update, NOT_FOUND, message, AliasName=none, TargetKeyId=symmetric)
    refused("deleted, not there", delete, NOT_FOUND, message, AliasName=none)
    message = f"Key '{arn_of(f'key/{unknown}')}' does not exist"
    for call in (create, update):
        name = none if call == create else taken
        refused("no such key", call, NOT_FOUND, message, AliasName=name, TargetKeyId=unknown)
        refused("by alias", call, NOT_FOUND, f"Invalid keyId '{taken}'", AliasName=name, TargetKeyId=taken)
    message = (
        'Alias must start with the prefix "alias/". Please see '
        "https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
    )
    refused("no prefix", create, INVALID, message, AliasName="a", TargetKeyId=symmetric)
    for name in ("alias/aws/a", "alias/a:b", "alias/"):
        code = "InvalidAliasNameException"
        refused(name, create, code, lambda told: told, AliasName=name, TargetKeyId=symmetric)

    def told_why(told):
        return told.startswith(f"Alias {arn_of(taken)} cannot be associated with key {hmac_key}")

    refused("another kind", update, INVALID, told_why, AliasName=taken, TargetKeyId=hmac_key)
    gone = make_key()["Arn"]
    node().create_alias(AliasName=none, TargetKeyId=gone)
    node().schedule_key_deletion(KeyId=gone)
    message = f"{gone} is pending deletion."
    refused("to a key that goes", create, STATE, message, AliasName=fresh(), TargetKeyId=gone)
    refused("to a key that goes", update, STATE, message, AliasName=taken, TargetKeyId=gone)
    members("from a key that goes", update(AliasName=none, TargetKeyId=symmetric), set())
    message = "The marker is not one that an earlier page gave; list from the start"
    refused("marker", node().list_aliases, "InvalidMarkerException", message, Marker="x")
    listed = node().list_aliases
    refused("no such key", listed, NOT_FOUND, f"Invalid keyId '{taken}'", KeyId=taken)


def tag(key, value="v"):
    return {"TagKey": key, "TagValue": value}


def tags_of(key, size=50):
    pages = node().get_paginator("list_resource_tags").paginate(KeyId=key, PaginationConfig={"PageSize": size})
    return [(entry["TagKey"], entry["TagValue"]) for page in pages for entry in page["Tags"]]


def tags_come_and_go():
    key = make_key(Tags=[tag("made", "with it")])["Arn"]
    answer = node().list_resource_tags(KeyId=key)
    members("ListResourceTags", answer, {"Tags", "Truncated"})
    expect("ListResourceTags", (answer["Tags"], answer["Truncated"]), ([tag("made", "with it")], False))
    answer = NODES[0].tag_resource(KeyId=key, Tags=[tag("a", ""), tag("é ü", "2"), tag("made", "3")])
    members("TagResource", answer, set())
    wanted = [("a", ""), ("made", "3"), ("é ü", "2")]
    for size in (1, 2, 50):
        expect(f"in pages of {size}", tags_of(key, size), wanted)
    members("UntagResource", NODES[1].untag_resource(KeyId=key, TagKeys=["a", "é ü", "none"]), set())
    expect("one is left", tags_of(key), [("made", "3")])
    node().tag_resource(KeyId=key, Tags=[tag(f"k{number:02}") for number in range(49)])
    refused("too many", node().tag_resource, "TagException", "Too many tags", KeyId=key, Tags=[tag("z")])
    message = "Duplicate tag keys"
    refused("twice", node().tag_resource, "TagException", message, KeyId=key, Tags=[tag("z"), tag("z")])
    message = "Tags beginning with aws: are reserved"
    refused("reserved", node().tag_resource, "TagException", message, KeyId=key, Tags=[tag("aws:z")])
    value = "k" * 129
    message = (
        f"{DETECTED}Value '{value}' at 'tags.1.member.tagKey' failed to satisfy constraint: "
        "Member must have length less than or equal to 128"
    )
    refused("long", unchecked.tag_resource, INVALID, message, KeyId=key, Tags=[tag(value)])


def a_key_is_described_anew():
    key = make_key(Description="before")["KeyId"]
    for description in ("after, with é", ""):
        answer = node().update_key_description(KeyId=key, Description=description)
        members("UpdateKeyDescription", answer, set())
        told = node().describe_key(KeyId=key)["KeyMetadata"]["Description"]
        expect("its description", told, description)


def a_key_that_goes_keeps_its_labels():
    key = make_key(Tags=[tag("a")])["Arn"]
    node().schedule_key_deletion(KeyId=key)
    message = f"{key} is pending deletion."
    refused("TagResource", node().tag_resource, STATE, message, KeyId=key, Tags=[tag("b")])
    refused("UntagResource", node().untag_resource, STATE, message, KeyId=key, TagKeys=["a"])
    describe = node().update_key_description
    refused("UpdateKeyDescription", describe, STATE, message, KeyId=key, Description="b")
    expect("its tags", tags_of(key), [("a", "v")])


def there_is_one_region():
    single = make_key()["Arn"]
    multi = make_key(MultiRegion=True)["Arn"]
    unknown = arn_of(f"key/{uuid.uuid4()}")
    replicate, move = node().replicate_key, node().update_primary_region
    for what, call, member in (("ReplicateKey", replicate, "ReplicaRegion"), ("UpdatePrimaryRegion", move, "PrimaryRegion")):
        arguments = {member: "eu-west-1"}
        message = f"Key '{unknown}' does not exist"
        refused(what, call, NOT_FOUND, message, KeyId=unknown, **arguments)
        message = f"{single} is not a multi-region primary key."
        refused(what, call, UNSUPPORTED, message, KeyId=single, **arguments)
        refused(what, call, UNSUPPORTED, lambda told: "not offered here" in told, KeyId=multi, **arguments)


def there_are_no_custom_key_stores():
    create = node().create_custom_key_store
    refused("Create", create, UNSUPPORTED, lambda told: "not offered here" in told, CustomKeyStoreName="a")
    answer = members("Describe", node().describe_custom_key_stores(), {"CustomKeyStores", "Truncated"})
    expect("Describe", (answer["CustomKeyStores"], answer["Truncated"]), ([], False))
    message = "Custom key store 'cks-1' does not exist: there are none here"
    describe = node().describe_custom_key_stores
    for name in ("CustomKeyStoreId", "CustomKeyStoreName"):
        refused("Describe", describe, STORE_NOT_FOUND, message, **{name: "cks-1"})
    for verb in ("connect", "disconnect", "update", "delete"):
        call = getattr(node(), f"{verb}_custom_key_store")
        refused(verb, call, STORE_NOT_FOUND, message, CustomKeyStoreId="cks-1")


SECTIONS = [
    an_alias_is_made_moved_and_deleted,
    pages_of_aliases_hold_each_once,
    aliases_that_cannot_be,
    tags_come_and_go,
    a_key_is_described_anew,
    a_key_that_goes_keeps_its_labels,
    there_is_one_region,
    there_are_no_custom_key_stores,
]
