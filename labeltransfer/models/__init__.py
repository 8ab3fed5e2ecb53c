"""scVI and scANVI: train, map a query onto a trained reference, predict, report progress."""
