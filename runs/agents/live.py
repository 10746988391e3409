"""A live model by name, or one clear line on why there is none."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, infer_model, infer_model_profile
from pydantic_ai.models.function import AgentInfo, FunctionModel

SPOKEN_BY_COMPATIBLE_SERVERS = "openai-chat"


def live_model(identifier: str) -> Model:
    """The model that `identifier` names (`provider:model`); its address and key come from the environment.

    Raises ImproperlyConfigured, naming the cause and the cure.
    """
    if ":" not in identifier:
        raise ImproperlyConfigured(
            f"The model {identifier!r} names no provider: write for example in HOLDPOINT_MODEL "
            f"{SPOKEN_BY_COMPATIBLE_SERVERS}:{identifier} (with OPENAI_BASE_URL for a compatible server)."
        )
    try:
        return infer_model(identifier)
    except ImportError as error:
        raise ImproperlyConfigured(
            f"The package that speaks to the model {identifier!r} is not installed: {error}. "
            f"Install it, or use a server that speaks {SPOKEN_BY_COMPATIBLE_SERVERS}."
        ) from error
    except (UserError, ValueError) as error:
        raise ImproperlyConfigured(
            f"The model {identifier!r} cannot be used: {error} "
            "Set the provider's key in the environment, or correct HOLDPOINT_MODEL."
        ) from error


def silent_model(identifier: str) -> Model:
    """Stands where the model `identifier` stood, for a replay: it has that model's ways, needs no key and
    answers nothing.
    """

    def never(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        raise RuntimeError("a model was asked in a replay")

    try:
        profile = infer_model_profile(identifier)
    except ImportError:  # the package of its provider is not installed here
        profile = None
    return FunctionModel(never, model_name=identifier, profile=profile)
