#!/usr/bin/env python3
"""Checks an export of a Fairway log with nothing but Python: no code of ours, no packages.

Usage: verify_log.py [EXPORT]     (stdin without it)

Recomputes the id of every event, the chain of all lines, every channel's id, every state's hash and every signature on states and
vouchers. Prints one line and exits with 0, or says at which line what is wrong and exits with 1.
"""
import json
import re
import sys

MASK = (1 << 64) - 1
P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
     0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8)

def rounds():
    lfsr = 1
    for _ in range(24):
        constant = 0
        for j in range(7):
            constant |= (lfsr & 1) << ((1 << j) - 1)
            lfsr = lfsr << 1 ^ (0x171 if lfsr & 0x80 else 0)
        yield constant

def rotate(word, by):
    return (word << by % 64 | word >> (64 - by % 64)) & MASK

def keccak(data):
    """Keccak-256 with its own padding, not SHA-3's."""
    lanes, rate = [[0] * 5 for _ in range(5)], 136
    data = bytearray(data) + b"\x01" + bytes(-(len(data) + 1) % rate)
    data[-1] |= 0x80
    for start in range(0, len(data), rate):
        for i in range(rate // 8):
            lanes[i % 5][i // 5] ^= int.from_bytes(data[start + 8 * i:start + 8 * i + 8], "little")
        for constant in rounds():
            c = [lanes[x][0] ^ lanes[x][1] ^ lanes[x][2] ^ lanes[x][3] ^ lanes[x][4] for x in range(5)]
            d = [c[(x + 4) % 5] ^ rotate(c[(x + 1) % 5], 1) for x in range(5)]
            lanes = [[lanes[x][y] ^ d[x] for y in range(5)] for x in range(5)]
            x, y, current = 1, 0, lanes[1][0]
            for t in range(24):
                x, y = y, (2 * x + 3 * y) % 5
                current, lanes[x][y] = lanes[x][y], rotate(current, (t + 1) * (t + 2) // 2)
            lanes = [[lanes[x][y] ^ (~lanes[(x + 1) % 5][y] & lanes[(x + 2) % 5][y]) for y in range(5)] for x in range(5)]
            lanes[0][0] ^= constant
    return b"".join(lanes[i % 5][i // 5].to_bytes(8, "little") for i in range(4))

def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P

def times(k, point):
    result = None
    while k:
        if k & 1:
            result = add(result, point)
        point, k = add(point, point), k >> 1
    return result

def signer(digest, signature):
    """The address behind a signature over an Ethereum-prefixed hash; only the low-s encoding counts."""
    r, s, v = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]
    if len(signature) != 65 or v not in (27, 28) or not 0 < r < N or not 0 < s <= N // 2:
        return None
    z = int.from_bytes(keccak(b"\x19Ethereum Signed Message:\n32" + digest), "big")
    y = pow(r**3 + 7, (P + 1) // 4, P)
    if y * y % P != (r**3 + 7) % P:
        return None
    y = y if y % 2 == v - 27 else P - y
    key = times(pow(r, -1, N), add(times(s, (r, y)), times(-z % N, G)))
    return key and keccak(key[0].to_bytes(32, "big") + key[1].to_bytes(32, "big"))[12:]

def word(number):
    return int(number).to_bytes(32, "big")

def raw(text):
    return bytes.fromhex(text[2:])

def need(holds, why):
    if not holds:
        raise ValueError(why)

def spelled(value):
    """The one spelling of a value; Python alone writes two of the controls with a letter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return re.sub(r"\\(.)", lambda m: {"b": "\\u0008", "f": "\\u000c"}.get(m[1], m[0]), text)

def check_event(name, event, channels, states):
    """What an event says, held against what it was made from; the number of signatures that were recovered."""
    if name == "channel-created":
        people = [raw(p) for p in event["participants"]]
        fixed = (word(128) + word(event["channel_nonce"]) + raw(event["app_definition"]).rjust(32, b"\0")
                 + word(event["challenge_duration"]) + word(len(people)) + b"".join(p.rjust(32, b"\0") for p in people))
        need(keccak(fixed) == raw(event["channel_id"]), "the channel's id is not that of its fixed part")
        channels[event["channel_id"]] = people
    elif name == "state-recorded":
        body = raw(event["encoded"])
        need(keccak(body) == raw(event["state_hash"]), "the state's hash is not that of its body")
        need(body[:32] == raw(event["channel_id"]), "the state is of another channel")
        need(int.from_bytes(body[96:128], "big") == event["turn_num"], "the state is of another turn")
        states[event["state_hash"]] = (event["channel_id"], event["turn_num"], bool(body[159]))
    elif name in ("state-signed", "state-received"):
        said = (event["channel_id"], event["turn_num"], event["is_final"])
        need(states.get(event["state_hash"]) == said, "the signed state was not recorded, or as another one")
        need(raw(event["signer"]) in channels.get(event["channel_id"], []), "the signer is no participant")
        need(signer(raw(event["state_hash"]), raw(event["signature"])) == raw(event["signer"]), "the signature is not the signer's")
        return 1
    elif name in ("voucher-issued", "voucher-received"):
        payer = channels.get(event["channel_id"], [None])[0]
        digest = keccak(raw(event["channel_id"]) + word(event["amount"]))
        need(payer == raw(event["payer"]) and signer(digest, raw(event["signature"])) == payer, "the voucher is not its payer's")
        return 1
    return 0

def verify(lines):
    chain, channels, states, signatures, number, name = bytes(32), {}, {}, 0, 0, None
    for number, text in enumerate(lines, 1):
        try:
            line = json.loads(text)
            need(name != "export-ended", "it stands behind the end")
            name, event = line["name"], line["payload"]
            need(text.rstrip("\n") == spelled(line), "it is not in canonical form")
            identity = keccak(f"ev1|{name}|{spelled(event)}".encode())
            need(identity == raw(line["id"]), "the id is not that of the event")
            chain = keccak(chain + identity)
            need(chain == raw(line["chain"]), "the chain does not follow from the line before")
            need(name != "export-ended" or event["lines"] == number, "lines are missing")
            signatures += check_event(name, event, channels, states)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as why:
            return f"line {number}: {why or type(why).__name__}"
    if name != "export-ended":
        return f"line {number}: the export has no end: it was cut"
    print(f"{number} lines and {signatures} signatures hold; the last line's chain is 0x{chain.hex()}")
    return None

if __name__ == "__main__":
    wrong = verify(open(sys.argv[1], encoding="utf-8") if len(sys.argv) > 1 else sys.stdin)
    sys.exit(wrong)
