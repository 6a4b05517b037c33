"""From scored runs to a report: which figures, tables and sentences it has."""
