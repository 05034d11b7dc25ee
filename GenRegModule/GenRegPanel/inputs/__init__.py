"""What the user chose: parameters, the line below the inputs, devices, requests of scripts."""
