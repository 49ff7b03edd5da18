// Reads one webhook as it came over the wire, with the keys of its endpoint, and
// says for each judge and key whether it verifies:
//
//   stdin   {"headers": {…}, "body": "…", "secrets": ["whsec_…"], "publicKey": "base64"}
//   stdout  {"standardwebhooks": [true], "svix": [true], "ed25519": true}
'use strict';

const crypto = require('node:crypto');
const standardwebhooks = require('standardwebhooks');
const svix = require('svix');

const input = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));

function verifies(Webhook, secret) {
  try {
    new Webhook(secret).verify(input.body, input.headers);
    return true;
  } catch {
    return false;
  }
}

// Neither library knows v1a; Node's own crypto does. RFC 8410 §4 puts these 12
// bytes before a raw public key.
function ed25519() {
  const key = crypto.createPublicKey({
    key: Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), Buffer.from(input.publicKey, 'base64')]),
    format: 'der',
    type: 'spki',
  });
  const signed = `${input.headers['webhook-id']}.${input.headers['webhook-timestamp']}.${input.body}`;
  return input.headers['webhook-signature'].split(' ').some((s) => {
    const [version, signature] = s.split(',');
    return version === 'v1a' && crypto.verify(null, Buffer.from(signed), key, Buffer.from(signature, 'base64'));
  });
}

console.log(JSON.stringify({
  standardwebhooks: input.secrets.map((s) => verifies(standardwebhooks.Webhook, s)),
  svix: input.secrets.map((s) => verifies(svix.Webhook, s)),
  ed25519: ed25519(),
}));
