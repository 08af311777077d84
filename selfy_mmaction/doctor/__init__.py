# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Tell whether this install will work: ``python -m selfy_mmaction.doctor``.

One line per check, with the command that fixes what is wrong. Exits with 1 when
something would fail later. At the top of its modules only the standard library is
imported, so that the doctor starts on an install where nothing else does.
"""
