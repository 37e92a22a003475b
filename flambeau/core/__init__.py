"""Pure values: dtypes, devices, shapes. No memory, no kernels."""
