// The AWS SDK for JavaScript against a cluster that `conclave dev` started, and the JavaScript of
// docs/aws-compatibility.md as it stands there.

import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { Agent } from "node:https";
import * as kms from "@aws-sdk/client-kms";
import { NodeHttpHandler } from "@smithy/node-http-handler";

const env = process.env;
const read = (name) => readFileSync(env[name]);
const nodes = env.CONCLAVE_ENDPOINTS.split(",").map(
  (endpoint) =>
    new kms.KMSClient({
      endpoint,
      region: "local",
      credentials: { accessKeyId: "unused", secretAccessKey: "unused" },
      requestHandler: new NodeHttpHandler({
        httpsAgent: new Agent({
          ca: read("CONCLAVE_CA_CERT"),
          cert: read("CONCLAVE_CLIENT_CERT"),
          key: read("CONCLAVE_CLIENT_KEY"),
        }),
      }),
    }),
);
const at = (node, command, input) => nodes[node].send(new kms[`${command}Command`](input));

const { KeyMetadata: symmetric } = await at(0, "CreateKey", { Description: "of JavaScript" });
assert(symmetric.CreationDate instanceof Date);
const EncryptionContext = { app: "javascript" };
const Plaintext = new TextEncoder().encode("from JavaScript");
const sealed = await at(0, "Encrypt", { KeyId: symmetric.Arn, Plaintext, EncryptionContext });
const { CiphertextBlob } = sealed;
const opened = await at(1, "Decrypt", { CiphertextBlob, EncryptionContext });
assert.deepEqual(Buffer.from(opened.Plaintext), Buffer.from(Plaintext));
assert.equal(opened.KeyId, symmetric.Arn);
assert.match(sealed.$metadata.requestId, /^[0-9a-f-]{36}$/);

const { KeyMetadata: signing } = await at(1, "CreateKey", {
  KeySpec: "ECC_NIST_P256",
  KeyUsage: "SIGN_VERIFY",
});
const Message = Buffer.from("signed by JavaScript");
const how = { KeyId: signing.Arn, Message, SigningAlgorithm: "ECDSA_SHA_256" };
const { Signature } = await at(2, "Sign", how);
assert.equal((await at(0, "Verify", { ...how, Signature })).SignatureValid, true);
const { PublicKey } = await at(1, "GetPublicKey", { KeyId: signing.Arn });
const key = createPublicKey({ key: Buffer.from(PublicKey), format: "der", type: "spki" });
assert(verify("sha256", Message, key, Signature));

for (const [what, name, type, message] of [
  [() => at(0, "DescribeKey", { KeyId: "fake" }), "NotFoundException", kms.NotFoundException, "Invalid keyId 'fake'"],
  [() => at(1, "Decrypt", { CiphertextBlob }), "InvalidCiphertextException", kms.InvalidCiphertextException],
  [() => at(2, "CreateKey", { KeySpec: "X" }), "ValidationException", kms.KMSServiceException],
]) {
  await assert.rejects(what, (error) => {
    assert.equal(error.name, name);
    assert(error instanceof type, `${name} is a ${error.constructor.name}`);
    if (message) assert.equal(error.message, message);
    assert.equal(error.$metadata.httpStatusCode, 400);
    return true;
  });
}

// The guide's block, beside the installed packages, since that is where imports are looked for.
const document = readFileSync(new URL("../../../../docs/aws-compatibility.md", env.CONCLAVE_AWS_HERE), "utf8");
const blocks = [...document.matchAll(/^```javascript\n(.*?)^```/gms)].map(([, code]) => code);
assert(blocks.length > 0, "the guide has no JavaScript");
const guide = new URL("guide.mjs", import.meta.url);
writeFileSync(guide, blocks.join(""));
await import(guide);

for (const node of nodes) node.destroy();
console.log("JavaScript: every check held");
