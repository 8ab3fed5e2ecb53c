"""How far labels can be trusted: alarm, calibrated confidence, distance, rejection, consensus, stability."""
