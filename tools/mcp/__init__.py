"""MCP servers as tools: declared in a file, read by an operator, signed one by one, called like any tool."""
