"""Schemathesis hooks that point requests at existing data, so that every operation also returns 2xx responses.

Three in four well-formed requests get ids that exist and a status that the order can change to. The other requests and
malformed requests stay unchanged.
"""

import functools
import itertools
import os

import requests
import schemathesis

USERS = os.environ["FUZZ_USERS_URL"]
ORDERS = os.environ["FUZZ_ORDERS_URL"]

MAX_EMAIL_LENGTH = 254

session = requests.Session()
numbers = itertools.count(1)
call_numbers = itertools.count()

# Statuses that a pending order must pass before the requested one. No transition returns to "pending".
PRIOR_STATUSES = {
    "processing": [],
    "cancelled": [],
    "shipped": ["processing"],
    "completed": ["processing", "shipped"],
}
reachable = itertools.cycle(PRIOR_STATUSES)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Removes "format": "email" where a pattern exists, and the security requirements.

    The services validate the pattern. Validators interpret the format differently (length of the local part, hyphens in
    a domain), so an address can match the pattern and still violate the format.
    """
    drop_format(raw_schema)
    drop_security(raw_schema)


def drop_security(schema):
    """Removes security requirements. The services run with AUTH=off; other tests cover authorization."""
    del schema["components"]["securitySchemes"]
    for methods in schema["paths"].values():
        for operation in methods.values():
            del operation["security"]


def drop_format(node):
    if isinstance(node, dict):
        if node.get("format") == "email" and "pattern" in node:
            del node["format"]
        for child in node.values():
            drop_format(child)
    elif isinstance(node, list):
        for child in node:
            drop_format(child)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Points a well-formed request at existing data."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.meta.phase.name.value == "stateful":
        # A sequence takes its ids from its own responses. A reused key would replay the response of an earlier sequence,
        # whose resource may be deleted.
        renew_key(case)
        return
    path = case.path
    # Always valid credentials: repeated failed logins are rate limited.
    if path == "/api/auth/login":
        case.body = dict(make_account())
        return
    if next(call_numbers) % 4 == 0:
        return
    if path in ("/api/auth/refresh", "/api/auth/logout"):
        case.body = {"refresh_token": make_session()["refresh_token"]}
        return
    renew_key(case)
    renew_email(case)
    if path.startswith("/api/users/{id}"):
        use(case, make_user())
    elif path == "/api/orders/user/{user_id}":
        case.path_parameters = {"user_id": make_order().json()["data"]["user_id"]}
    elif path == "/api/orders/{id}/status":
        if case.body["status"] not in PRIOR_STATUSES:
            case.body = {"status": next(reachable)}
        use(case, make_order(PRIOR_STATUSES[case.body["status"]]))
    elif path == "/api/orders/{id}":
        use(case, make_order())
    elif path == "/api/orders" and case.method == "POST":
        case.body = {**case.body, "user_id": id_of(make_user())}


def use(case, made):
    case.path_parameters = {"id": id_of(made)}
    if "If-Match" in case.headers:
        case.headers["If-Match"] = made.headers["ETag"]


def renew_key(case):
    """Replaces the Idempotency-Key by a new one. Generators repeat keys, and a key belongs to one body."""
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"{os.getpid()}-{next(numbers)}"


def renew_email(case):
    """Replaces the e-mail address by a new one, since addresses are unique."""
    if isinstance(case.body, dict) and "email" in case.body:
        email = f"u{os.getpid()}-{next(numbers)}.{case.body['email']}"
        if len(email) <= MAX_EMAIL_LENGTH:
            case.body = {**case.body, "email": email}


def id_of(made):
    return made.json()["data"]["id"]


def make_user():
    number = next(numbers)
    body = {"name": f"User {number}", "email": f"user{number}.{os.getpid()}@fuzz.example"}
    return send("POST", f"{USERS}/api/users", body)


@functools.cache
def make_account():
    """Creates a user who can log in and returns the credentials."""
    account = {"email": f"login.{os.getpid()}@fuzz.example", "password": "a password to be fuzzed with"}
    send("POST", f"{USERS}/api/users", {"name": "Account", **account})
    return account


def make_session():
    return send("POST", f"{USERS}/api/auth/login", make_account()).json()["data"]


def make_order(statuses=()):
    """Creates a pending order and moves it through the given statuses."""
    body = {"user_id": id_of(make_user()), "product": "Laptop", "quantity": 1, "total": 999.99}
    order = send("POST", f"{ORDERS}/api/orders", body)
    for status in statuses:
        order = send("PUT", f"{ORDERS}/api/orders/{id_of(order)}/status", {"status": status})
    return order


def send(method, url, body):
    response = session.request(method, url, json=body)
    response.raise_for_status()
    return response
