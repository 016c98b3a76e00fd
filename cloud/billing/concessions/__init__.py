"""Concessions: reductions of a charge as lines of their own, filed, approved and ended by people."""
