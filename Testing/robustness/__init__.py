"""Bad inputs, faults and hopeless pairs, as cases that GenReg has to survive; `scripts/break` runs them all.

Each kind of case has a file, which lists its cases; `trial` says what a case is, what it must fulfil and how it is run.
"""
