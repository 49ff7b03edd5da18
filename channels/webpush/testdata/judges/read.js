// Reads one push as it came over the wire, as its browser and its push service
// would:
//
//   stdin   {"headers": {…}, "body": "base64", "endpoint": "…", "p256dh": "…", "auth": "…", "private": "…", "vapid": "…"}
//   stdout  {"plain": "…", "expected": {…}, "claims": {…}, "signed": true}
//
// plain is what http_ece decrypts, expected the header fields that web-push
// itself would send for the same wishes, claims what the VAPID token says, and
// signed whether the key of the token's own k= has signed it.
'use strict';

const crypto = require('node:crypto');
const ece = require('http_ece');
const webpush = require('web-push');

const input = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));

function decrypt() {
  const browser = crypto.createECDH('prime256v1');
  browser.setPrivateKey(Buffer.from(input.private, 'base64url'));
  return ece.decrypt(Buffer.from(input.body, 'base64'), {
    version: 'aes128gcm', privateKey: browser, authSecret: input.auth,
  }).toString('utf8');
}

// web-push refuses a topic, an urgency and a time to live that no service takes.
function expected() {
  const details = webpush.generateRequestDetails(
    { endpoint: input.endpoint, keys: { p256dh: input.p256dh, auth: input.auth } }, 'x',
    {
      TTL: Number(input.headers.ttl), urgency: input.headers.urgency, topic: input.headers.topic,
      vapidDetails: { subject: 'mailto:ops@acme.example', publicKey: webpush.generateVAPIDKeys().publicKey, privateKey: webpush.generateVAPIDKeys().privateKey },
    });
  const fields = {};
  for (const name of ['TTL', 'Urgency', 'Topic', 'Content-Encoding', 'Content-Type']) {
    fields[name.toLowerCase()] = String(details.headers[name]);
  }
  return fields;
}

function vapid() {
  const [, token, key] = /^vapid t=([^,]+), k=(.+)$/.exec(input.headers.authorization);
  const point = Buffer.from(key, 'base64url');
  const jwk = {
    kty: 'EC', crv: 'P-256',
    x: point.subarray(1, 33).toString('base64url'), y: point.subarray(33, 65).toString('base64url'),
  };
  const [head, claims, signature] = token.split('.');
  return {
    claims: JSON.parse(Buffer.from(claims, 'base64url').toString('utf8')),
    signed: key === input.vapid && crypto.verify('sha256', Buffer.from(`${head}.${claims}`),
      { key: crypto.createPublicKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url')),
  };
}

console.log(JSON.stringify({ plain: decrypt(), expected: expected(), ...vapid() }));
