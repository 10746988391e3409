"""Agents that survive crashes: pydantic-ai agents whose every model request and tool call is a step."""
