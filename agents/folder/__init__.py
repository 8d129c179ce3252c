"""What lies in the folder of a run, a file here for each kind of file there; they know of no learner."""
