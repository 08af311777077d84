# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""First version of the benchmark: pairs of clips with the same frames."""
