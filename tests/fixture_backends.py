"""The backends of the `xp` fixture; see conftest.py."""

# array-api-strict refuses everything that the standard does not promise; on a device that is not the default one it
# also refuses arrays that were created without `device=`.
FIXTURE = {
    "numpy": ("numpy", None),
    "array-api-strict": ("array-api-strict", "device1"),
    "torch": ("torch", "cpu"),
    "cupy": ("cupy", None),
    "jax": ("jax", "cpu"),
}

# Backends that run only where RFNUMERIC_TEST_BACKENDS asks for them, and why.
ON_REQUEST = {"jax": "JAX compiles each operation for each new shape, minutes in all"}
