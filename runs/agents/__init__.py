"""Agents that survive crashes: ordinary pydantic-ai agents whose every model request and tool call is a step."""
