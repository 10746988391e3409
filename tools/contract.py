"""A tool: a typed function that touches the world, its effect and all one must know before calling it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn, TypeVar, overload

import jsonschema_rs
import pydantic
from django.conf import settings

from tools.canonical import Json, NotJson, compact, digest, in_kept_order, normalise
from tools.effects import REVERSIBILITY_BY_EFFECT, Effect, Reversibility, Risk
from tools.failures import InvalidData, Proof, Refused, ToolError, classify, register_code
from tools.options import Breaker, Limit
from tools.preview import Change, Check, Evidence, Preview, default_sentence
from tools.retry import DEFAULT_POLICY, RetryPolicy
from tools.secrets import checked
from tools.signature import ContractError, Shape, in_words, schema_of_input, schema_of_output, shape_of
from tools.values import IdempotencyKey, Money, cents, money

__all__ = [
    "Call",
    "Change",
    "Check",
    "ContractError",
    "Effect",
    "Evidence",
    "IdempotencyKey",
    "InvalidArguments",
    "InvalidOutput",
    "Money",
    "Preview",
    "Reversibility",
    "Risk",
    "Tool",
    "ToolExit",
    "cents",
    "money",
]

#: The most bytes of JSON that a result may have.
LARGEST_RESULT = int(settings.HOLDPOINT_VALUE_BYTES)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
#: What a queue may be called: it stands in rows, in messages and in commands that people paste.
QUEUE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")
Word = TypeVar("Word", Effect, Risk, Reversibility)
Hook = TypeVar("Hook", bound=Callable[..., Any])


class InvalidArguments(InvalidData):
    """The arguments do not fit the tool's contract. `problems` lists each one in plain words."""

    def __init__(self, tool: str, problems: list[str]) -> None:
        self.problems = problems
        super().__init__(f"{tool} cannot take these arguments: {'; '.join(problems)}")


class InvalidOutput(ToolError):
    """A tool gave a result that does not fit its contract; a write may well have happened.

    `problems` lists each misfit in plain words.
    """

    code = "contract_misfit"

    def __init__(self, tool: str, problems: list[str]) -> None:
        self.problems = problems
        super().__init__(f"{tool} gave a result that its contract does not allow: {'; '.join(problems)}")


register_code(InvalidOutput, "code", {})  # kept with the failure, whose class it does not change


class ToolExit(ToolError):
    """A tool tried to end the whole process, or raised what no tool may: its call has failed, no more."""


class HookFailed(ToolError):
    """A hook of a tool broke before anything was sent: the call is not made, and its failure says why."""

    proof = Proof.DECLARED

    def __init__(self, tool: str, hook: str, error: BaseException) -> None:
        failure = classify(error)
        self.kind = failure.kind
        super().__init__(f"The {hook} of {tool} broke: {failure.message}", retry_after=failure.retry_after)


@dataclass(frozen=True)
class Call:
    """A proposed call, as the hooks see it.

    `arguments` are canonical JSON, `values` the same by parameter name as the function's own types.
    """

    tool: Tool
    arguments: dict[str, Json]
    values: Mapping[str, Any]
    key: str
    run_id: str = ""
    step_id: str = ""


class Tool:
    """One declared tool; made by ``@tool`` (tools.registry), from then on unchanging, apart from its hooks.

    Calling it as a function is refused: every call must pass the gate, which only ``run.tool`` does.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        effect: Effect | str,
        risk: Risk | str = Risk.LOW,
        timeout: float = 30,
        version: int = 1,
        name: str | None = None,
        title: str = "",
        description: str = "",
        rollback: str | Tool = "",
        reversibility: Reversibility | str | None = None,
        queue: str = "",
        secrets: Mapping[str, str] | None = None,
        breaker: Breaker | None = None,
        limit: Limit | None = None,
        retry: RetryPolicy | None = None,
        on_used_up: str = "fail",
    ) -> None:
        """Declare `function`; `timeout` in seconds, `rollback` a sentence or the tool that undoes this one.

        `queue` names the queue of the workers that may run it, if not any; `secrets` are references by name
        (tools.secrets); `breaker` and `limit` protect the other side (tools.options); `retry` says how often
        and how long it is tried, if not as the settings do; `on_used_up` ("fail" or "incident") what happens
        where that did not help and a person could. Raises ContractError.
        """
        self.function = function
        self.name: str = name or str(getattr(function, "__name__", ""))
        if not _NAME.fullmatch(self.name):
            raise ContractError(
                f"{self.name!r} cannot be a tool's name; use a to z, 0 to 9 and _, at most 64 of them"
            )
        self.effect = _word(Effect, effect, self.name, "effect")
        self.risk = _word(Risk, risk, self.name, "risk")
        self.reversibility = _word(
            Reversibility, reversibility or REVERSIBILITY_BY_EFFECT[self.effect], self.name, "reversibility"
        )
        self.timeout = float(timeout)
        self.version = version
        self.title = title or self.name.replace("_", " ").capitalize()
        self.description = description or (function.__doc__ or "").strip()
        self.rollback = rollback.name if isinstance(rollback, Tool) else rollback.strip()
        self.queue = queue
        self.breaker = breaker
        self.limit = limit
        self._may_be_retried(retry)
        self.retry: RetryPolicy = retry or DEFAULT_POLICY
        if on_used_up not in ("fail", "incident"):
            raise ContractError(f"{self.name}: on_used_up={on_used_up!r} is neither fail nor incident")
        self.on_used_up = on_used_up
        self.secrets: dict[str, str] = checked(secrets or {}, self.name)
        self._shape: Shape = shape_of(function, self.name)
        self._refuse_nonsense()
        self.input_schema: dict[str, Any] = schema_of_input(self._shape, self.name)
        self.output_schema: dict[str, Any] = schema_of_output(self._shape, self.name)
        self.lookup_is_final = False
        self._hooks: dict[str, Callable[..., Any]] = {}

    def __repr__(self) -> str:
        return f"<Tool {self.name} version {self.version}, {self.effect}>"

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"{self.name} is a tool: in a workflow, call run.tool({self.name}, …), which asks the gate and "
            f"keeps the record; in a test, call {self.name}.function(…)"
        )

    @cached_property
    def contract_digest(self) -> str:
        """Digest over name, version, effect and both schemas: what callers rely on."""
        contract = {"name": self.name, "version": self.version, "effect": self.effect.value}
        return digest(normalise({**contract, "input": self.input_schema, "output": self.output_schema}))

    @property
    def takes_key(self) -> bool:
        """Whether the function receives the idempotency key."""
        return self._shape.key_parameter is not None

    # Hooks: each is set once, as a decorator of a function beside the tool.

    def preview(self, function: Hook) -> Hook:
        """Set what reviewers see: ``(call) -> Preview`` or a sentence."""
        return self._set_hook("preview", function)

    def precondition(self, function: Hook) -> Hook:
        """Set the tool's own rules: ``(call) -> None``, raising Refused; asked before any person is."""
        return self._set_hook("precondition", function)

    def facts(self, function: Hook) -> Hook:
        """Set the facts that policies decide by: ``(call) -> dict``, such as amount, currency, suspicious."""
        return self._set_hook("facts", function)

    def undo(self, function: Hook) -> Hook:
        """Set how a call that happened is undone: ``(call, result) -> arguments``, a dict for the tool that
        `rollback` names; `result` is of the function's own type.
        """
        return self._set_hook("undo", function)

    @overload
    def lookup(self, function: Hook, /) -> Hook: ...
    @overload
    def lookup(self, /, *, final: bool) -> Callable[[Hook], Hook]: ...
    def lookup(self, function: Any = None, /, *, final: bool = False) -> Any:
        """Set how to find out whether the call with a key happened: ``(key) -> result or None``.

        With ``final=True`` None is proof that it did not happen, once no worker can still send it; otherwise
        it is a hint, and a person concludes.
        """
        if function is None:
            return lambda hook: self._set_lookup(hook, final)
        return self._set_lookup(function, final)

    def refresh(self) -> None:
        """Read the contract again, where it stands in a row; on a thread that may ask the database."""

    @property
    def hooks(self) -> list[str]:
        """The names of the hooks that are set, by name."""
        return sorted(self._hooks)

    def has(self, hook: str) -> bool:
        """Whether the hook of this name (preview, lookup, precondition, facts) is set."""
        return hook in self._hooks

    # What the engine and the gate ask

    def bind(self, *args: Any, **kwargs: Any) -> dict[str, Json]:
        """The arguments of a call written in Python, by name and as JSON, not yet validated: see `validate`.

        Raises InvalidArguments for too many, unknown or doubly given ones, and for values that are no JSON.
        """
        try:
            bound = self._shape.signature.bind_partial(*args, **kwargs)
        except TypeError as error:
            raise InvalidArguments(self.name, [str(error)]) from None
        return self._plain(bound.arguments)

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Json]:
        """The canonical form of `arguments`: checked against the contract, defaults filled in, as JSON.

        Validating the outcome again changes nothing, so its digest is stable. Raises InvalidArguments with
        every problem.
        """
        given = compact(self._plain(arguments))
        canonical = self._canonical(self._model(given))
        again = compact(canonical)
        # Read back only where validating changed the text: the same text is read the same way.
        if again != given and self._canonical(self._model(again)) != canonical:
            raise InvalidArguments(self.name, ["their JSON form reads back as something else"])
        misfits = _misfits(self._input_check, canonical)
        if misfits:
            raise InvalidArguments(self.name, misfits)
        return canonical

    def call(self, arguments: Mapping[str, Any], key: str, run_id: str = "", step_id: str = "") -> Call:
        """The call as hooks see it. Raises InvalidArguments."""
        model = self._model(compact(self._plain(arguments)))
        return Call(self, self._canonical(model), self._values(model), key, run_id, step_id)

    def invoke(self, arguments: Mapping[str, Any], key: str) -> Json:
        """Run the function with typed values and the key; returns its result as JSON.

        Raises InvalidArguments before and InvalidOutput after the function ran, and whatever the function
        raises; what is no ordinary exception, such as an attempt to end the process, becomes ToolExit.
        """
        values = self._values(self._model(compact(self._plain(arguments))))
        if self._shape.key_parameter:
            values[self._shape.key_parameter] = IdempotencyKey(key)
        return self.as_result(self._run(self.function, **values))

    def as_result(self, result: Any) -> Json:
        """`result` (typed, or JSON from outside) as JSON that fits the contract. Raises InvalidOutput."""
        adapter = self._shape.output
        try:
            if hasattr(result, "__next__"):  # one that never ends would never be written
                raise NotJson(f"a {type(result).__name__} can be read only once; return a list")
            written = adapter.dump_python(adapter.validate_python(result), mode="json", by_alias=True)
            plain = in_kept_order(normalise(written, most=LARGEST_RESULT))
        except pydantic.ValidationError as error:
            raise InvalidOutput(self.name, in_words(error)) from None
        except ValueError as error:  # NotJson, and whatever pydantic cannot write
            raise InvalidOutput(self.name, [str(error)]) from None
        except Exception as error:  # code of the result's own
            raise InvalidOutput(self.name, [f"it cannot be read ({type(error).__name__})"]) from error
        misfits = _misfits(self._output_check, plain)
        if misfits:
            raise InvalidOutput(self.name, misfits)
        return plain

    def restore(self, result: Json) -> Any:
        """A recorded result as the type that the function returns. Raises InvalidOutput if it misfits."""
        try:
            return self._shape.output.validate_json(compact(result))
        except pydantic.ValidationError as error:
            raise InvalidOutput(self.name, in_words(error)) from None

    def find(self, key: str) -> Json | None:
        """The result of the call with this key if it happened, else None. Without a lookup: LookupError."""
        if not self.has("lookup"):
            raise LookupError(
                f"{self.name} has no lookup, so nobody can ask what became of a call; declare one"
            )
        found = self._run(self._hooks["lookup"], IdempotencyKey(key))
        return None if found is None else self.as_result(found)

    def show(self, call: Call) -> Preview:
        """What the reviewer sees of `call`: the tool's own preview, or a sentence of title and arguments."""
        if not self.has("preview"):
            return Preview(default_sentence(self.title, call.arguments))
        shown = self._run(self._hooks["preview"], call)
        return shown if isinstance(shown, Preview) else Preview(str(shown))

    def undoing(self, call: Call, result: Json) -> dict[str, Json]:
        """The arguments with which the tool that `rollback` names undoes `call`, not yet validated there.

        Raises LookupError without the hook, ContractError when it gives no arguments, and what it raises.
        """
        if not self.has("undo"):
            raise LookupError(f"{self.name} does not say how it is undone; declare @{self.name}.undo")
        arguments = self._hooks["undo"](call, self.restore(result))
        try:
            plain = normalise(arguments)
        except NotJson as error:
            raise ContractError(f"The undo of {self.name} gives no arguments: {error}") from None
        if not isinstance(plain, dict):
            raise ContractError(f"The undo of {self.name} must give a dict of arguments for {self.rollback}")
        return plain

    def check(self, call: Call) -> None:
        """Ask the tool's own rules. Raises Refused, another ToolError of theirs, or HookFailed when they
        break; without a precondition nothing is refused.
        """
        if self.has("precondition") and not self._asked("precondition", call, _holds):
            raise Refused(f"The precondition of {self.name} does not hold.")

    def declared_facts(self, call: Call) -> dict[str, Json]:
        """The facts that the tool declares about `call`, as JSON (amounts as text).

        Raises ContractError, a ToolError of the hook's own, or HookFailed when it breaks.
        """
        facts = self._asked("facts", call, _as_kept) if self.has("facts") else {}
        if isinstance(facts, NotJson):
            raise ContractError(f"The facts of {self.name} cannot be recorded: {facts}")
        if not isinstance(facts, dict):
            raise ContractError(f"The facts of {self.name} must be a dict, such as {{'amount': …}}")
        return facts

    # Inside

    def _run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call what users wrote: whatever it raises, it ends neither the turn nor the process."""
        try:
            return function(*args, **kwargs)
        except Exception:
            raise
        except (SystemExit, KeyboardInterrupt) as error:
            raise ToolExit(f"{self.name} tried to end the process ({type(error).__name__})") from error
        except BaseException as error:
            raise ToolExit(f"{self.name} raised {type(error).__name__}, which no tool may") from error

    def _asked(self, hook: str, call: Call, read: Callable[[Any], Any]) -> Any:
        """What the hook says about `call`, read by `read`. Raises ToolError alone."""
        try:
            return read(self._run(self._hooks[hook], call))
        except ToolExit as error:
            raise HookFailed(self.name, hook, error) from error
        except ToolError:
            raise
        except Exception as error:
            raise HookFailed(self.name, hook, error) from error

    def _may_be_retried(self, retry: object) -> None:
        if not isinstance(retry, RetryPolicy | None):
            raise ContractError(f"{self.name}: retry={retry!r} must be a RetryPolicy(…) or None")
        if retry is not None and self.effect is Effect.IRREVERSIBLE:
            raise ContractError(f"{self.name} is irreversible, so it is never tried again: leave retry out")

    def _refuse_nonsense(self) -> None:
        for name, option, kind in (("breaker", self.breaker, Breaker), ("limit", self.limit, Limit)):
            if not isinstance(option, kind | None):
                raise ContractError(f"{self.name}: {name}={option!r} must be a {kind.__name__}(…) or None")
        if self.queue and not QUEUE.fullmatch(self.queue):
            raise ContractError(
                f"{self.name} cannot run on queue {self.queue!r}; use a to z, 0 to 9, _, . and -, "
                "at most 40 of them"
            )
        if self.effect.changes_the_world and not self.takes_key:
            raise ContractError(
                f"{self.name} is {self.effect} but takes no key, so a repeated call looks like a new one; "
                "add `*, key: IdempotencyKey` to its parameters and hand it to the other side"
            )
        if not math.isfinite(self.timeout) or self.timeout <= 0:
            raise ContractError(f"{self.name}: timeout={self.timeout} must be a number of seconds above 0")
        if self.version < 1:
            raise ContractError(f"{self.name}: version={self.version} must be 1 or more")
        if self.effect is Effect.IRREVERSIBLE and self.reversibility is Reversibility.FULL:
            raise ContractError(
                f"{self.name} is irreversible, so reversibility cannot be full; declare it as a write"
            )

    def _set_hook(self, name: str, function: Hook) -> Hook:
        if name in self._hooks:
            raise ContractError(f"{self.name} already has a {name}; a tool has one of each")
        self._hooks[name] = function
        return function

    def _set_lookup(self, function: Hook, final: bool) -> Hook:
        if self._shape.gives_nothing:
            raise ContractError(
                f"{self.name} returns nothing, so a lookup cannot show what it found; return a receipt"
            )
        self.lookup_is_final = final
        return self._set_hook("lookup", function)

    def _plain(self, arguments: Mapping[str, Any]) -> dict[str, Json]:
        try:
            plain: dict[str, Json] = normalise(dict(arguments))
        except (NotJson, TypeError, ValueError) as error:
            raise InvalidArguments(self.name, [str(error)]) from None
        return plain

    def _model(self, arguments: bytes) -> pydantic.BaseModel:
        """The typed arguments, from JSON text."""
        try:
            return self._shape.model.model_validate_json(arguments)
        except pydantic.ValidationError as error:
            raise InvalidArguments(self.name, in_words(error)) from None

    def _canonical(self, model: pydantic.BaseModel) -> dict[str, Json]:
        """Their one form as JSON."""
        try:
            canonical: dict[str, Json] = normalise(model.model_dump(mode="json", by_alias=True))
        except ValueError as error:  # NotJson, and whatever pydantic cannot write
            raise InvalidArguments(self.name, [str(error)]) from None
        return canonical

    def _values(self, model: pydantic.BaseModel) -> dict[str, Any]:
        """Them by parameter name."""
        return {name: getattr(model, field) for name, field in self._shape.fields.items()}

    @cached_property
    def _input_check(self) -> jsonschema_rs.Draft202012Validator:
        return _check_of(self.input_schema)

    @cached_property
    def _output_check(self) -> jsonschema_rs.Draft202012Validator:
        return _check_of(self.output_schema)


def _holds(said: object) -> bool:
    return said is None or bool(said == True)  # noqa: E712 - numbers of other libraries say so too


def _as_kept(facts: object) -> Json | NotJson:
    try:
        return normalise(facts)
    except NotJson as error:
        return error


def _word(kind: type[Word], word: str, tool: str, what: str) -> Word:
    try:
        return kind(word)
    except ValueError:
        known = ", ".join(kind)
        raise ContractError(f"{tool}: {what}={word!r} is none of {known}") from None


def _check_of(schema: Json) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(schema, retriever=_nothing_from_outside)


def _nothing_from_outside(uri: str) -> NoReturn:
    raise ValueError(f"the contract refers to {uri}, and nothing is fetched for it: write that part into it")


def _misfits(check: jsonschema_rs.Draft202012Validator, value: Json) -> list[str]:
    found = [(_place(error.instance_path), error.schema_path[-1]) for error in check.iter_errors(value)]
    # Without the values themselves: they may be personal, and problems end up in logs.
    return [f"{place} does not fit the contract's {rule}" for place, rule in sorted(found)]


def _place(path: Sequence[str | int]) -> str:
    written = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return written.removeprefix(".") or "the value"
