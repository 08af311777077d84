# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Diagnose the installation: ``python -m selfy_mmaction.doctor``.

Prints one line per check, with the command that fixes a problem. Exits with 1 if
something would fail later. The top level of its modules imports only the standard
library, so the doctor starts even if no other package works.
"""
