"""The benchmark driver: tools.py (what runs where), servers.py (what is measured), rows.py (the table), report.py."""
