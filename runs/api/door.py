"""What every view of the API is: one door with declared needs, and an operation that the schema describes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from django.http import HttpResponseBase
from django.utils.cache import add_never_cache_headers
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from pydantic import BaseModel
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from runs.api import problems
from runs.api.callers import Need
from runs.api.kept import HEADER

Fn = TypeVar("Fn", bound=Callable[..., Any])

_WORDS = {
    400: "The request cannot be read.",
    401: "Nobody is signed in, or the token does not hold.",
    403: "The caller may not do this.",
    404: "There is no such thing.",
    409: "It cannot be done as things stand; the problem tells the state, who changed it and when.",
    413: "The request is too large.",
    415: "The request is not JSON.",
    422: "Something in the request does not fit; the problem lists the places.",
    429: "Too many requests.",
    503: "Not available at the moment; see Retry-After.",
}
_KEY = OpenApiParameter(
    HEADER,
    {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description="Sent twice, done once: the same key and body get the same answer for a day.",
)


class Door(APIView):
    """A view of the API. `needs` declares, for each method, what it takes; what is not declared is closed."""

    needs: ClassVar[Mapping[str, Need]] = {}
    http_method_names: ClassVar[Sequence[str]] = ["get", "head", "post"]  # type: ignore[misc]

    def finalize_response(  # type: ignore[override]
        self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Nobody on the way keeps an answer."""
        finished = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[arg-type]
        add_never_cache_headers(finished)
        return finished


def answer(content: BaseModel, status: int = 200, *, location: str = "") -> Response:
    """`content` as a response, without what its maker left unset."""
    body = content.model_dump(mode="json", exclude_unset=True)
    return Response(body, status=status, headers={"Location": location} if location else None)


def operation(
    name: str,
    summary: str,
    gives: Any,
    *,
    status: int = 200,
    also: Sequence[int] = (),
    takes: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    headers: Sequence[OpenApiParameter] = (),
    refuses: Sequence[int] = (),
    keyed: bool = True,
    example: Mapping[str, Any] | None = None,
    tag: str = "runs",
) -> Callable[[Fn], Fn]:
    """Describe a method of a view for the schema: its docstring is the description.

    `gives` is the model of the answer (or what is given, by status and media type), `takes` of the body,
    `query` of the query string; `also` are further statuses of the same answer. `refuses` adds to the
    problems that follow from these. `keyed` (with a body): it takes an Idempotency-Key.
    """
    statuses = {401, 403, 429, 503, *refuses}
    statuses |= {400} if query else set()
    statuses |= {400, 413, 415, 422} | ({409} if keyed else set()) if takes else set()
    told = {
        (code, problems.CONTENT_TYPE): OpenApiResponse(problems.Problem, _WORDS[code])
        for code in sorted(statuses)
    }
    parameters = [*_parameters(query), *headers, *([_KEY] if takes and keyed else [])]
    examples = [OpenApiExample(summary, dict(example), request_only=True)] if example is not None else []
    described: Callable[[Fn], Fn] = extend_schema(
        operation_id=name,
        summary=summary,
        tags=[tag],
        request=takes,
        parameters=parameters,
        responses={**(gives if isinstance(gives, dict) else dict.fromkeys((status, *also), gives)), **told},
        examples=examples,
    )
    return described


def _parameters(query: type[BaseModel] | None) -> list[OpenApiParameter]:
    if query is None:
        return []
    schema = query.model_json_schema()
    found = []
    for name, field in schema["properties"].items():
        plain = _plain(field, schema.get("$defs", {}))
        found.append(
            OpenApiParameter(name, plain, OpenApiParameter.QUERY, description=field.get("description", ""))
        )
    return found


def _plain(field: dict[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of one parameter, on its own: nothing in a query string is null."""
    forms = [form for form in field.get("anyOf", [field]) if form.get("type") != "null"]
    form = dict(forms[0])
    if "$ref" in form:
        form = dict(named[form["$ref"].rpartition("/")[2]])
    return {key: value for key, value in form.items() if key not in ("title", "description", "default")}
