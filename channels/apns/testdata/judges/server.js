// A stand-in for Apple's service on Node's own HTTP/2, which is nghttp2's: few
// streams a connection, and a GOAWAY after every so many requests.
//
//   node server.js CERT KEY PUBLIC STREAMS REQUESTS
//
// PUBLIC is the PEM of the provider key's public half. It prints the port on a
// line, then a line of JSON for each request, and ends with its stdin.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const http2 = require('node:http2');

const [cert, key, publicKey, streams, requests] = process.argv.slice(2);
const signer = crypto.createPublicKey(fs.readFileSync(publicKey));

function tokenIsGood(authorization) {
  const [, token] = /^bearer (.+)$/.exec(authorization || '') || [];
  if (!token) return false;
  const [head, claims, signature] = token.split('.');
  const { alg, kid } = JSON.parse(Buffer.from(head, 'base64url'));
  const { iss, iat } = JSON.parse(Buffer.from(claims, 'base64url'));
  const age = Date.now() / 1000 - iat;
  return alg === 'ES256' && kid === 'ABC123DEFG' && iss === 'DEF123GHIJ' && age > -60 && age < 3600
    && crypto.verify('sha256', Buffer.from(`${head}.${claims}`), { key: signer, dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url'));
}

const server = http2.createSecureServer({
  cert: fs.readFileSync(cert), key: fs.readFileSync(key), settings: { maxConcurrentStreams: Number(streams) },
});
let sessions = 0;

server.on('session', (session) => {
  session.number = ++sessions;
  session.taken = 0;
  session.open = 0;
  session.on('error', () => {});
});

server.on('stream', (stream, headers) => {
  const { session } = stream;
  const open = ++session.open;
  const chunks = [];
  stream.on('error', () => {});
  stream.on('close', () => { session.open--; });
  stream.on('data', (chunk) => chunks.push(chunk));
  stream.on('end', () => {
    const payload = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    console.log(JSON.stringify({
      id: headers['apns-id'], path: headers[':path'], topic: headers['apns-topic'], type: headers['apns-push-type'],
      token: tokenIsGood(headers.authorization), body: payload.aps.alert.body, session: session.number, open,
    }));
    setTimeout(() => {
      stream.respond({ ':status': 200, 'apns-id': headers['apns-id'] });
      stream.end();
    }, 2);
    if (++session.taken === Number(requests)) {
      session.close(); // GOAWAY; what is open may end
    }
  });
});

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
// What is written to a pipe is only gone once it was called back for.
process.stdin.on('end', () => process.stdout.write('', () => process.exit(0))).resume();
