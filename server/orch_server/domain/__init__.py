"""What is true: states, events, ids and errors. No I/O, no clock, no other room is imported here."""
