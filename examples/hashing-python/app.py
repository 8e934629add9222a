"""Keeps passwords and signs tokens with what Python's standard library has: scrypt, HMAC-SHA-256, BLAKE2b."""

import base64
import hashlib
import hmac
import json
import os
import secrets

# For an example only: a deployed function has its key in its environment.
KEY = os.environ.get("TOKEN_KEY", "not a secret").encode()


def digest(event):
    data = event["text"].encode()
    return {name: hashlib.new(name, data).hexdigest() for name in ("sha256", "sha3_256", "blake2b")}


def scrypt(password, salt):
    return hashlib.scrypt(password.encode(), salt=salt, n=2**12, r=8, p=1, dklen=32).hex()


def hash_password(event):
    # A salt in the event is for who wants to see the same answer twice.
    salt = bytes.fromhex(event["salt"]) if "salt" in event else secrets.token_bytes(16)
    return {"salt": salt.hex(), "hash": scrypt(event["password"], salt)}


def check_password(event):
    made = scrypt(event["password"], bytes.fromhex(event["salt"]))
    return {"right": hmac.compare_digest(made, event["hash"])}


def signature_of(text):
    return base64.urlsafe_b64encode(hmac.digest(KEY, text.encode(), "sha256")).decode().rstrip("=")


def sign(event):
    claims = base64.urlsafe_b64encode(json.dumps(event["claims"], sort_keys=True).encode()).decode().rstrip("=")
    return {"token": f"{claims}.{signature_of(claims)}"}


def verify(event):
    claims, _, signature = event["token"].partition(".")
    if not hmac.compare_digest(signature_of(claims).encode(), signature.encode()):
        return {"valid": False}
    return {"valid": True, "claims": json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))}


ACTIONS = {"digest": digest, "hash": hash_password, "check": check_password, "sign": sign, "verify": verify}


def handle(event):
    return [ACTIONS[step["do"]](step) for step in event["steps"]]
