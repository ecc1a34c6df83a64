"""The listing breaker: too many mismatches in a short time stop every list, until an operator lets them go on."""
