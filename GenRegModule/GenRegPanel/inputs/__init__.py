"""The choices of the user or a script: parameters, the line below the inputs, devices."""
