"""Result files of this repository, and what writes its pages; not installed."""
