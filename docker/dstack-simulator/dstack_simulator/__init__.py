"""A simulator of the guest agent in a DStack guest, for tests on machines without Intel TDX.

It answers as the agent does and signs quotes that a verifier takes for right, under a root of its own. It protects
nothing: whoever has its seed has every key.
"""
