"""Transfer sets: unlabelled examples on which a student learns a teacher's answers.

A name is that of a data set, whose labels are never read, or of one that is made: of the run's own
training examples (`half`, `mixup:N`, `munge:N`), of noise (`noise:N`), or of the teacher alone
(`inverted:N`).
"""
