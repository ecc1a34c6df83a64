"""The tests: one folder for each room, plus the real servers and real media that they share."""
