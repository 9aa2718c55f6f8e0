"""Saying in a file how it came to be: IPTC source type, and a C2PA signature."""
