#!/usr/bin/env python3
"""Checks verify_log.py: it passes the golden export, and refuses each kind of tampering, also by somebody who computes every hash
again. Usage: test_verify_log.py GOLDEN"""
import json
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from verify_log import N, keccak, spelled  # noqa: E402

FLIP = {"0": "1", "1": "0"}

def hashed(lines):
    """The lines with every id and the chain computed again: what a tamperer does who knows the format."""
    chain, out = bytes(32), []
    for line in lines:
        identity = keccak(f"ev1|{line['name']}|{spelled(line['payload'])}".encode())
        chain = keccak(chain + identity)
        out.append(line | {"id": "0x" + identity.hex(), "chain": "0x" + chain.hex()})
    return out

def text(lines):
    return "".join(spelled(line) + "\n" for line in lines)

def changed(golden, name, change, again=True):
    """The golden export with one event of this name changed."""
    lines = json.loads(json.dumps(golden))
    change(next(line for line in lines if line["name"] == name)["payload"])
    return text(hashed(lines) if again else lines)

def flip(key, at=-1):
    def change(event):
        old = event[key]
        digit = FLIP.get(old[at], "0")
        event[key] = old[:at] + digit + (old[at + 1:] if at != -1 else "")
    return change

def put(key, value):
    return lambda event: event.update({key: value(event[key])})

def high_s(event):
    sig = bytes.fromhex(event["signature"][2:])
    s = N - int.from_bytes(sig[32:64], "big")
    event["signature"] = "0x" + (sig[:32] + s.to_bytes(32, "big") + bytes([55 - sig[64]])).hex()

def tampered(golden):
    """Name of each kind, the export, and what the refusal must say."""
    body, end = golden[:-1], golden[-1]
    lines_of = lambda lines: end | {"payload": end["payload"] | {"lines": len(lines) + 1}}
    first = next(i for i, line in enumerate(golden) if line["name"] == "state-signed")
    yield "a changed field", changed(golden, "state-signed", flip("signer"), False), "the id is not"
    yield "a changed id", text(body[:5] + [body[5] | {"id": "0x" + "11" * 32}] + golden[6:]), "the id is not"
    yield "a changed name", text(body[:5] + [body[5] | {"name": "x"}] + golden[6:]), "the id is not"
    yield "a line left out", text(body[:5] + golden[6:]), "the chain does not follow"
    yield "two lines exchanged", text(body[:5] + [body[6], body[5]] + golden[7:]), "the chain does not follow"
    yield "a line twice", text(body[:6] + golden[5:]), "the chain does not follow"
    yield "another beginning", text(golden[1:]), "the chain does not follow"
    yield "the end cut off", text(body), "it was cut"
    yield "something after the end", text(golden + [end]), "behind the end"
    yield "blanks", text(golden).replace('","id"', '", "id"', 1), "not in canonical form"
    yield "a key twice", text(golden).replace('{"chain"', '{"name":"x","chain"', 1), "not in canonical form"
    yield "no JSON", text(body) + "{\n", "line"
    yield "nothing", "", "it was cut"
    short = body[:10] + [end]
    yield "lines left out, hashed again", text(hashed(short)), "lines are missing"
    again = body[:first] + body[first + 1:]
    missing = [line for line in again if line["name"] != "state-recorded"]
    yield "states left out, hashed again", text(hashed(missing + [lines_of(missing)])), "was not recorded"
    for what, name, change, says in [
        ("another signature", "state-signed", flip("signature", 10), "the signature is not"),
        ("another encoding of it", "state-signed", high_s, "the signature is not"),
        ("a received signature", "state-received", flip("signature", 80), "the signature is not"),
        ("another signer", "state-signed", flip("signer"), "no participant"),
        ("another turn", "state-signed", put("turn_num", lambda n: n + 1), "as another one"),
        ("not final", "state-received", put("is_final", lambda f: not f), "as another one"),
        ("another state", "state-recorded", flip("encoded", 400), "not that of its body"),
        ("another turn of a state", "state-recorded", put("turn_num", lambda n: n + 1), "another turn"),
        ("another channel", "state-recorded", flip("channel_id"), "another channel"),
        ("a larger voucher", "voucher-received", put("amount", lambda a: str(int(a) + 1)), "not its payer's"),
        ("another payer", "voucher-received", flip("payer"), "not its payer's"),
        ("other participants", "channel-created", put("participants", lambda p: p[::-1]), "not that of its fixed part"),
        ("another nonce", "channel-created", put("channel_nonce", lambda n: n ^ 1), "not that of its fixed part"),
        ("a field left out", "state-signed", lambda event: event.pop("signer"), "signer"),
        ("a field of another kind", "state-signed", put("signature", lambda _: 7), "line"),
    ]:
        yield f"{what}, hashed again", changed(golden, name, change), says

def main():
    golden_text = Path(sys.argv[1]).read_text(encoding="utf-8")
    golden = [json.loads(line) for line in golden_text.splitlines()]
    run = lambda export: subprocess.run(
        [sys.executable, HERE / "verify_log.py"], input=export, capture_output=True, text=True, encoding="utf-8")
    passed = run(golden_text)
    bad = [] if passed.returncode == 0 else [f"the golden export is refused: {passed.stderr}"]
    kinds = list(tampered(golden))
    for kind, export, says in kinds:
        refused = run(export)
        if refused.returncode != 1 or says not in refused.stderr or "Traceback" in refused.stderr:
            bad.append(f"{kind}: expected a refusal that says {says!r}, found {refused.returncode}: {refused.stderr}")
    print("\n".join(bad) or f"the golden export holds, and {len(kinds)} kinds of tampering are refused")
    sys.exit(1 if bad else 0)

if __name__ == "__main__":
    main()
