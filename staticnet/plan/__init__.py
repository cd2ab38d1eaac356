"""From an optimised graph to steps over one arena: fusion into groups, order, memory."""
