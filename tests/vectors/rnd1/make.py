#!/usr/bin/env python3
"""Writes the vectors beside it: RND1 a second time, from its description alone.

The canonical form, the keys and the carriers are described in src/security/rnd1.rs. Run it
anywhere with Python 3.9; it needs no packages and must leave the files as they are.
"""

import hashlib
import hmac
import json
import pathlib

KEY = bytes(range(32))
SESSION = bytes(range(64, 96))
BOARD = hashlib.sha256(b"a board").digest()


def hkdf(secret, salt, info):
    pseudorandom = hmac.digest(salt, secret, "sha256")
    return hmac.digest(pseudorandom, info + b"\x01", "sha256")


def prefixed(field):
    return len(field).to_bytes(4, "big") + field


def vector(name, *, seq, method, target, content_type, body, host="192.168.1.7:38400",
           transport="http", boot=5, status=None, as_member=False):
    kid = hashlib.sha256(b"kid" + KEY).digest()[:8]
    info = b"roundel rnd1" + BOARD + boot.to_bytes(8, "big")
    request_key = hkdf(KEY, SESSION, info + b"request")
    answer_key = hkdf(KEY, SESSION, info + b"answer")
    blank = f"RND1 kid={kid.hex()},from={SESSION.hex()},boot={boot},seq={seq},mac={'0' * 64}"
    hole = "0" * len(blank)
    digested = body.replace("@", hole) if as_member else body
    digest = hashlib.sha256(digested.encode()).digest()
    direction, sender, reader = ("request", SESSION, BOARD)
    if status is not None:
        direction, sender, reader = ("answer", BOARD, SESSION)
    fields = [b"RND1", transport.encode(), direction.encode(), kid, sender, reader,
              boot.to_bytes(8, "big"), seq.to_bytes(8, "big"), method.encode(), target.encode(),
              host.encode(), content_type.encode(), digest]
    if status is not None:
        fields.append(status.to_bytes(2, "big"))
    canonical = b"".join(map(prefixed, fields))
    key = request_key if status is None else answer_key
    mac = hmac.digest(key, canonical, "sha256").hex()
    credentials = blank.replace("0" * 64, mac)
    if status is not None:
        credentials = f"RND1 seq={seq},mac={mac}"
    member = None
    if as_member:
        member = credentials
        body = body.replace("@", member)
    written = {
        "key": KEY.hex(), "kid": kid.hex(), "session": SESSION.hex(), "board": BOARD.hex(),
        "boot": boot, "seq": seq, "transport": transport, "method": method, "target": target,
        "host": host, "content_type": content_type, "body": body, "member": member,
        "status": status, "request_key": request_key.hex(), "answer_key": answer_key.hex(),
        "digest": digest.hex(), "canonical": canonical.hex(), "mac": mac,
        "credentials": credentials,
    }
    path = pathlib.Path(__file__).with_name(f"{name}.json")
    path.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


JSON = "application/json"
PUT = '{"jsonrpc":"2.0","id":1,"method":"put","params":{"key":"lamp","value":{"on":true}}}'
vector("request", seq=1, method="POST", target="/rpc", content_type=JSON, body=PUT)
vector("answer", seq=1, method="POST", target="/rpc", content_type=JSON, status=200,
       body='{"jsonrpc":"2.0","id":1,"result":{"key":"lamp"},"ts":0}')
vector("request_by_get", seq=2**63, method="GET", content_type="", body="", boot=2**40,
       target="/rpc?jsonrpc=2.0&method=get&id=2&encode=none&params=%7B%22key%22%3A%22lamp%22%7D")
vector("request_over_udp", seq=3, method="PUT", target="/chord", content_type=JSON,
       transport="httpu", host="[fe80::1]:38400", body='{"do":"get","data":{"key":"Küche"}}')
vector("answer_without_body", seq=4, method="POST", target="/rpc", content_type="", body="",
       status=204, transport="httpu")
vector("request_with_member", seq=5, method="POST", target="/rpc", content_type=JSON,
       as_member=True, body='{"jsonrpc":"2.0","id":1,"method":"echo","digest":"@"}')
