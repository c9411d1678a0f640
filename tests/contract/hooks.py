"""Hooks for schemathesis: what a document cannot say about data, so that every operation is reached, not only refused.

Well-formed requests get ids that exist (three in four, so that unknown ids stay in the run), and a status that the
order can take. Malformed requests stay as they are.
"""

import functools
import itertools
import os

import requests
import schemathesis

USERS = os.environ["FUZZ_USERS_URL"]
ORDERS = os.environ["FUZZ_ORDERS_URL"]

LONGEST_EMAIL = 254

session = requests.Session()
numbers = itertools.count(1)
turns = itertools.count()

# Statuses an order passes through on its way to the one that is asked for; nothing leads back to "pending".
WAYS = {
    "processing": [],
    "cancelled": [],
    "shipped": ["processing"],
    "completed": ["processing", "shipped"],
}
reachable = itertools.cycle(WAYS)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Describes e-mail addresses by their pattern alone.

    The pattern says which addresses are taken. Validators differ in what "format": "email" means beside it (length of
    the local part, hyphens in a domain), so values outside of one's format can be inside of the pattern.
    """
    drop_format(raw_schema)
    drop_security(raw_schema)


def drop_security(schema):
    """The services are fuzzed with AUTH=off: who may do what is tested cell by cell elsewhere."""
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
    """Points a well-formed request at data that exists."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.meta.phase.name.value == "stateful":
        # What one answer links to the next request is what a sequence is about; it must begin with something new,
        # not with the answer that an earlier sequence got for the same key, about something deleted since.
        renew_key(case)
        return
    path = case.path
    # Always: whoever tries one made-up password after the other is slowed down.
    if path == "/api/auth/login":
        case.body = dict(make_account())
        return
    if next(turns) % 4 == 0:
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
        if case.body["status"] not in WAYS:
            case.body = {"status": next(reachable)}
        use(case, make_order(WAYS[case.body["status"]]))
    elif path == "/api/orders/{id}":
        use(case, make_order())
    elif path == "/api/orders" and case.method == "POST":
        case.body = {**case.body, "user_id": id_of(make_user())}


def use(case, made):
    case.path_parameters = {"id": id_of(made)}
    if "If-Match" in case.headers:
        case.headers["If-Match"] = made.headers["ETag"]


def renew_key(case):
    """A key that was not used before: generators like to repeat themselves, and a key stands for one body."""
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"{os.getpid()}-{next(numbers)}"


def renew_email(case):
    """An address that was not used before, since one can be taken once."""
    if isinstance(case.body, dict) and "email" in case.body:
        email = f"u{os.getpid()}-{next(numbers)}.{case.body['email']}"
        if len(email) <= LONGEST_EMAIL:
            case.body = {**case.body, "email": email}


def id_of(made):
    return made.json()["data"]["id"]


def make_user():
    number = next(numbers)
    body = {"name": f"User {number}", "email": f"user{number}.{os.getpid()}@fuzz.example"}
    return send("POST", f"{USERS}/api/users", body)


@functools.cache
def make_account():
    """Somebody who can log in, as what they log in with."""
    account = {"email": f"login.{os.getpid()}@fuzz.example", "password": "a password to be fuzzed with"}
    send("POST", f"{USERS}/api/users", {"name": "Account", **account})
    return account


def make_session():
    return send("POST", f"{USERS}/api/auth/login", make_account()).json()["data"]


def make_order(statuses=()):
    """An order in the last of the statuses, or a pending one."""
    body = {"user_id": id_of(make_user()), "product": "Laptop", "quantity": 1, "total": 999.99}
    order = send("POST", f"{ORDERS}/api/orders", body)
    for status in statuses:
        order = send("PUT", f"{ORDERS}/api/orders/{id_of(order)}/status", {"status": status})
    return order


def send(method, url, body):
    response = session.request(method, url, json=body)
    response.raise_for_status()
    return response
