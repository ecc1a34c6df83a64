"""Alarms told to a URL of the operator's, signed as Standard Webhooks has it."""
