"""What the user or a script chose: parameters, the line below the inputs, devices."""
