"""What exactly was approved: one digest over everything the reviewer saw that must still hold at the act."""

from __future__ import annotations

from runs.gate import ProposedCall
from tools.canonical import digest, normalise

FORM = 1  # raise it when the fields change: decisions made under another form then bind nothing


def digest_of(call: ProposedCall, policy: str) -> str:
    """The digest that binds a decision under `policy` (such as ``refunds v3``) to `call`, in hex.

    It holds no times and no attempt numbers: a longer deadline and a retry change nothing that was approved.
    The key stands for the run and the place in it, so that no decision serves another call.
    """
    return digest(
        normalise(
            {
                "form": FORM,
                "key": call.key,
                "tool": call.tool.name,
                "version": call.tool.version,
                "contract": call.tool.contract_digest,
                "effect": call.tool.effect,
                "arguments": call.arguments,
                "evidence": call.evidence,
                "policy": policy,
                "agent": call.agent,
                "agent_version": call.agent_version,
            }
        )
    )
