"""The mesh as plain values: no Pulumi, no input or output, every function pure."""
