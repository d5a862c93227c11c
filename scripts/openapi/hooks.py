"""What schemathesis has to know to test the services: bodies of lines, and how much is enough."""

import datetime
import json

import schemathesis
from hypothesis import strategies

# The limits themselves are legal, and would keep a test busy for hours.
MOST_EVENTS = 100
SLOWEST_RATE = 1000


# Times of any year hardly ever lie in this century, as the schemas want them to.
schemathesis.openapi.format(
    "date-time",
    strategies.datetimes(datetime.datetime(2000, 1, 1), datetime.datetime(2099, 12, 31)).map(
        lambda time: time.isoformat() + "Z"
    ),
)


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    """Writes an array as one element a line; an example is text already."""
    if isinstance(value, list):
        return "".join(json.dumps(element) + "\n" for element in value).encode()
    return as_text(value)


@schemathesis.serializer("text/tab-separated-values")
def text(context, value):
    """Writes text as it is."""
    return as_text(value)


def as_text(value):
    """The bytes of a text, and JSON of what is none."""
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode(errors="replace")


@schemathesis.hook
def before_call(context, case, kwargs):
    """Makes a large request that is legal a small one."""
    if case.operation.path != "/push" or not isinstance(case.body, dict):
        return
    count, rate = case.body.get("N"), case.body.get("rate")
    if isinstance(count, int) and MOST_EVENTS < count <= 10_000_000:
        case.body["N"] = MOST_EVENTS
    if isinstance(rate, (int, float)) and 0.000011575 <= rate < SLOWEST_RATE:
        case.body["rate"] = SLOWEST_RATE
