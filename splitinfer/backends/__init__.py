"""One module for each outside library, and the only place that imports it. The modules do not know each other."""
