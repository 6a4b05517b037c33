"""From scored runs to a report: which figures and tables it has, and what is said of them."""
