"""`collect`: from raw footage to a data set that `prepare` takes as it is."""
