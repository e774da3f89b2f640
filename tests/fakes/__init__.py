"""Stand-ins and programs that tests share."""
