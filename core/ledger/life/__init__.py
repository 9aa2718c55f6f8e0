"""The life of one generation, pure: states, events, rules, evidence, budgets' arithmetic.

No clock, no network, no database. What decides about money is in here and nowhere else.
"""
