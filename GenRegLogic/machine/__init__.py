"""The computer: devices, memory, what a run costs, and how the libraries behave in this process."""
