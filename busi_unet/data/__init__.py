"""BUSI and data laid out like it: reading, splitting, checking, imitating."""
