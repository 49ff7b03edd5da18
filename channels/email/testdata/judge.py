"""Reads a mail as Python's standard library and python3-dkim do.

usage: judge.py RECORDS <MAIL

RECORDS is JSON: {"s1._domainkey.acme.example": "v=DKIM1; ..."}. Prints JSON:
which signatures hold, the headers decoded, each part, and every defect that
the parser found.
"""
import email, email.policy, hashlib, json, sys

import dkim

raw = sys.stdin.buffer.read()
records = json.loads(sys.argv[1])
mail = email.message_from_bytes(raw, policy=email.policy.default)


def lookup(name, timeout=5):
    record = records.get(name.decode().rstrip("."))
    return record.encode() if record else None


signatures = []
for i in range(len(mail.get_all("DKIM-Signature", []))):
    try:
        signatures.append(bool(dkim.DKIM(raw).verify(idx=i, dnsfunc=lookup)))
    except dkim.DKIMException as e:
        signatures.append(str(e))

parts, defects = [], [repr(d) for d in mail.defects]
for part in mail.walk():
    defects += [f"{part.get_content_type()}: {d!r}" for d in part.defects]
    for name, value in part.items():
        defects += [f"{name}: {d!r}" for d in getattr(value, "defects", [])]
    if part.is_multipart():
        parts.append({"type": part.get_content_type()})
        continue
    body = part.get_payload(decode=True)
    parts.append({
        "type": part.get_content_type(),
        "disposition": part.get_content_disposition() or "",
        "filename": part.get_filename() or "",
        "cid": part["Content-ID"] or "",
        "text": part.get_content() if part.get_content_maintype() == "text" else "",
        "sha256": hashlib.sha256(body).hexdigest(),
        "encoding": part["Content-Transfer-Encoding"] or "",
    })

print(json.dumps({
    "signatures": signatures,
    "headers": {name: str(value) for name, value in mail.items()},
    "names": [name for name, _ in mail.items()],
    "from": [[a.display_name, a.addr_spec] for a in mail["From"].addresses],
    "to": [[a.display_name, a.addr_spec] for a in mail["To"].addresses],
    "parts": parts,
    "defects": defects,
    "longest": max(len(line) for line in raw.split(b"\n")),
}))
