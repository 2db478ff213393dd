"""A fresh key and reference for each request that should be done: with a used one it would only be replayed or refused."""

import itertools

import schemathesis
from schemathesis import GenerationMode

numbers = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"fresh-{next(numbers)}"
    if isinstance(case.body, dict) and "merchant_reference" in case.body:
        case.body["merchant_reference"] = f"fresh-{next(numbers)}"
